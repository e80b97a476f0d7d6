"""Rank correlations over tokens, with intervals over whole documents: formulas for arrays from anywhere.

Tokens of a document depend on each other, so that an interval must resample documents. Ranking anew in each resample
costs a sort each; here every token keeps its rank among all tokens, and a resample weighs the documents' sums of
products of ranks. The estimate is Spearman's exactly; the interval leaves out how ranks themselves would move.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm as normal
from scipy.stats import rankdata


def standard_ranks(columns: Float[np.ndarray, "token column"]) -> Float[np.ndarray, "token column"]:
    """Each column's ranks, ties sharing their mean, with mean 0 and variance 1; NaN where all values are the same."""
    ranks = rankdata(columns, axis=0)
    centred = ranks - ranks.mean(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return centred / centred.std(axis=0)


def spearman(
    x: Float[np.ndarray, "token column"], y: Float[np.ndarray, "token covariate"]
) -> Float[np.ndarray, "column covariate"]:
    """Spearman's correlation of every column with every covariate; NaN where one of them is constant."""
    return standard_ranks(x).T @ standard_ranks(y) / len(x)


def partial(
    x_y: Float[np.ndarray, "*sample"],
    with_control: tuple[Float[np.ndarray, "*sample"], Float[np.ndarray, "*sample"]],
) -> Float[np.ndarray, "*sample"]:
    """Correlation of x and y given one control z, from r(x, y), and r(x, z) and r(y, z).

    With several controls it is applied once for each, to correlations that are partial in those before. NaN where the
    control leaves nothing of x or y.
    """
    x_z, y_z = with_control
    left = (1 - x_z**2) * (1 - y_z**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(left > 1e-12, (x_y - x_z * y_z) / np.sqrt(np.maximum(left, 0)), np.nan)


def partial_given(
    correlations: Float[np.ndarray, "*sample variable variable"], x: int, y: int, given: tuple[int, ...]
) -> Float[np.ndarray, "*sample"]:
    """Partial correlation of two variables given others, from the correlations of all.

    Given variables that are x or y themselves, or constant in every sample, control for nothing and are left out.
    """
    controls = tuple(z for z in given if z not in (x, y) and not np.isnan(correlations[..., z, z]).all())
    return _partial_given(correlations, x, y, controls)


def _partial_given(correlations: np.ndarray, x: int, y: int, controls: tuple[int, ...]) -> np.ndarray:
    """By recursion: given the last control, from correlations that are partial in the others."""
    if not controls:
        return correlations[..., x, y]
    *others, z = controls
    x_y, x_z, y_z = (_partial_given(correlations, a, b, tuple(others)) for a, b in ((x, y), (x, z), (y, z)))
    return partial(x_y, (x_z, y_z))


def document_moments(
    x: Float[np.ndarray, "token column"],
    y: Float[np.ndarray, "token covariate"],
    document: Int[np.ndarray, " token"],
    n_documents: int,
) -> Float[np.ndarray, "document moment"]:
    """Sums over each document's tokens that a resample's correlations are made of: see `correlations`.

    x and y are standard ranks.
    """
    order = np.argsort(document, kind="stable")
    ends = np.searchsorted(document[order], np.arange(n_documents + 1))
    moments = []
    for first, last in pairwise(ends):
        a, b = x[order[first:last]], y[order[first:last]]
        products = (a.T @ b, b.T @ b)
        sums = (np.array([len(a)]), a.sum(axis=0), b.sum(axis=0), (a**2).sum(axis=0), *map(np.ravel, products))
        moments.append(np.concatenate(sums))
    return np.stack(moments).astype(np.float64)


def correlations(
    moments: Float[np.ndarray, "*sample moment"], columns: int, covariates: int
) -> Float[np.ndarray, "*sample column variable variable"]:
    """For each column, the correlations of (column, covariate 0, covariate 1, …) among each other."""
    sizes = (1, columns, covariates, columns, columns * covariates, covariates**2)
    n, a, b, aa, ab, bb = np.split(moments, np.cumsum(sizes)[:-1], axis=-1)
    a, b, aa = a / n, b / n, aa / n
    ab = (ab / n).reshape(*n.shape[:-1], columns, covariates)
    bb = (bb / n).reshape(*n.shape[:-1], covariates, covariates)
    full = np.empty((*n.shape[:-1], columns, 1 + covariates, 1 + covariates))
    full[..., 0, 0] = aa - a**2
    full[..., 0, 1:] = full[..., 1:, 0] = ab - a[..., :, None] * b[..., None, :]
    full[..., 1:, 1:] = (bb - b[..., :, None] * b[..., None, :])[..., None, :, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(full.diagonal(axis1=-2, axis2=-1))
        return full / (spread[..., :, None] * spread[..., None, :])


def independent_interval(
    rho: Float[np.ndarray, "*axes"], n: int
) -> tuple[Float[np.ndarray, "*axes"], Float[np.ndarray, "*axes"]]:
    """95 % interval of Spearman's correlation over n independent items (Bonett & Wright 2000, Psychometrika 65)."""
    if n < 4:
        return np.full(rho.shape, np.nan), np.full(rho.shape, np.nan)
    half = normal.ppf(0.975) * np.sqrt((1 + rho**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):
        z = np.arctanh(rho)
    return np.asarray(np.tanh(z - half)), np.asarray(np.tanh(z + half))
