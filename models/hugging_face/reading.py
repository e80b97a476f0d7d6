"""Reads off passes of a model what its configuration does not tell: rotations, parallel blocks, factors, causality."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..opening_check import relative_error
from ..rotary import Rotary
from ..subject import Edit, Site
from .eager import EagerPass
from .subject import HuggingFaceModel

_BASE = 10_000.0  # of the rotary frequencies of families that declare none (GPT-J, CodeGen)


def is_causal(eager: EagerPass, declared: bool) -> bool:
    """Whether the model's own patterns leave later keys out; without patterns what the model declares."""
    if not eager.patterns:
        return declared
    return not any(pattern.triu(1).any() for pattern in eager.patterns)


def embed_factor(embed: Float[Tensor, "pos d_model"], stream: Float[Tensor, "pos d_model"], config: Any) -> float:
    """What the embeddings are multiplied by before the first block: the nearest of the factors that families declare.

    embed, stream:  differences between two tokens at the same positions, so that positions drop out
    """
    e, s = embed.double().flatten(), stream.double().flatten()
    measured = float((e @ s) / (e @ e))
    declared = (1.0, float(getattr(config, "embedding_multiplier", 1.0)), float(embed.shape[-1] ** 0.5))
    return min(declared, key=lambda factor: abs(measured - factor))


def rotations(subject: HuggingFaceModel, tokens: Int[Tensor, "batch pos"], tolerance: float) -> list[Rotary | None]:
    """How each layer rotates q, read off probe vectors that are the same at every position.

    Of the tables of frequencies that the model's modules hold, with pairs side by side or by halves, and of no
    rotation, the one that takes the probe at position 0 nearest to the probe at the others. None where none is within
    the tolerance: the check of qk will see it.
    """
    candidates = _candidates(subject.module)
    if not candidates:
        return [None] * subject.shape.n_layers
    seen = subject.observe(tokens, {"attention": lambda scores, layer: scores.q}, {"q": _same_everywhere})
    return [_nearest(turned, candidates, tolerance) for turned in seen["attention"]]


def _same_everywhere(q: Float[Tensor, "batch head pos d_head"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
    rng = torch.Generator().manual_seed(layer)
    return torch.randn((*q.shape[:2], 1, q.shape[3]), generator=rng).to(q).expand_as(q)


def _nearest(
    turned: Float[Tensor, "batch head pos d_head"], candidates: list[Rotary], tolerance: float
) -> Rotary | None:
    wide = turned.to(torch.promote_types(turned.dtype, torch.float32))
    start, positions = wide[:, :, :1].expand_as(wide), torch.arange(wide.shape[2], device=wide.device)
    errors = [relative_error(replace(one, factor=1.0).rotate(start, positions), wide) for one in candidates]
    best = min(range(len(errors)), key=errors.__getitem__)
    if errors[best] > tolerance or errors[best] >= relative_error(start, wide):
        return None
    return candidates[best]


def _candidates(module: nn.Module) -> list[Rotary]:
    """Every table of frequencies that the model holds, once with each kind of pairs."""
    found: list[Rotary] = []
    for part in module.modules():
        for name, table in part.named_buffers(recurse=False):
            if name.endswith("inv_freq") and "original" not in name:
                factor = float(getattr(part, f"{name.removesuffix('inv_freq')}attention_scaling", 1.0))
                one = Rotary(table.detach(), factor=factor)
                found += [] if any(one.same_as(known) for known in found) else [one]
    width = getattr(module.config, "rotary_dim", None)
    if not found and isinstance(width, int):
        found = [Rotary.of_base(_BASE, width)]
    return [replace(one, interleaved=pairs) for one in found for pairs in (False, True)]


def parallel_blocks(
    subject: HuggingFaceModel, tokens: Int[Tensor, "batch pos"], resid_pre: list[Tensor], mlp_out: list[Tensor]
) -> tuple[bool, ...]:
    """For each layer, whether another write of attention leaves what the MLP of the same block writes as it is.

    resid_pre, mlp_out:  as they were without the other write
    """
    if subject.anatomy.resid_mid is not None:
        return (False,) * subject.shape.n_layers

    def other(write: Tensor, layer: int) -> Tensor:
        rng = torch.Generator().manual_seed(layer)
        return write.norm() / write.numel() ** 0.5 * torch.randn(write.shape, generator=rng).to(write)

    edit: dict[Site, Edit] = {"resid_pre": lambda x, layer: resid_pre[layer], "attn_out": other}
    again = subject.observe(tokens, {"mlp_out": lambda x, layer: x}, edit)["mlp_out"]
    return tuple(torch.equal(one, before) for one, before in zip(again, mlp_out, strict=True))
