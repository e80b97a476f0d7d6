"""The filter of a model without a formula: g in bins of eigenvalues, and how much of W no such curve explains.

With (W V_k) and (W* V_k) as in `modes.py`, and the modes of all tasks in bins with equal numbers of them,

    g_bin = Σ ω_k (W V_k)·(W* V_k) / Σ ω_k |W* V_k|²

is the least-squares response of a bin. The *free curve* has a level and a slope in each bin, so that the width of bins
costs a smooth filter next to nothing. It is fitted on other tasks than it is judged on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .modes import Modes
from .names import BINS, MODES_OF_A_BIN


def bin_edges(judged: Sequence[Modes], fitted: int) -> Float[Tensor, " edge"]:
    """Between bins with equal numbers of modes, of the tasks that judge; fewer bins where few modes are fitted to.

    fitted:  how many modes the free curve is fitted to
    """
    bins = max(1, min(BINS, fitted // MODES_OF_A_BIN))
    eigenvalues = torch.cat([modes.eigenvalues[modes.seen] for modes in judged]).numpy()
    return torch.from_numpy(np.unique(np.quantile(eigenvalues, np.linspace(0, 1, bins + 1)[1:-1])))


@dataclass(frozen=True)
class Binned:
    """A batch of modes in bins: which one each is in."""

    modes: Modes
    edges: Float[Tensor, " edge"]

    @property
    def bins(self) -> int:
        return len(self.edges) + 1

    @property
    def index(self) -> Int[Tensor, "task rank"]:
        return torch.bucketize(self.modes.eigenvalues.contiguous(), self.edges)

    def sums(self, values: Float[Tensor, "*axes task rank"]) -> Float[Tensor, "*axes task bin"]:
        """Over the modes of each bin, task by task; of directions that a context has."""
        found = values.new_zeros(*values.shape[:-1], self.bins)
        held = torch.where(self.modes.seen, values, 0.0)
        return found.scatter_add_(-1, self.index.expand(values.shape), held)

    @property
    def squares(self) -> Float[Tensor, "task rank"]:
        """ω |W* V_k|²."""
        return self.modes.importance * self.modes.least_squares.square().sum(dim=-1)

    @property
    def products(self) -> Float[Tensor, "layer task rank"]:
        """ω (W V_k)·(W* V_k)."""
        return self.modes.importance * (self.modes.along * self.modes.least_squares).sum(dim=-1)


def mean_of_bins(held: Sequence[Binned], values: Sequence[Float[Tensor, "task rank"]]) -> Float[np.ndarray, " bin"]:
    """The mean over the modes of each bin, weighed as the response is."""
    weights = torch.cat([one.sums(one.squares) for one in held]).sum(dim=0)
    totals = torch.cat([one.sums(one.squares * of_one) for one, of_one in zip(held, values, strict=True)])
    return (totals.sum(dim=0) / weights).numpy()


@dataclass(frozen=True)
class Curve:
    """Level, slope and centre of every bin; g(λ) = level + slope (λ - centre)."""

    edges: Float[Tensor, " edge"]
    level: Float[Tensor, "layer bin"]
    slope: Float[Tensor, "layer bin"]
    centre: Float[Tensor, " bin"]

    def left(self, modes: Modes) -> Float[Tensor, "layer task"]:
        """The weighed square of what it leaves of W."""
        index = Binned(modes, self.edges).index
        g = self.level[:, index] + self.slope[:, index] * (modes.eigenvalues - self.centre[index])
        return modes.left(g[..., None] * modes.least_squares)


def free_curve(modes: Modes, edges: Float[Tensor, " edge"]) -> Curve:
    """Fitted in each bin by least squares; 0 where a bin has no mode, flat where it has one."""
    held = Binned(modes, edges)

    def ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
        return torch.where(denominator > 0, numerator / denominator.clamp_min(torch.finfo(torch.float64).tiny), 0.0)

    whole = held.sums(held.squares).sum(dim=0)
    centre = ratio(held.sums(held.squares * modes.eigenvalues).sum(dim=0), whole)
    away = modes.eigenvalues - centre[held.index]
    spread = held.sums(held.squares * away.square()).sum(dim=0)
    spread = torch.where(spread > torch.finfo(torch.float64).eps * whole * centre.square(), spread, 0.0)
    level = ratio(held.sums(held.products).sum(dim=1), whole)
    return Curve(edges, level, ratio(held.sums(held.products * away).sum(dim=1), spread), centre)
