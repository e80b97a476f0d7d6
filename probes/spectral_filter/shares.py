"""What filters leave unexplained of a model's weights, over tasks: the numbers that all measures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..statistics.bootstrap import bootstrap_means
from .curve import Binned, bin_edges, free_curve
from .fits import RuleFit
from .learned import Halves, Learned
from .modes import Modes, joined
from .polynomials import left_by_degree


@dataclass(frozen=True)
class Samples:
    """A number over all tasks, and over each resample of them."""

    share: Float[np.ndarray, "*axes"]
    resampled: Float[np.ndarray, "resample *axes"]


@dataclass(frozen=True)
class Shares:
    """Unexplained shares, and the response in bins, each with what bootstrap resamples of the tasks make of it.

    edges:     between bins of eigenvalues
    free:      [layer] by the free curve
    rules:     [rule, layer] by each named filter
    degrees:   [degree, layer] by polynomials of degree 1, 2, …
    response:  [layer, bin] g
    """

    edges: Float[Tensor, " edge"]
    free: Samples
    rules: Samples
    degrees: Samples
    response: Samples
    n: int


def edges_for(learned: Learned) -> Float[Tensor, " edge"]:
    """Bins for all folds, by all tasks that judge."""
    fitted = min(int(fold.tuning.seen.sum()) for fold in learned.folds)
    return bin_edges([fold.judged for fold in learned.folds], fitted)


def left_by_curve(tuning: Sequence[Modes], edges: Float[Tensor, " edge"]) -> Float[Tensor, " layer"]:
    """The share of E|W|² that the free curve leaves of the tasks that it is fitted to."""
    left = joined([free_curve(modes, edges).left(modes) for modes in tuning]).sum(dim=1)
    return left / joined([modes.energy for modes in tuning]).sum(dim=1)


def shares_of(learned: Learned, fits: Sequence[Sequence[RuleFit]], seed: int) -> Shares:
    """fits: by rule and layer"""
    edges, folds = edges_for(learned), list(enumerate(learned.folds))
    free = joined([free_curve(fold.tuning, edges).left(fold.judged) for _, fold in folds])
    degrees = joined([left_by_degree(fold.tuning, fold.judged) for _, fold in folds])
    rules = torch.stack(
        [
            torch.stack([joined([fit.left(number, fold.judged) for number, fold in folds]) for fit in of_layers])
            for of_layers in fits
        ]
    )
    with np.errstate(over="ignore"):
        by_curve, by_rules, by_degrees = (_samples(left, learned.energy, seed) for left in (free, rules, degrees))
    by_curve = Samples(_at_most_all(by_curve.share), _at_most_all(by_curve.resampled))
    response = _response(learned.folds, edges, seed)
    return Shares(edges, by_curve, by_rules, by_degrees, response, n=learned.energy.shape[1])


def _samples(left: Float[Tensor, "*axes layer task"], energy: Float[Tensor, "layer task"], seed: int) -> Samples:
    columns = np.concatenate([energy[None].numpy(), left.reshape(-1, *energy.shape).numpy()]).transpose(2, 0, 1)
    shape = left.shape[:-1]

    def share(means: Float[np.ndarray, "*resample row layer"]) -> Float[np.ndarray, "*resampled layer"]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = means[..., 1:, :] / means[..., :1, :]
        return np.where(np.isfinite(found), found, np.nan).reshape(*means.shape[:-2], *shape)

    return Samples(share(columns.mean(axis=0)), share(bootstrap_means(columns, seed)))


def _response(folds: Sequence[Halves], edges: Float[Tensor, " edge"], seed: int) -> Samples:
    held = [Binned(fold.judged, edges) for fold in folds]
    squares = torch.cat([one.sums(one.squares) for one in held])  # [task, bin]
    products = torch.cat([one.sums(one.products) for one in held], dim=1)  # [layer, task, bin]
    columns = torch.cat([squares[:, None], products.movedim(0, 1)], dim=1).numpy()

    def g(means: Float[np.ndarray, "*resample row bin"]) -> Float[np.ndarray, "*resample layer bin"]:
        with np.errstate(divide="ignore", invalid="ignore"):
            found = means[..., 1:, :] / means[..., :1, :]
        return np.where(np.isfinite(found), found, np.nan)

    return Samples(g(columns.mean(axis=0)), g(bootstrap_means(columns, seed)))


def plain(halves: Halves, edges: Float[Tensor, " edge"]) -> tuple[np.ndarray, np.ndarray]:
    """[layer] unexplained by the free curve, and [layer, bin] the response, of a model without intervals."""
    judged = halves.judged
    left, energy = free_curve(halves.tuning, edges).left(judged).mean(dim=-1), judged.energy.mean(dim=-1)
    held = Binned(judged, edges)
    squares, products = held.sums(held.squares).sum(dim=0), held.sums(held.products).sum(dim=1)
    return _at_most_all((left / energy).numpy()), (products / squares).numpy()


def _at_most_all(shares: Float[np.ndarray, "*axes"]) -> Float[np.ndarray, "*axes"]:
    """No filter, g = 0, leaves all, so the best one leaves no more: a curve fitted to other tasks may."""
    return np.minimum(shares, 1.0)
