"""The two shifts on tasks: of one gradient step on x, and of what the layer writes into the data.

Both start where nothing is known of x: at f = 1/n.

    weight shift   x = 0 moves to x' = -eta grad L(0), the one tuned gradient step
    data shift     the layer's query tokens A = [a_i ; 0] move to A' = [a_i ; scores_i]: what it writes stands in the
                   last slot, which the read-out x = (0, ..., 0, 1) takes; f(A', x) is the layer's prediction

so that b~ - b = 1/n - f(A, x') and b^ - b = 1/n - f(A', x). They are equal where the layer predicts what the gradient
step predicts. A constant on all scores changes no prediction, so it is left out of the length of what is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from . import formulas
from .solvers import Documents, Targets

PerTask = Float[Tensor, " task"]
FIRST_ORDER, TIGHT, PAPER = "first_order", "tight", "paper"
Bounds = dict[str, PerTask]
"""On a shift per length of the step: to first order, at any length, and the paper's, as its log10."""


@dataclass(frozen=True, eq=False)
class WeightShift:
    """Of a step on x, from 0."""

    A: Documents
    x: Float[Tensor, "task d_in"]

    @cached_property
    def shift(self) -> Targets:
        """b~ - b."""
        return 1 / self.A.shape[-2] - formulas.softmax_of(self.A, self.x)

    @property
    def step(self) -> PerTask:
        return self.x.norm(dim=-1)

    @cached_property
    def largest_move(self) -> PerTask:
        """Of the entries of A x."""
        return formulas.scores_of(self.A, self.x).abs().amax(dim=-1)

    @cached_property
    def bounds(self) -> Bounds:
        n = self.A.shape[-2]
        uniform = torch.full_like(self.A[..., 0], 1 / n)
        return {
            FIRST_ORDER: formulas.first_order_x(self.A, uniform),
            TIGHT: formulas.tight_x(self.A),
            PAPER: formulas.log10_paper_bound(n, formulas.radius(self.A, self.x)),
        }

    def in_random_direction(self, rng: torch.Generator) -> WeightShift:
        return WeightShift(self.A, _turned(self.x, rng))


@dataclass(frozen=True, eq=False)
class DataShift:
    """Of what is written into the last column of the data. Only that moves, so the change's norm is its length."""

    A: Documents
    written: Targets

    @classmethod
    def of(cls, A: Documents, scores: Targets) -> DataShift:
        return cls(A, scores - scores.mean(dim=-1, keepdim=True))

    @cached_property
    def shift(self) -> Targets:
        """b^ - b."""
        return 1 / self.written.shape[-1] - self.written.softmax(dim=-1)

    @property
    def step(self) -> PerTask:
        return self.written.norm(dim=-1)

    @cached_property
    def largest_move(self) -> PerTask:
        """Of the entries of A x."""
        return self.written.abs().amax(dim=-1)

    @cached_property
    def bounds(self) -> Bounds:
        """|x| is 1, and f is 1/n for every task."""
        n, one = self.written.shape[-1], torch.ones_like(self.step)
        x = one.new_ones(1)
        first_order, tight = formulas.first_order_A(torch.full_like(self.written[0], 1 / n), x), formulas.tight_A(x)
        moved = torch.cat([self.A, self.written[..., None]], dim=-1)  # its norm is at least that of A alone
        R = formulas.spectral_norm(moved).clamp(min=formulas.LEAST_RADIUS)
        return {FIRST_ORDER: first_order * one, TIGHT: tight * one, PAPER: formulas.log10_paper_bound(n, R)}

    def in_random_direction(self, rng: torch.Generator) -> DataShift:
        return DataShift.of(self.A, _turned(self.written, rng))


def _turned(steps: Float[Tensor, "task entry"], rng: torch.Generator) -> Float[Tensor, "task entry"]:
    """Random directions of the same lengths."""
    directions = torch.randn(steps.shape, generator=rng, dtype=steps.dtype)
    return directions * (steps.norm(dim=-1) / directions.norm(dim=-1))[..., None]
