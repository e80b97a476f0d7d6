"""Layout `tl-legacy`: state dicts with the names of TransformerLens before 3.0, e.g. `blocks.0.attn.W_Q`.

Weights are [head, d_model, d_head]. Settings that they do not show (attention scale, direction, …) come from a
configuration: a `HookedTransformerConfig` as JSON, or a short form of it, e.g. `{"normalization": null, "positional":
"learned", "attention_scale": 8.0}`. An additional key `bos` is the token that begins sequences.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import Source
from ..weights import weights_sha256
from .checkpoint import refuse_unusable
from .plain_check import checked
from .safe_files import read_tensors
from .state_dicts import Stacks, defaults_note, read_bos, sized, stacked
from .tl_config import meaningful, read_settings
from .tl_legacy_names import BLOCK, BUFFER, SINGLE, STACKED, TL_LEGACY, TL_NATIVE
from .tl_native import legacy_config, legacy_form


def open_tl_legacy(
    path: Path, model_config: Mapping[str, Any], given_path: str, layout: str = TL_LEGACY
) -> AttentionOnlyModel:
    """A state dict as a subject. Raises CheckpointRefused for unknown names in the file or the configuration.

    layout:  TL_NATIVE for one in the names of a native bridge
    """
    tensors = read_tensors(path)
    try:
        if layout == TL_NATIVE:
            tensors, model_config = legacy_form(tensors, model_config), legacy_config(model_config)
        single, stacks, buffers = _sort(tensors)
        settings = read_settings(model_config)
        if model_config.get("attn_only") is True:
            settings.pop("d_mlp", None)
            if "W_in" in stacks:
                raise CheckpointRefused(
                    "attn_only = true in the configuration, but the weights have MLPs; expected false"
                )
        config = sized(single, stacks, settings)
        parameters = single | {role: stacked(role, layers, config.n_layers) for role, layers in stacks.items()}
        if model_config.get("normalization_type", model_config.get("normalization")) in ("LNPre", "RMSPre"):
            parameters |= _unit_norms(config, parameters)
        bos = read_bos(model_config, config.d_vocab)
        refuse_unusable(parameters, path.name)
        module = AttentionOnlyTransformer(config, parameters)
        _check_buffers(config, buffers)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path.name}: {str(error).removeprefix(f'{path.name}: ')}") from error
    unchecked = "the layout was not checked numerically: the file holds no sample outputs"
    source = Source(
        path.stem,
        layout,
        path=given_path,
        weights_sha256=weights_sha256(parameters),
        facts={**config.as_dict(), "bos": bos},
        options={"model_args": meaningful(model_config)},
        notes=(*defaults_note(config, settings), unchecked),
    )
    return checked(AttentionOnlyModel(module, source))


def _sort(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Stacks, dict[str, list[Tensor]]]:
    """Tensors without layers, tensors by layer, and buffers."""
    single: dict[str, Tensor] = {}
    stacks: Stacks = {}
    buffers: dict[str, list[Tensor]] = {}
    for name, tensor in tensors.items():
        if name in SINGLE:
            single[SINGLE[name]] = tensor
        elif match := BLOCK.fullmatch(name):
            stacks.setdefault(STACKED[match["parameter"]], {})[int(match["layer"])] = tensor
        elif match := BUFFER.fullmatch(name):
            buffers.setdefault(match["buffer"], []).append(tensor)
        else:
            raise CheckpointRefused(
                f"{name!r:.80} is not a name of the layout {TL_LEGACY}; declare the file's names with --layout"
                " FILE.toml"
            )
    return single, stacks, buffers


def _unit_norms(config: AttentionOnlyConfig, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scales of 1 and offsets of 0, for norms without parameters."""
    norms = {name: shape for name, shape in config.shapes.items() if name.startswith("ln")}
    if present := sorted(set(norms) & set(parameters)):
        raise CheckpointRefused(
            f"normalizations ending in Pre have no scale or offset, but the file holds {present[0]}; expected LN or RMS"
        )
    like = parameters["W_E"]
    return {name: like.new_full(shape, name.endswith("scale")) for name, shape in norms.items()}


def _check_buffers(config: AttentionOnlyConfig, buffers: Mapping[str, list[Tensor]]) -> None:
    """Compare the file's masks and rotary angles with the configuration."""
    for mask in buffers.get("mask", []):
        seen = torch.ones(mask.shape, dtype=torch.bool)
        if mask.ndim != 2 or not torch.equal(mask.bool(), seen.tril() if config.causal else seen):
            raise CheckpointRefused(
                f"attn.mask is not that of {'causal' if config.causal else 'bidirectional'} attention, as configured;"
                " check attention_dir"
            )
    stored = [(name, angles) for name in ("rotary_sin", "rotary_cos") for angles in buffers.get(name, [])]
    if (rotary := config.rotary) is None:
        if stored:
            raise CheckpointRefused(f"holds rotary angles, but positions = {config.positions!r}; expected 'rotary'")
        return
    for name, found in stored:
        angles = torch.arange(len(found) if found.ndim else 0)[:, None] * rotary.frequencies
        angles = angles.repeat_interleave(2, 1) if rotary.interleaved else torch.cat([angles, angles], dim=1)
        expected = angles.sin() if name == "rotary_sin" else angles.cos()
        if found.shape != expected.shape or not bool((found - expected).abs().le(1e-3).all()):
            raise CheckpointRefused(
                f"attn.{name} does not hold the angles of the configuration; check rotary_dim, rotary_base and"
                " rotary_adjacent_pairs"
            )
