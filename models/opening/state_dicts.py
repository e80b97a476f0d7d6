"""What every reader of foreign state dicts does once names have become roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..own.attention_only import AttentionOnlyConfig

Stacks = dict[str, dict[int, Tensor]]
"""Tensors by role and layer."""


def stacked(role: str, layers: Mapping[int, Tensor], n_layers: int) -> Tensor:
    """One tensor of every layer's."""
    if sorted(layers) != list(range(n_layers)):
        raise CheckpointRefused(f"{role} of layers {sorted(layers)[:5]}, expected all of 0 to {n_layers - 1}")
    if len(shapes := {tuple(tensor.shape) for tensor in layers.values()}) > 1:
        raise CheckpointRefused(f"{role} has several shapes, {sorted(shapes)[:3]}")
    if len(dtypes := {str(tensor.dtype) for tensor in layers.values()}) > 1:
        raise CheckpointRefused(f"{role} has several dtypes, {sorted(dtypes)}")
    return torch.stack([layers[layer] for layer in range(n_layers)])


def sized(single: Mapping[str, Tensor], stacks: Stacks, said: Mapping[str, Any]) -> AttentionOnlyConfig:
    """Sizes from the tensors, and the rest as it was said or, where it was not, as the tensors suggest."""
    query, embedding = stacks.get("W_Q", {}).get(0), single.get("W_E")
    if query is None or query.ndim != 3 or embedding is None or embedding.ndim != 2:
        raise CheckpointRefused("lacks W_Q [head, d_model, d_head] of layer 0, or embeddings W_E [d_vocab, d_model]")
    found: dict[str, Any] = dict(zip(("n_heads", "d_model", "d_head"), query.shape, strict=True))
    found |= {"n_layers": len(stacks["W_Q"]), "d_vocab": len(embedding)}
    if "W_pos" in single and single["W_pos"].ndim:
        found["n_ctx"] = len(single["W_pos"])
    if "W_in" in stacks and (first := stacks["W_in"].get(0)) is not None and first.ndim == 2:
        found["d_mlp"] = first.shape[1]
    for name in sorted(set(said) & set(found)):
        if said[name] != found[name]:
            raise CheckpointRefused(f"{name} = {said[name]!r:.40} in the configuration, {found[name]} in the weights")
    norm, positions = "layer" if "ln1_scale" in stacks else "none", "learned" if "W_pos" in single else "none"
    return AttentionOnlyConfig.from_dict({"norm": norm, "positions": positions, **said, **found})


def bos_said(given: Mapping[str, Any], d_vocab: int) -> int | None:
    """The token that sequences begin with, which no state dict says; None where nobody says that there is one."""
    bos = given.get("bos")
    if bos is not None and (type(bos) is not int or not 0 <= bos < d_vocab):
        raise CheckpointRefused(f"bos = {bos!r:.40} in the configuration, expected a token below {d_vocab}")
    return bos


def defaults_note(config: AttentionOnlyConfig, said: Mapping[str, Any]) -> tuple[str, ...]:
    """What neither the weights nor the user said, though it matters."""
    matter = ["norm", "positions", "attention_scale", "causal", *(["activation"] if config.d_mlp else [])]
    taken = [f"{name}={getattr(config, name)}" for name in matter if name not in said]
    return (f"not said by the configuration, so guessed or by default: {', '.join(taken)}",) if taken else ()
