"""Norms before a projection or the unembedding, applied to a state or to a part of it.

    layer:  norm(x) = (x - mean(x)) / sqrt(var(x) + eps) * scale + offset      (Ba et al. 2016, arXiv 1607.06450)
    rms:    norm(x) = x / sqrt(mean(x^2) + eps) * scale                        (Zhang & Sennrich 2019, arXiv 1910.07467)
    none:   norm(x) = x

Means and variances are over the dimensions of one state.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..data.errors import CheckpointRefused

NormKind = Literal["layer", "rms", "none"]
_USUAL_EPS = 1e-5  # of norms that do not tell it (OLMo)
_TOLERANCE = 0.02  # of the largest value: bfloat16 keeps two digits


@dataclass(frozen=True)
class Norm:
    """One norm of a model, differentiable. States keep their dtype; half precision is computed in float32.

    scale, offset:  None: a scale of 1, an offset of 0
    eps:            added to the variance or to the mean square
    """

    kind: NormKind = "none"
    scale: Float[Tensor, "d_model"] | None = None
    offset: Float[Tensor, "d_model"] | None = None
    eps: float = 0.0

    def __call__(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        if self.kind == "none":
            return x
        if self.kind == "layer":
            affine = (None if vector is None else vector.to(x.dtype) for vector in (self.scale, self.offset))
            return nn.functional.layer_norm(x, x.shape[-1:], *affine, eps=self.eps)
        return self.linear(x, x) if self.offset is None else self.linear(x, x) + self.offset.to(x.dtype)

    def without_affine(self) -> Norm:
        """The norm without its scale and offset."""
        return replace(self, scale=None, offset=None)

    def spread(self, x: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch"]:
        """The norm's divisor: the root of the state's variance or mean square, eps included; 1 for kind "none".

        In float32 at least.
        """
        wide = _wide(x)
        if self.kind == "none":
            return torch.ones_like(wide[..., 0])
        centred = wide - wide.mean(dim=-1, keepdim=True) if self.kind == "layer" else wide
        return (centred.pow(2).mean(dim=-1) + self.eps).sqrt()

    def linear(
        self, write: Float[Tensor, "*parts d_model"], at: Float[Tensor, "*batch d_model"]
    ) -> Float[Tensor, "*out d_model"]:
        """The norm applied to `write`, a part of the state `at`, with the statistics of `at` frozen.

        The offset is left out: norm(at) is the sum of linear(part, at) over the parts of `at`, plus the offset.
        `write` and `at` are broadcast.
        """
        if self.kind == "none":
            return write.expand(torch.broadcast_shapes(write.shape, at.shape))
        wide = _wide(write)
        if self.kind == "layer":
            wide = wide - wide.mean(dim=-1, keepdim=True)
        divided = wide * self.spread(at)[..., None].reciprocal()
        return (divided if self.scale is None else divided * self.scale).to(write.dtype)


def norm_of(module: nn.Module, width: int | None = None) -> Norm:
    """A module as a `Norm`, compared with the module itself. Raises CheckpointRefused if the two differ.

    width:  of what it reads; needed for a norm without weights only

    Hooks on the module are not called: it may be asked during a watched pass.
    """
    if isinstance(module, nn.Identity):
        return Norm()
    module = _without_hooks(module)
    weight, offset = getattr(module, "weight", None), getattr(module, "bias", None)
    told = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    eps = _USUAL_EPS if told is None else float(told)
    width = len(weight) if isinstance(weight, Tensor) else width
    if width is not None:
        like = weight if isinstance(weight, Tensor) else torch.ones(1)
        steps = torch.arange(1.0, width + 1, device=like.device, dtype=like.dtype) / width
        probe = torch.stack([steps, steps * eps**0.5])  # of a size at which eps matters, too
        scale = None if weight is None else weight.detach()
        if scale is not None and _around_one(module, probe):
            scale = 1 + _wide(scale)
        for kind in get_args(NormKind)[:2]:
            norm = Norm(kind, scale, None if offset is None else offset.detach(), eps)
            if _near(norm(probe), module(probe)):
                return norm
    raise CheckpointRefused(
        f"a {type(module).__name__} is neither a layer norm nor an RMS norm; mesascope supports these two"
    )


def _without_hooks(module: nn.Module) -> nn.Module:
    bare = copy.copy(module)
    bare._forward_hooks, bare._forward_pre_hooks = OrderedDict(), OrderedDict()
    return bare


def _around_one(norm: nn.Module, x: Tensor) -> bool:
    """Whether a weight of zeros means a scale of one: Gemma stores scale - 1."""
    zeros = {name: torch.zeros_like(value) for name, value in norm.named_parameters()}
    return bool(torch.func.functional_call(norm, zeros, (x,)).any())


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _near(a: Tensor, b: Tensor) -> bool:
    return bool((a - b).abs().max() <= _TOLERANCE * b.abs().max())
