"""Lengths of representations, and how they grow with depth: formulas for tensors from anywhere.

Growth is measured as by S. Heimersheim and A. Turner ("Residual stream norms grow exponentially over the forward pass",
Alignment Forum 2023): log of the mean norm is fitted by a line in the layer, position 0 left out, whose own norm says
nothing about the others.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64
from torch import Tensor

PERCENTILES = (5, 50, 95)


def lengths(x: Float[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch"]:
    """‖x‖₂ of each vector, of its stored values: squares are taken and summed in float64.

    In float16 the squares of 4,096 entries of 20 overflow, in float32 entries of 1e20 do and those of 1e-30 vanish.
    """
    return x.double().square().sum(dim=-1).sqrt()


class Growth(NamedTuple):
    """factor: from one layer to the next, 1 where norms neither grow nor shrink; r2: of the fit to the log norm."""

    factor: Float[np.ndarray, "*sample"]
    r2: Float[np.ndarray, "*sample"]


def growth(means: Float[np.ndarray, "*sample layer"]) -> Growth:
    """Least squares of log(mean norm) on the layer, over the layers given; at least two, and norms above 0.

    r2 is 1 with two layers, and NaN where the norm is the same in all.
    """
    if (layers := means.shape[-1]) < 2:
        raise ValueError(f"growth over {layers} layers: expected at least 2")
    x = np.arange(layers) - (layers - 1) / 2
    y = np.log(means.astype(np.float64))
    y = y - y.mean(axis=-1, keepdims=True)
    slope = (y @ x) / (x @ x)
    total = (y**2).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        r2 = slope**2 * (x @ x) / total
    return Growth(np.asarray(np.exp(slope)), np.asarray(r2))


def percentiles(values: Float[np.ndarray, " token"]) -> Float[np.ndarray, " percentile"]:
    """The 5th, 50th and 95th percentile, between neighbours by linear interpolation; NaN of nothing."""
    return np.percentile(values, PERCENTILES) if len(values) else np.full(len(PERCENTILES), np.nan)


def percentile_intervals(
    values: Float[np.ndarray, " token"], shares: Float[np.ndarray, "resample percentile"], level: float = 0.95
) -> tuple[Float[np.ndarray, " percentile"], Float[np.ndarray, " percentile"]]:
    """Intervals of the percentiles from how the share of tokens below each of them varies (Woodruff 1952, JASA 47).

    shares:  in each resample, the share of tokens that are not above the percentile of all. A resample in which it is
             higher than it should be by δ has its percentile where all tokens have the one lower by δ.
    """
    at = np.array(PERCENTILES) / 100
    tail = (1 - level) / 2
    low, high = np.clip(2 * at - np.quantile(shares, (1 - tail, tail), axis=0), 0, 1)
    found = [np.quantile(values, bound) for bound in (low, high)]
    return np.asarray(found[0]), np.asarray(found[1])
