"""The weights of a model along the eigendirections of each context.

With X = U S V^T, a context of N pairs has the eigenvalues λ_k = s_k²/N (of X^T X / N) and the directions V_k. In that
basis the minimum-norm solution W* has the coordinates W* V_k = (S U^T Y)_k / s_k², and a spectral filter is

    W V_k = g(λ_k) W* V_k        one function g for all tasks and directions

Squares are weighed by the inputs' mean square along each direction, ω_k = V_k^T Λ V_k: what a direction counts for
predictions. For inputs alike in all directions that is |W|² times a constant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Bool, Float
from torch import Tensor

from ..algorithms.spectrum import Spectrum, tasks_last


def second_moment(inputs: Float[Tensor, "task token feature"], d_in: int) -> Float[Tensor, "d_in d_in"]:
    """Λ, the mean of x xᵀ over the tokens of all tasks."""
    x = inputs[..., :d_in].detach().cpu().double().flatten(0, 1)
    return x.mT @ x / len(x)


@dataclass(frozen=True)
class Modes:
    """The weights of every layer on a batch of tasks; float64 on the CPU.

    spectrum   of the contexts
    importance [task, rank]                the inputs' mean square along each direction, ω
    along      [layer, task, rank, d_out]  W V_k
    outside    [layer, task]               weighed square of W off all directions of the context
    """

    spectrum: Spectrum
    importance: Float[Tensor, "task rank"]
    along: Float[Tensor, "layer task rank d_out"]
    outside: Float[Tensor, "layer task"]

    @classmethod
    def of(
        cls,
        spectrum: Spectrum,
        weights: Float[Tensor, "layer task d_out d_in"],
        moment: Float[Tensor, "d_in d_in"],
    ) -> Modes:
        """moment: Λ, the second moment of the inputs"""
        V = spectrum.V
        along = einsum(weights, V, "layer task d_out d_in, task d_in rank -> layer task rank d_out")
        off = weights - einsum(along, V, "layer task rank d_out, task d_in rank -> layer task d_out d_in")
        return cls(
            spectrum,
            tasks_last(einsum(V, moment @ V, "task d_in rank, task d_in rank -> task rank")),
            along.movedim(1, -1).contiguous().movedim(-1, 1),
            ((off @ moment) * off).sum(dim=(2, 3)),
        )

    def __len__(self) -> int:
        return len(self.importance)

    def first(self, n: int) -> Modes:
        """The first so many tasks."""
        if n >= len(self):
            return self
        s = self.spectrum
        spectrum = Spectrum(
            s.s2[:n], s.projected_query[:n], s.projected_labels[:n], s.V[:n], s.mean_label[:n], s.n_context
        )
        return Modes(spectrum, self.importance[:n], self.along[:, :n], self.outside[:, :n])

    @cached_property
    def eigenvalues(self) -> Float[Tensor, "task rank"]:
        """λ = s²/N."""
        return self.spectrum.s2 / self.spectrum.n_context

    @cached_property
    def seen(self) -> Bool[Tensor, "task rank"]:
        """Directions that the context has, up to rounding; in others no filter has anything."""
        s2 = self.spectrum.s2
        size = max(self.spectrum.n_context, self.spectrum.V.shape[1])
        return s2 > (torch.finfo(s2.dtype).eps * size) ** 2 * s2.amax(dim=1, keepdim=True)

    @cached_property
    def least_squares(self) -> Float[Tensor, "task rank d_out"]:
        """W* V_k; 0 where a context has no such direction."""
        divisor = torch.where(self.seen, self.spectrum.s2, torch.inf)
        return self.spectrum.projected_labels / divisor[..., None]

    @cached_property
    def energy(self) -> Float[Tensor, "layer task"]:
        """The weighed square of W."""
        return self._square(self.along) + self.outside

    def left(self, written: Float[Tensor, "layer task rank d_out"]) -> Float[Tensor, "layer task"]:
        """The weighed square of what is left of W without these coordinates."""
        return self._square(self.along - written) + self.outside

    def left_by(self, layer: int, g: Float[Tensor, "*point task rank"]) -> Float[Tensor, "*point task"]:
        """The same of one layer, without filters of `algorithms/filters.py`: g(λ) = s² g(s²)."""
        rest = self.along[layer] - g[..., None] * self.spectrum.projected_labels
        return (self.importance * rest.square().sum(dim=-1)).sum(dim=-1) + self.outside[layer]

    def _square(self, coordinates: Float[Tensor, "layer task rank d_out"]) -> Float[Tensor, "layer task"]:
        return (self.importance * coordinates.square().sum(dim=-1)).sum(dim=-1)


def joined(parts: Sequence[Float[Tensor, "*axes _"]]) -> Float[Tensor, "*axes task"]:
    """Numbers of the tasks of several folds, one after the other."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts), dim=-1)
