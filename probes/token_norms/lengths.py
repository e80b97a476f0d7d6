"""Lengths of representations, and how they grow with depth: formulas for tensors from anywhere.

Growth is measured as by S. Heimersheim and A. Turner ("Residual stream norms grow exponentially over the forward pass",
Alignment Forum 2023): log of the mean norm is fitted by a line in the layer. Position 0 is fitted apart: its own norm
says nothing about the others.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

PERCENTILES = (5, 50, 95)
ROWS = 2**13
"""Rows of a vocabulary in float64 at a time."""
CACHED = 2**17
"""Numbers in float64 at a time, 1 MiB: what fits into a cache takes a tenth of the time."""


def lengths(x: Float[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch"]:
    """‖x‖₂ of each vector, of its stored values: squares are taken and summed in float64.

    In float16 the squares of 4,096 entries of 20 overflow, in float32 entries of 1e20 do and those of 1e-30 vanish.
    """
    rows = x.reshape(-1, x.shape[-1]).split(max(CACHED // x.shape[-1], 1))
    return torch.cat([some.double().square().sum(dim=-1) for some in rows]).sqrt().view(x.shape[:-1])


def whitened_lengths(
    embedding: Float[Tensor, "d_vocab d_model"],
    unembedding: Float[Tensor, "d_vocab d_model"],
    weights: Float[Tensor, " d_vocab"],
) -> Float64[Tensor, " d_vocab"]:
    """((e_w - mean) G (e_w - mean))^½ of embeddings e_w, with G the covariance of unembedding rows; tokens weighted.

    Its square is about twice the information that w gives about its neighbours (Oyama et al. 2023, arXiv 2212.09663).
    """
    share = (weights / weights.sum()).double()[:, None].split(ROWS)
    e, u = embedding.split(ROWS), unembedding.split(ROWS)
    middle_e, middle_u = (
        torch.stack([(p * x.double()).sum(dim=0) for p, x in zip(share, rows, strict=True)]).sum(dim=0)
        for rows in (e, u)
    )
    covariance = torch.zeros(len(middle_u), len(middle_u), dtype=torch.float64, device=u[0].device)
    for p, x in zip(share, u, strict=True):
        centred = x.double() - middle_u
        covariance += centred.mT @ (p * centred)
    squares = [(((x.double() - middle_e) @ covariance) * (x.double() - middle_e)).sum(dim=-1) for x in e]
    return torch.cat(squares).clamp_min(0).sqrt()


def growth_factor(means: Float[np.ndarray, "*sample layer"]) -> Float[np.ndarray, "*sample"]:
    """From one layer to the next, by least squares of log(mean norm) on the layer; 1 where norms stay as they are.

    At least two layers, and norms above 0.
    """
    x, y = _line(means)
    return np.asarray(np.exp((y @ x) / (x @ x)))


def growth_r2(means: Float[np.ndarray, "*sample layer"]) -> Float[np.ndarray, "*sample"]:
    """R² of the fit of `growth_factor`: 1 with two layers, and NaN where the norm is the same in all."""
    x, y = _line(means)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(((y @ x) / (x @ x)) ** 2 * (x @ x) / (y**2).sum(axis=-1))


def _line(means: Float[np.ndarray, "*sample layer"]) -> tuple[np.ndarray, np.ndarray]:
    """Layers and log norms, each with mean 0."""
    if (layers := means.shape[-1]) < 2:
        raise ValueError(f"growth over {layers} layers: expected at least 2")
    y = np.log(means.astype(np.float64))
    return np.arange(layers) - (layers - 1) / 2, y - y.mean(axis=-1, keepdims=True)


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
