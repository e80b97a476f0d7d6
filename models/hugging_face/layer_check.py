"""The parts of one layer beside each other, for the opening check: what it writes and scores, worked out twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..norms import norm_of
from ..opening_check import Part, relative_error
from ..subject import NotApplicable, Site
from ..weights import AttentionWeights
from .anatomy import Block
from .subject import HuggingFaceModel


@dataclass(frozen=True, eq=False)
class Seen:
    """The watched pass: every site's activations, and the logits, or the last states of a model without a head."""

    values: Mapping[Site, list[Any]]
    output: Tensor

    def at(self, site: Site, layer: int = 0) -> Any:
        return self.values[site][layer]

    def zipped(self, *sites: Site) -> Iterator[tuple[Any, ...]]:
        """The activations of some sites, layer by layer."""
        return zip(*(self.values[site] for site in sites), strict=True)


def layer_parts(subject: HuggingFaceModel, seen: Seen, layer: int) -> Iterator[tuple[Part, float | str]]:
    """Every part of a layer that is compared with another, and the error; or why it is not compared."""
    no_stream = subject.traits.no_stream
    yield "residual stream", _stream_error(subject, seen, layer) if no_stream is None else no_stream
    output, weights = subject.attention_output(layer), subject.weights_of([layer])
    if isinstance(output, NotApplicable):
        yield "attention write", output.reason
    else:
        write = einsum(seen.at("z", layer), output.W_O, "batch head pos d, head d d_model -> batch pos d_model")
        write = write if output.b_O is None else write + output.b_O
        write = write if output.own_norm is None else output.own_norm(write)
        yield "attention write", relative_error(write, seen.at("attn_out", layer))
    if isinstance(weights, NotApplicable):
        yield "values", weights.reason
        yield "qk", weights.reason
    else:
        yield "values", _values_error(subject, weights, layer, seen)
        yield "qk", _qk_error(subject, weights, layer, seen)


def _stream_error(subject: HuggingFaceModel, seen: Seen, layer: int) -> float:
    before, write = seen.at("resid_pre", layer), seen.at("attn_out", layer)
    if subject.anatomy.resid_mid is None:
        return relative_error(before + write + seen.at("mlp_out", layer), seen.at("resid_post", layer))
    norm = norm_of(subject.blocks[layer].part(subject.anatomy.resid_mid), subject.shape.d_model)
    return relative_error(norm(before + write), seen.at("resid_mid", layer))


def _values_error(subject: HuggingFaceModel, weights: AttentionWeights, layer: int, seen: Seen) -> float:
    """Of the pattern's mean of x W_V + b_V, with z."""
    x, every = subject.attention_input(seen.at("resid_pre", layer), layer), weights.expanded()
    v = einsum(x, every.W_V[0], "batch pos d_model, head d_model d_head -> batch head pos d_head")
    v = v if every.b_V is None else v + every.b_V[0][:, None]
    return relative_error(seen.at("pattern", layer) @ v, seen.at("z", layer))


def _qk_error(subject: HuggingFaceModel, weights: AttentionWeights, layer: int, seen: Seen) -> float:
    """Of products by `qk` at two offsets, with q . k as scored. Biases are a row of the matrices, read by a constant.

    `qk` leaves the scale out; some families (OPT) have it in q, and score with a scale of 1.
    """
    x = subject.attention_input(seen.at("resid_pre", layer), layer)
    x = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
    whole = _with_biases_as_rows(weights)
    scores: Any = seen.at("attention", layer)
    q, k = scores.q, scores.k
    block, heads = subject.blocks[layer], subject.shape.n_heads
    divisors = [_divisor(block, number, seen.at(site, layer)) for number, site in enumerate(("q", "k"))]
    found, expected = [], []
    for offset in {1, x.shape[1] // 2} if x.shape[1] > 1 else {0}:
        late, early = slice(offset, None), slice(None, x.shape[1] - offset)
        for head in sorted({0, min(1, heads - 1), heads // 2, heads - 1}):  # of several groups: each costs two products
            left, right = whole.qk(0, head, offset)
            key = head * k.shape[1] // len(whole.W_Q[0])  # some families repeat shared keys
            shared = head // weights.group
            product = ((x[:, late] @ left) * (x[:, early] @ right.mT)).sum(dim=-1)
            found.append(product / (divisors[0][:, head, late] * divisors[1][:, shared, early]))
            expected.append((q[:, head, late] * k[:, key, early]).sum(dim=-1))
    products, scored = torch.cat(found, dim=1), torch.cat(expected, dim=1)
    return min(relative_error(factor * products, scored) for factor in (1.0, whole.W_Q.shape[-1] ** -0.5))


def _with_biases_as_rows(weights: AttentionWeights) -> AttentionWeights:
    """The same weights for states with one more dimension, which is always 1."""
    wider: dict[str, Tensor | None] = {"W_O": torch.nn.functional.pad(weights.W_O, (0, 1)), "b_O": None}
    for role in "QKV":
        W, b = getattr(weights, f"W_{role}"), getattr(weights, f"b_{role}")
        row = torch.zeros_like(W[..., :1, :]) if b is None else b[..., None, :]
        wider |= {f"W_{role}": torch.cat([W, row], dim=-2), f"b_{role}": None}
    return replace(weights, **cast(Any, wider))


def _divisor(
    block: Block, number: int, projected: Float[Tensor, "batch head pos d"]
) -> Float[Tensor, "batch head pos"]:
    """What the norm of q or k divides by; ones where there is no norm."""
    norms = block.head_norms()
    ones = torch.ones_like(projected[..., 0])
    if norms is None:
        return ones
    try:
        norm = norm_of(norms[number], block.anatomy.d_head)
    except (CheckpointRefused, RuntimeError):
        return ones
    if norm.scale is None or len(norm.scale) == projected.shape[-1]:
        return norm.spread(projected)
    return norm.spread(rearrange(projected, "batch head pos d -> batch pos (head d)"))[:, None] * ones
