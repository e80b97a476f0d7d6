"""Finds the projections of q, k and v: the modules whose output enters attention's scores and values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ..opening_check import relative_error
from .anatomy import is_linear
from .fused import Fused, layouts
from .layer import Layer, is_norm
from .survey import Attended, Call

_Heads = Float[Tensor, "batch head pos d_head"]


class Projections(NamedTuple):
    """Paths of the projections and of the norms between them and the scores, as in `Anatomy`."""

    n_kv_heads: int
    paths: tuple[str, str, str]
    fused: Fused | None
    head_norms: tuple[str, str] | None


def projections(layer: Layer, attended: Attended, tolerance: float) -> Projections | None:
    """The projections of a layer; None if q, k and v are not all the output of a linear module, norms apart.

    Rotations leave the first position as it is, so modules are compared there, up to a scale.
    """
    n_heads = attended.q.shape[1]
    for kv in _kv_heads(attended.k):
        for form in (None, *layouts(n_heads, kv)):
            if (found := _of(layer, attended, kv, form, tolerance)) is not None:
                return found
    return None


def _kv_heads(k: Float[Tensor, "batch kv_head pos d_head"]) -> Iterator[int]:
    """How many heads k may have before some families repeat them."""
    heads = k.shape[1]
    for kv in range(heads, 0, -1):
        if heads % kv == 0 and torch.equal(k, k[:, :: heads // kv].repeat_interleave(heads // kv, dim=1)):
            yield kv


def _of(layer: Layer, attended: Attended, kv: int, form: Fused | None, tolerance: float) -> Projections | None:
    step = attended.k.shape[1] // kv
    search = _Search(layer, form, tolerance)
    q = search.source("q", attended.q)
    k = search.source("k", attended.k[:, ::step])
    v = search.source("v", attended.v[:, ::step])
    if q is None or k is None or v is None:
        return None
    norms = None if q.norm is None or k.norm is None else (q.norm, k.norm)
    return Projections(kv, (q.path, k.path, v.path), form, norms)


class _Source(NamedTuple):
    path: str
    norm: str | None


class _Search:
    """Looks for what enters attention among the modules that ran before it, the latest first.

    form:  how they lie in one projection; None: each has its own
    """

    def __init__(self, layer: Layer, form: Fused | None, tolerance: float) -> None:
        self._calls, self._form, self._tolerance = layer.calls[: layer.start][::-1], form, tolerance
        self._taken: set[str] = set()

    def source(self, role: str, heads: _Heads) -> _Source | None:
        """The linear module behind q, k or v, and the norm between them."""
        norm: str | None = None
        for call in self._calls:
            if call.path in self._taken:
                continue
            if is_linear(call.module):
                if any(self._same(view, heads) for view in self._projected(call.wrote, role, heads)):
                    self._taken |= {call.path} if self._form is None else set()
                    return _Source(call.path, norm)
            elif norm is None and (before := self._normed(call, heads)) is not None:
                norm, heads = call.path, before
        return None

    def _normed(self, call: Call, heads: _Heads) -> _Heads | None:
        """What the norm of q or k reads, by heads; None for a module that is no norm, or not theirs."""
        if not is_norm(call) or not any(self._same(view, heads) for view in _arranged(call.wrote, heads)):
            return None
        return next(_arranged(call.read, heads), None)

    def _projected(self, tensor: Tensor, role: str, heads: _Heads) -> Iterator[_Heads]:
        """The output of a linear module as heads."""
        if self._form is None:
            yield from _arranged(tensor, heads)
            return
        batch, _, pos, d_head = heads.shape
        if tensor.numel() == batch * pos * sum(self._form.heads) * d_head:
            yield self._form.split(tensor.reshape(batch, pos, -1))["qkv".index(role)].transpose(1, 2)

    def _same(self, a: _Heads, b: _Heads) -> bool:
        """Equal at the first position, up to a positive factor."""
        first, second = (x[:, :, 0].double() for x in (a, b))
        if not first.any() or not second.any():  # heads that were set to 0
            return torch.equal(first, second)
        return relative_error(first / first.norm(), second / second.norm()) <= self._tolerance


def _arranged(tensor: Tensor, heads: _Heads) -> Iterator[_Heads]:
    """A tensor of as many numbers as `heads`, in the arrangements that families use."""
    batch, head, pos, d_head = heads.shape
    if tensor.numel() != heads.numel():
        return
    if tensor.shape == (batch, head, pos, d_head):
        yield tensor
    if tensor.shape[-1] in (d_head, head * d_head):
        yield tensor.reshape(batch, pos, head, d_head).transpose(1, 2)


def output_matrix(layer: Layer, attended: Attended) -> str | None:
    """The path of the linear module that z enters, through norms if there are any (BitNet); None if there is none."""
    wanted = attended.z.flatten(-2)
    for call in layer.calls[layer.start :]:
        if not torch.equal(call.read.reshape(-1), wanted.reshape(-1)):
            continue
        if is_linear(call.module):
            return call.path
        if call.wrote.numel() == wanted.numel():
            wanted = call.wrote
    return None
