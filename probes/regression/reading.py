"""How a model reads tasks: where x and y stand in its tokens, and what of the labels its answers then explain.

    share = (Σ <p, y>)² / (Σ |p|² Σ |y|²)

of the labels' squares, summed over tasks. Predictions p count at the scale and the sign that fit best, so neither has
to be known before the layout is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...models.token_layout import TokenLayout
from ..statistics.bootstrap import bootstrap_means, percentile_interval

SAME = 1e-4
"""Products that differ by less, relative, are of the same answers: a model may read two layouts alike."""
Products = Float[np.ndarray, "task three"]
"""<p, y>, |p|² and |y|², task by task."""


def products(prediction: Float[Tensor, "task d_out"], labels: Float[Tensor, "task d_out"]) -> Products:
    """What shares are made of."""
    p, y = prediction.numpy(), labels.numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # of predictions that are not finite: no share, see below
        return np.stack([(p * y).sum(axis=1), (p * p).sum(axis=1), (y * y).sum(axis=1)], axis=1)


def share(means: Float[np.ndarray, "*axes three"]) -> Float[np.ndarray, "*axes"]:
    """From means over tasks. 0 for predictions that are all zero, or not finite: they explain nothing."""
    py, pp, yy = np.moveaxis(means, -1, 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = py**2 / (pp * yy)
    return np.where(np.isfinite(found), found, 0.0)


@dataclass(frozen=True)
class Gain:
    """How much more of the labels' squares one layout explains than another, on the same tasks."""

    value: float
    interval: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, ours: Products, theirs: Products, seed: int) -> Gain:
        resampled = bootstrap_means(np.stack([ours, theirs], axis=1), seed)
        difference = share(resampled[:, 0]) - share(resampled[:, 1])
        return cls(float(share(ours.mean(axis=0)) - share(theirs.mean(axis=0))), percentile_interval(difference))


@dataclass(frozen=True)
class Reading:
    """One model's layout, and what it was chosen by.

    layout:   that the model is given
    answered: for every layout that was tried, its products on each fold's tuning tasks; empty where none was tried
    """

    layout: TokenLayout
    answered: Mapping[TokenLayout, Sequence[Products]]

    @cached_property
    def shares(self) -> Mapping[TokenLayout, float]:
        """Of the labels' squares, over all folds, in every layout that was tried."""
        return {layout: float(share(self.pooled(layout).mean(axis=0))) for layout in self.answered}

    def pooled(self, layout: TokenLayout) -> Products:
        """The products of all folds."""
        return np.concatenate(self.answered[layout])

    @property
    def rival(self) -> TokenLayout | None:
        """The best layout in which the model answers something else; None where there is no other."""
        own = self.pooled(self.layout)
        others = [one for one in self.answered if not np.allclose(self.pooled(one), own, rtol=SAME, atol=0)]
        return max(others, key=lambda one: self.shares[one], default=None)

    def gain(self, seed: int) -> Gain | None:
        """Over the rival."""
        rival = self.rival
        return None if rival is None else Gain.of(self.pooled(self.layout), self.pooled(rival), seed)
