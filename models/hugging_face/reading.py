"""Reads off passes of a model what its configuration does not tell: rotations, parallel blocks, factors, causality."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..opening_check import TOLERANCES, relative_error
from ..rotary import Rotary
from .anatomy import is_linear, linear
from .eager import EagerPass
from .sizes import declared_numbers
from .subject import HuggingFaceModel

_BASE = 10_000.0  # of the rotary frequencies of families that declare none (GPT-J, CodeGen)


def is_causal(subject: HuggingFaceModel, eager: EagerPass, changed: int) -> bool:
    """Whether the model's own patterns leave later keys out. Where there are none of every head (linear attention
    returns something else): whether its output does not change before the two sequences begin to differ.
    """
    if eager.patterns and subject.traits.no_heads is None:
        return not any(pattern.triu(1).any() for pattern in eager.patterns)
    output = eager.output[:, :changed]
    return relative_error(output[0], output[1]) <= TOLERANCES[output.dtype]


def embed_factor(embed: Float[Tensor, "pos d_model"], stream: Float[Tensor, "pos d_model"], config: Any) -> float:
    """What the embeddings are multiplied by before the first block: 1, the root of their width, or a declared number.

    embed, stream:  differences between two tokens at the same positions, so that positions drop out
    """
    return _factor(embed, stream, (1.0, float(embed.shape[-1] ** 0.5), *declared_numbers(config)))


def unembedding_of(subject: HuggingFaceModel, tolerance: float) -> dict[str, Any]:
    """The traits `logit_factor` and `no_unembedding`: whether the logits are a multiple of one matrix product, biases
    apart, for states so small that a cap on the logits does not bend them.
    """
    head = None if subject.no_head else subject.module.get_output_embeddings()
    if head is None or not is_linear(head):
        return {"no_unembedding": "its head is not one matrix"}
    rng, matrix = torch.Generator().manual_seed(0), linear(head)[0]
    states = torch.randn(8, subject.shape.d_model, generator=rng).to(subject.device, subject.dtype)
    if len(matrix) != states.shape[1]:
        return {"no_unembedding": f"it reads {len(matrix)} dimensions of another state than the residual stream"}
    product = states @ matrix
    size = 10 * tolerance / float(product.abs().max().clamp_min(1e-30))
    product, states = size * product, size * states
    there, back = subject.unembed(torch.stack([states, -states]))
    found = (there - back) / 2
    declared = [number for one in declared_numbers(subject.module.config) if one for number in (one, 1 / one)]
    factor = _factor(product, found, (1.0, *declared))
    error = relative_error(factor * product, found)
    if error > tolerance:
        return {"no_unembedding": f"its logits are not a product of its output matrix (relative error {error:.2g})"}
    return {"logit_factor": factor}


def _factor(part: Tensor, whole: Tensor, declared: Iterable[float]) -> float:
    """What takes a part nearest to the whole: the nearest of the numbers that are declared."""
    a, b = part.double().flatten(), whole.double().flatten()
    measured = float((a @ b) / (a @ a).clamp_min(1e-300))
    return min(declared, key=lambda factor: abs(measured - factor))


def rotations(subject: HuggingFaceModel, tokens: Int[Tensor, "batch pos"], tolerance: float) -> list[Rotary | None]:
    """How each layer rotates q, read off probe vectors that are the same at every position.

    Of the tables of frequencies that the model's modules hold, with pairs side by side or by halves, and of no
    rotation, the one that takes the probe at position 0 nearest to the probe at the others. None where none is within
    the tolerance: the check of qk will see it.
    """
    candidates = _candidates(subject.module, subject.module.config)
    if not candidates or subject.anatomy.projections is None or subject.traits.no_heads is not None:
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


def _candidates(module: nn.Module, config: Any) -> list[Rotary]:
    """Every table of frequencies that the model holds, once with each kind of pairs."""
    found: list[Rotary] = []
    for part in module.modules():
        for name, table in part.named_buffers(recurse=False):
            if name.endswith("inv_freq") and "original" not in name:
                factor = float(getattr(part, f"{name.removesuffix('inv_freq')}attention_scaling", 1.0))
                one = Rotary(table.detach(), factor=factor)
                found += [] if any(one.same_as(known) for known in found) else [one]
    width = getattr(config.get_text_config(), "rotary_dim", None)
    if not found and isinstance(width, int):
        found = [Rotary.of_base(_BASE, width)]
    return [replace(one, interleaved=pairs) for one in found for pairs in (False, True)]
