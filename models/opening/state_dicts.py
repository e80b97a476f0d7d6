"""From tensors by role to a configuration and stacked parameters, for all foreign state dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..own.attention_only import AttentionOnlyConfig

ONE_HOT = "one-hot"
"""The declared embedding of a model in which token t enters as the unit vector e_t."""
Stacks = dict[str, dict[int, Tensor]]
"""Tensors by role and layer."""


def stacked(role: str, layers: Mapping[int, Tensor], n_layers: int) -> Tensor:
    """The tensors of all layers as one."""
    if sorted(layers) != list(range(n_layers)):
        raise CheckpointRefused(f"{role} of layers {sorted(layers)[:5]}; expected 0 to {n_layers - 1}")
    if len(shapes := {tuple(tensor.shape) for tensor in layers.values()}) > 1:
        raise CheckpointRefused(f"{role} has several shapes, {sorted(shapes)[:3]}; expected one")
    if len(dtypes := {str(tensor.dtype) for tensor in layers.values()}) > 1:
        raise CheckpointRefused(f"{role} has several dtypes, {sorted(dtypes)}; expected one")
    return torch.stack([layers[layer] for layer in range(n_layers)])


def sized(single: Mapping[str, Tensor], stacks: Stacks, settings: Mapping[str, Any]) -> AttentionOnlyConfig:
    """The configuration: sizes from the tensors, the rest from the settings or inferred from the tensors."""
    query, embedding = stacks.get("W_Q", {}).get(0), single.get("W_E")
    if query is not None and embedding is None:
        raise CheckpointRefused(
            "lacks W_E, so its inputs are vectors, not token ids; if token t enters as the unit vector e_t, declare its"
            f" names in a FILE.toml with embedding = {ONE_HOT!r} in [model]; a regression model has task = 'regression'"
        )
    if query is None or query.ndim != 3 or embedding is None or embedding.ndim != 2:
        raise CheckpointRefused("lacks W_Q [head, d_model, d_head] of layer 0 or W_E [d_vocab, d_model]; expected both")
    found: dict[str, Any] = dict(zip(("n_heads", "d_model", "d_head"), query.shape, strict=True))
    found |= {"n_layers": len(stacks["W_Q"]), "d_vocab": len(embedding)}
    if "W_pos" in single and single["W_pos"].ndim:
        found["n_ctx"] = len(single["W_pos"])
    if "W_in" in stacks and (first := stacks["W_in"].get(0)) is not None and first.ndim == 2:
        found |= {"d_mlp": first.shape[1], "gated_mlp": "W_gate" in stacks}
    unembedding = single.get("W_U")
    if unembedding is None:
        found["d_vocab_out"] = 0
    elif unembedding.ndim == 2 and len(unembedding) == query.shape[1] and unembedding.shape[1] != len(embedding):
        found["d_vocab_out"] = unembedding.shape[1]
    if settings.get("d_vocab_out") == len(embedding):
        settings = {name: value for name, value in settings.items() if name != "d_vocab_out"}
    for name in sorted(set(settings) & set(found)):
        if settings[name] != found[name]:
            raise CheckpointRefused(
                f"{name} = {settings[name]!r:.40} in the configuration; expected {found[name]}, as in the weights"
            )
    norm, positions = "layer" if "ln1_scale" in stacks else "none", "learned" if "W_pos" in single else "none"
    return AttentionOnlyConfig.from_dict({"norm": norm, "positions": positions, **settings, **found})


def completed(
    single: Mapping[str, Tensor], stacks: Stacks, settings: Mapping[str, Any]
) -> tuple[AttentionOnlyConfig, dict[str, Tensor]]:
    """The configuration and every parameter; biases and offsets that are not there are 0."""
    config = sized(single, stacks, settings)
    parameters = dict(single) | {role: stacked(role, layers, config.n_layers) for role, layers in stacks.items()}
    for name, shape in config.shapes.items():
        if name.startswith("b_") or name.endswith("_offset"):
            parameters.setdefault(name, parameters["W_E"].new_zeros(shape))
    return config, parameters


def read_bos(given: Mapping[str, Any], d_vocab: int) -> int | None:
    """The configuration's token that begins sequences; None: no token. State dicts do not show it."""
    bos = given.get("bos")
    if bos is not None and (type(bos) is not int or not 0 <= bos < d_vocab):
        raise CheckpointRefused(f"bos = {bos!r:.40} in the configuration; expected a token id below {d_vocab}")
    return bos


def defaults_note(config: AttentionOnlyConfig, settings: Mapping[str, Any]) -> tuple[str, ...]:
    """Notes on settings that neither the weights nor the configuration give, and on what is not in the file."""
    relevant = ["norm", "positions", "attention_scale", "causal", *(["activation"] if config.d_mlp else [])]
    taken = [f"{name}={getattr(config, name)}" for name in relevant if name not in settings]
    inferred = f"not in the configuration, so inferred from the tensors or set by default: {', '.join(taken)}"
    headless = "the file holds no unembedding W_U, so nothing that needs logits applies"
    return (*([inferred] if taken else []), *([] if config.n_logits else [headless]))
