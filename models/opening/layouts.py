"""State dicts by a declared layout. What a declaration may say stands in `declarations.py`.

`axes` is an einops pattern without the layer; it covers transposes, split heads and fused projections. Biases that are
not declared are 0. A square matrix with the wrong pattern raises no error by itself, hence the check of samples.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import einops
import torch
from einops import EinopsError
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..own.attention_only import AttentionOnlyModel, AttentionOnlyTransformer
from ..regressors import SequenceRegressor, TransformerRegressor
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import DECLARED
from .checkpoint import refuse_unusable
from .declarations import AXES, REGRESSION, UNLAYERED, Declaration, Declared, axes_in, declared, read_declaration
from .layout_check import checked_tokens
from .plain_check import checked
from .regression_files import regression_subject
from .safe_files import read_tensors
from .state_dicts import ONE_HOT, Stacks, completed, defaults_note, read_bos, stacked


def open_declared(
    path: Path, layout: str | Mapping[str, Any], facts: Mapping[str, Any], given_path: str
) -> AttentionOnlyModel | TransformerRegressor | SequenceRegressor:
    """A state dict as a subject, by a declared layout: a file or its tables. Every name in the file must be declared
    or ignored.
    """
    if isinstance(layout, str):
        declaration = read_declaration(Path(layout))
    else:  # its samples are not available
        declaration = declared({key: table for key, table in layout.items() if key != "check"}, DECLARED, Path())
    settings = {**declaration.model, **facts}
    tensors = read_tensors(path)
    source = Source(
        path.stem,
        layout=layout if isinstance(layout, str) else DECLARED,
        path=given_path,
        options={"model_args": dict(facts), "declaration": declaration.content},
    )
    try:
        single, stacks = _assigned(declaration, tensors, settings)
        if settings.get("task") == REGRESSION:
            return regression_subject(declaration, single, stacks, settings, source)
        return _language_model(declaration, single, stacks, settings, source)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path.name}: {str(error).removeprefix(f'{path.name}: ')}") from error


def _language_model(
    declaration: Declaration, single: dict[str, Tensor], stacks: Stacks, settings: dict[str, Any], source: Source
) -> AttentionOnlyModel:
    given_bos = {"bos": settings.pop("bos", None)}
    single = single | _one_hot(single, stacks, settings)
    config, parameters = completed(single, stacks, settings)
    bos = read_bos(given_bos, config.d_vocab)
    refuse_unusable(parameters, Path(str(source.path)).name)
    module = AttentionOnlyTransformer(config, parameters)
    check_note = checked_tokens(declaration, module)
    facts = {**config.as_dict(), "bos": bos}
    notes = (*defaults_note(config, settings), check_note)
    source = replace(source, weights_sha256=weights_sha256(parameters), facts=facts, notes=notes)
    return checked(AttentionOnlyModel(module, source))


def _one_hot(single: Mapping[str, Tensor], stacks: Stacks, settings: dict[str, Any]) -> dict[str, Tensor]:
    """W_E of a model in which token t enters as the unit vector e_t, where `embedding = "one-hot"` says so."""
    embedding = settings.pop("embedding", None)
    if embedding is None:
        return {}
    query = stacks.get("W_Q", {}).get(0)
    if embedding != ONE_HOT or "W_E" in single or query is None or query.ndim != 3:
        raise CheckpointRefused(
            f"embedding = {embedding!r:.40} in [model]; expected {ONE_HOT!r}, and a file with W_Q and without W_E"
        )
    width = query.shape[1]
    vocabulary = settings.get("d_vocab", width)
    if type(vocabulary) is not int or not 1 <= vocabulary <= width:
        raise CheckpointRefused(f"d_vocab = {vocabulary!r:.40}; expected 1 to d_model = {width} for one-hot embeddings")
    return {"W_E": torch.eye(vocabulary, width, dtype=query.dtype)}


def _assigned(
    declaration: Declaration, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Stacks]:
    """Tensors by role: those without layers, and those with. Raises CheckpointRefused for names that are left over."""
    names = {name.removeprefix(declaration.prefix): tensor for name, tensor in tensors.items()}
    if len(names) < len(tensors):
        raise CheckpointRefused(
            f"two tensors have the same name without the prefix {declaration.prefix!r}; correct [file] prefix"
        )
    left = {name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in declaration.ignore)}
    single: dict[str, Tensor] = {}
    stacks: Stacks = {}
    for role, entry in declaration.tensors.items():
        found = _matching(entry.name, names)
        if not found:
            raise CheckpointRefused(
                f"{role}: no tensor is named {entry.name!r:.80}; correct its name in {declaration.name}"
            )
        left -= {name for name, _, _ in found}
        for layer, tensor in _by_layer(role, found, names, entry, settings).items():
            for own_role, value in _unfused(role, tensor):
                if role in UNLAYERED:
                    single[own_role] = value
                else:
                    stacks.setdefault(own_role, {})[layer] = value
    if left:
        raise CheckpointRefused(
            f"{min(left)!r:.80} is neither declared nor ignored by {declaration.name}; add it to [tensors] or to ignore"
        )
    return single, stacks


def _matching(template: str, names: Mapping[str, Tensor]) -> list[tuple[str, int, int]]:
    """(name, layer, head) of every tensor that matches a template."""
    pattern = re.escape(template)
    for place in ("layer", "head"):
        pattern = pattern.replace(re.escape(f"{{{place}}}"), f"(?P<{place}>0|[1-9][0-9]{{0,4}})", 1)
    matches = {name: match.groupdict() for name in names if (match := re.fullmatch(pattern, name))}
    return sorted((name, int(found.get("layer", 0)), int(found.get("head", 0))) for name, found in matches.items())


def _by_layer(
    role: str,
    found: list[tuple[str, int, int]],
    names: Mapping[str, Tensor],
    entry: Declared,
    settings: Mapping[str, Any],
) -> dict[int, Tensor]:
    """One tensor per layer, its axes in the role's order, times its declared factor."""
    target = AXES[role].split()
    several_heads = "head" in target and "head" not in axes_in(entry.axes)
    layers: dict[int, dict[int, Tensor]] = {}
    for name, layer, head in found:
        wanted = [axis for axis in target if axis != "head"] if several_heads else target
        tensor = _rearranged(name, names[name], entry.axes, " ".join(wanted), settings)
        layers.setdefault(layer, {})[head] = tensor if entry.scale == 1 else tensor * entry.scale
    if not several_heads:
        return {layer: heads[0] for layer, heads in layers.items()}
    place = target.index("head")
    return {
        layer: stacked(f"{role} of layer {layer}, heads", heads, len(heads)).movedim(0, place)
        for layer, heads in layers.items()
    }


def _rearranged(name: str, tensor: Tensor, axes: str, target: str, settings: Mapping[str, Any]) -> Tensor:
    fields_of = {
        "head": "n_heads",
        "pos": "n_ctx",
        **{axis: axis for axis in ("d_head", "d_model", "d_vocab", "d_mlp")},
    }
    sizes = {axis: settings[key] for axis, key in fields_of.items() if axis in axes_in(axes) and key in settings}
    if "qkv" in target:
        sizes["qkv"] = 3
    try:
        return einops.rearrange(tensor, f"{axes} -> {target}", **sizes).contiguous()
    except (EinopsError, RuntimeError, TypeError) as error:
        shape, split = list(tensor.shape), "head" in axes_in(axes) and not {"head", "d_head"} & set(sizes)
        advice = "; give n_heads or d_head in [model]" if split else ""
        raise CheckpointRefused(
            f"{name!r:.80} has shape {shape}, which does not fit the axes {axes!r} with {sizes}{advice}"
        ) from error


def _unfused(role: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """The role itself, or the three roles of a fused projection."""
    if not role.endswith("_QKV"):
        return [(role, tensor)]
    return [(f"{role[:2]}{letter}", tensor[place]) for place, letter in enumerate("QKV")]
