"""From notes to measures: means, percentiles and rank correlations, each with its interval over documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..measure import Measure, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.ranks import correlations, document_moments, partial_given, standard_ranks
from .accumulator import PLACES, Means, Notes
from .lengths import PERCENTILES, percentile_intervals, percentiles
from .text import Reading

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
    y = np.column_stack(list(covariates.values()))
    known = np.flatnonzero(np.isfinite(y).all(axis=1))
    rows = {place: np.intersect1d(sample.at(place), known) for place in ("all", "later")}
    if not len(rows["later"]):
        words = "no token has finite " + ", ".join(name for name in labels if not np.isfinite(covariates[name]).any())
        kinds = ("spearman", "partial_spearman")
        return {f"{kind}_{name}": missing("rank correlation", "undefined", words) for kind in kinds for name in names}
    ranks = {place: standard_ranks(y[at].astype(np.float32)) for place, at in rows.items()}
    given = tuple(1 + labels.index(name) for name in GIVEN)
    message = f"ranks {_of_tokens(notes)}; {FIXED_RANKS}"
    coords = {"covariate": labels, "position": tuple(rows)}

    def measure(samples: list[np.ndarray], axes: tuple[str, ...], extra: Mapping[str, Any], words: str = "") -> Measure:
        values = np.stack(samples, axis=-1)
        said = "; ".join(filter(None, (words, message)))
        means = Means(values[0], values[1:], len(np.unique(sample.unit[known])))
        return built(
            means, notes.reading, "rank correlation", axes, {**coords, **extra}, said, "one of the two is constant"
        )

    measures, among = {}, {}
    for name in names:  # one at a time: resamples of all layers' matrices are large
        plain, partial = [], []
        x = sample.column(name)
        for place, at in rows.items():
            full = _resampled(notes, standard_ranks(x[at].astype(np.float32)), ranks[place], at)
            plain.append(full[..., 0, 1:])
            partial.append(np.stack([partial_given(full, 0, 1 + c, given) for c in range(len(labels))], axis=-1))
            among[place] = full[:, 0, 1:, 1:]
        axes, words = ("layer", "covariate", "position"), f"given {' and '.join(GIVEN).replace('_', ' ')}"
        measures[f"spearman_{name}"] = measure(plain, axes, {})
        measures[f"partial_spearman_{name}"] = measure(partial, axes, {}, words)
    axes = ("covariate", "covariate_2", "position")
    return {"spearman_covariates": measure(list(among.values()), axes, {"covariate_2": labels}), **measures}


def _resampled(
    notes: Notes,
    x: Float[np.ndarray, "token column"],
    y: Float[np.ndarray, "token covariate"],
    rows: Int[np.ndarray, " token"],
) -> Float[np.ndarray, "sample column variable variable"]:
    """Correlations of ranks: those of all tokens first, then those of each resample."""
    pieces = _Pieces(notes.sample.unit[rows])
    moments = document_moments(x, y, pieces.piece, pieces.n)
    sums = np.concatenate([moments.sum(axis=0)[None], bootstrap_means(moments, notes.seed)])
    return correlations(sums, x.shape[1], y.shape[1])
