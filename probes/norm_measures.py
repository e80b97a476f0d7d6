"""From notes to measures: means, percentiles and rank correlations, each with its interval over documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from .measure import Measure, missing
from .norm_lengths import PERCENTILES, percentile_intervals, percentiles
from .norm_notes import PLACES, Means, Notes
from .norm_ranks import correlations, document_moments, partial_given, standard_ranks
from .norm_reading import Reading
from .statistics import bootstrap_means, percentile_interval

STATISTICS = ("mean", "rms", "p5", "median", "p95")
ALONE = "no untrained model stands beside it"
FIXED_RANKS = "in a resample tokens keep the ranks that they have in all documents"
GIVEN = ("position", "log_frequency")
"""What partial correlations control for."""


def built(
    means: Means,
    reading: Reading,
    unit: str,
    axes: tuple[str, ...] = (),
    coords: Mapping[str, tuple[Any, ...]] | None = None,
    message: str = "",
    missing_words: str = "no token to measure it on",
    higher_is_better: bool | None = None,
) -> Measure:
    """A measure from means, with the percentile interval of their resamples."""
    interval = percentile_interval(means.resampled)
    return with_interval(
        means.values, interval, means.n, reading, unit, axes, coords, message, missing_words, higher_is_better
    )


def with_interval(
    values: np.ndarray,
    interval: tuple[np.ndarray, np.ndarray],
    n: int,
    reading: Reading,
    unit: str,
    axes: tuple[str, ...] = (),
    coords: Mapping[str, tuple[Any, ...]] | None = None,
    message: str = "",
    missing_words: str = "no token to measure it on",
    higher_is_better: bool | None = None,
) -> Measure:
    """A measure whose message says what was resampled, and why numbers are missing where some are."""
    finite = np.isfinite(values)
    if not finite.any():
        return missing(unit, "undefined", missing_words)
    holes = "" if finite.all() else f"NaN: {missing_words}"
    alone = f"a single {reading.replicate} has no interval" if n < 2 else ""
    low, high = (np.where(finite & (n > 1), bound, np.nan) for bound in interval)
    return Measure(
        np.where(finite, values, np.nan),
        unit,
        (low, high),
        replicate=reading.replicate,
        n=reading.n_replicates if n == reading.n_units else n,
        axes=axes,
        coords=coords or {},
        no_nulls=ALONE,
        higher_is_better=higher_is_better,
        message="; ".join(filter(None, (message, holes, alone or reading.message))),
    )


def without_interval(
    values: np.ndarray,
    unit: str,
    axes: tuple[str, ...],
    coords: Mapping[str, tuple[Any, ...]] | None = None,
    message: str = "a function of the weights alone: nothing was resampled",
) -> Measure:
    """A measure that has no interval, and whose message says why."""
    if not np.isfinite(values).any():
        return missing(unit, "undefined", message)
    nothing = np.full(values.shape, np.nan)
    return Measure(values, unit, (nothing, nothing), "none", 1, axes, coords or {}, no_nulls=ALONE, message=message)


def length_measure(notes: Notes, site: str, layered: bool = True) -> Measure:
    """Mean, root mean square and percentiles of the norms noted at one site, position 0 and the others apart.

    The notes are a mean named "norm_<site>" of (norm, squared norm), and the sample's column of the site's name.
    """
    means = notes.means(f"norm_{site}").apply(
        lambda x: np.stack([x[..., 0], np.sqrt(x[..., 1])], axis=-1)
    )  # [layer, place, statistic]
    low, high = percentile_interval(means.resampled)
    cut, cut_low, cut_high = _percentiles(notes, site)
    parts = ((means.values, cut), (low, cut_low), (high, cut_high))
    values, low, high = (np.concatenate(pair, axis=-1) for pair in parts)
    axes, coords = ("layer", "position", "statistic"), {"position": PLACES, "statistic": STATISTICS}
    if not layered:
        values, low, high, axes = values[0], low[0], high[0], axes[1:]
    return with_interval(
        values, (low, high), means.n, notes.reading, "norm", axes, coords, f"percentiles {_of_tokens(notes)}"
    )


def _of_tokens(notes: Notes) -> str:
    """Which tokens percentiles and ranks are of."""
    sample = notes.sample
    return "of all tokens" if sample.whole else f"of {len(sample.token):,} tokens drawn from {sample.of:,}"


def _percentiles(notes: Notes, site: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Percentiles [layer, place, percentile] of the sample, and their intervals."""
    sample, found = notes.sample, []
    columns = sample.column(site)
    for place in PLACES:
        rows = sample.at(place)
        pieces = _Pieces(sample.unit[rows])
        for layer in range(columns.shape[1]):
            values = columns[rows, layer]
            at = percentiles(values)
            below = np.stack([np.bincount(pieces.piece, values <= bound, pieces.n) for bound in at], axis=1)
            drawn = bootstrap_means(np.column_stack([below, pieces.size]), notes.seed)
            with np.errstate(invalid="ignore", divide="ignore"):
                found.append((at, *percentile_intervals(values, drawn[:, :-1] / drawn[:, -1:])))
    stacked = np.array(found).reshape(len(PLACES), columns.shape[1], 3, len(PERCENTILES)).swapaxes(0, 1)
    return stacked[:, :, 0], stacked[:, :, 1], stacked[:, :, 2]


class _Pieces:
    """Rows by the pieces that have any."""

    def __init__(self, unit: Int[np.ndarray, " row"]) -> None:
        used, self.piece = np.unique(unit, return_inverse=True)
        self.n = len(used)
        self.size = np.bincount(self.piece, minlength=self.n)


def rank_measures(
    notes: Notes, names: tuple[str, ...], covariates: Mapping[str, Float[np.ndarray, " token"]]
) -> dict[str, Measure]:
    """Spearman's correlations of noted columns with covariates, plain and given position and log frequency.

    Over all tokens, and without those at position 0; of tokens whose covariates are all known. Values are ranked in
    float32: what begins alike is alike, and only rounding in batches of another shape tells it apart.
    """
    sample, labels = notes.sample, tuple(covariates)
    columns = [sample.column(name) for name in names]
    x, y = np.concatenate(columns, axis=1), np.column_stack(list(covariates.values()))
    known = np.isfinite(y).all(axis=1)
    given = tuple(1 + labels.index(name) for name in GIVEN)
    if not np.isin(sample.at("later"), np.flatnonzero(known)).any():
        words = "no token has finite " + ", ".join(name for name in labels if not np.isfinite(covariates[name]).any())
        kinds = ("spearman", "partial_spearman")
        return {f"{kind}_{name}": missing("rank correlation", "undefined", words) for kind in kinds for name in names}
    found = []
    for place in ("all", "later"):
        rows = np.intersect1d(sample.at(place), np.flatnonzero(known))
        pieces = _Pieces(sample.unit[rows])
        own, other = (standard_ranks(values[rows].astype(np.float32)) for values in (x, y))
        moments = document_moments(own, other, pieces.piece, pieces.n)
        sums = np.concatenate([moments.sum(axis=0)[None], bootstrap_means(moments, notes.seed)])
        full = correlations(sums, x.shape[1], y.shape[1])
        partial = np.stack([partial_given(full, 0, 1 + c, given) for c in range(y.shape[1])], axis=-1)
        found.append((full[..., 0, 1:], partial, full[:, 0, 1:, 1:], pieces.n))
    plain, partial, among, n = (list(part) for part in zip(*found, strict=True))
    message = f"ranks {_of_tokens(notes)}; {FIXED_RANKS}"
    coords = {"covariate": labels, "position": ("all", "later")}

    def measure(samples: list[np.ndarray], axes: tuple[str, ...], extra: Mapping[str, Any], words: str = "") -> Measure:
        values = np.stack(samples, axis=-1)
        means = Means(values[0], values[1:], max(n))
        said = "; ".join(filter(None, (words, message)))
        return built(
            means, notes.reading, "rank correlation", axes, {**coords, **extra}, said, "one of the two is constant"
        )

    ends = np.cumsum([0, *(column.shape[1] for column in columns)])
    axes, words = ("layer", "covariate", "position"), f"given {' and '.join(GIVEN).replace('_', ' ')}"
    measures = {
        "spearman_covariates": measure(among, ("covariate", "covariate_2", "position"), {"covariate_2": labels})
    }
    for name, first, last in zip(names, ends, ends[1:], strict=False):
        own = [part[:, first:last] for part in plain], [part[:, first:last] for part in partial]
        measures[f"spearman_{name}"] = measure(own[0], axes, {})
        measures[f"partial_spearman_{name}"] = measure(own[1], axes, {}, words)
    return measures
