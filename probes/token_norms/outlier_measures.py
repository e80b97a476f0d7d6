"""Massive activations, attention sinks, drains, rogue dimensions and anisotropy, as measures."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from ...models.subject import Site
from ..measure import Measure, missing, without_interval
from ..statistics.jackknife import jackknife_interval, left_out_sums
from .accumulator import Means, ModelPass, combined
from .length_watcher import STREAM
from .outlier_watcher import VERSIONS, StateSums
from .outliers import LARGE, MANY_TIMES, SINK_SHARE, SINK_TOKENS, TOP, anisotropy, rogue
from .quantity import SAMPLE_ONLY, Estimate, Quantity, mean_measure, measure_from
from .sample import PLACES

CRITERION = f"above {LARGE:g} and {MANY_TIMES:,.0f} times the median |entry| of the window's state"
HEADS = ("layer", "head")
BY_POSITION = {"position": PLACES}
WINDOW_QUANTITIES = {
    "massive_activation": Quantity(
        "activation", ("layer", "position", "rank"), BY_POSITION, "largest |entries| of each window"
    ),
    "median_activation": Quantity("activation", ("layer",), {}, "median |entry| of each window"),
    "massive_ratio": Quantity(
        "times the median", ("layer", "position"), BY_POSITION, "largest |entry| over the median one"
    ),
    "massive_windows": Quantity(
        "share of windows", ("layer", "position"), BY_POSITION, f"windows with an entry {CRITERION}"
    ),
}
"""Window by window, averaged over windows."""
SINK_UNITS = {
    "sink_importance": "probability",
    "sink_share": "% of windows",
    "sink_metric": "%",
    "bos_attention": "probability",
    "bos_attention_mean": "probability",
}
DRAIN_UNIT = "first / later"


def outlier_measures(model_pass: ModelPass, sums: StateSums) -> dict[str, Measure]:
    """Everything that stands out, by layer."""
    return {
        **massive_measures(model_pass, sums),
        **sink_measures(model_pass),
        **drain_measures(model_pass),
        **anisotropy_measures(model_pass, sums),
    }


def massive_measures(model_pass: ModelPass, sums: StateSums) -> dict[str, Measure]:
    found = {
        name: mean_measure(quantity, model_pass.noted.means(name), model_pass.text)
        for name, quantity in WINDOW_QUANTITIES.items()
    }
    windows = sums.massive_windows.sum(axis=1)
    order = np.argsort(-windows, axis=-1, kind="stable")[:, :TOP]
    dimensions = np.where(np.take_along_axis(windows, order, axis=-1) > 0, order, np.nan)
    message = (
        f"the dimensions with an entry {CRITERION} in most windows; no interval: a rank has none; NaN where no window"
        " has such an entry"
    )
    found["massive_dimension"] = without_interval(
        dimensions, "dimension", ("layer", "rank"), message=message, no_nulls=SAMPLE_ONLY
    )
    return found


def sink_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """Attention to the first token (Gu et al. 2024; Ran-Milo et al. 2026)."""
    if reason := model_pass.subject.not_shown.get("attention"):
        return {name: missing(unit, "not applicable", reason) for name, unit in SINK_UNITS.items()}
    noted, text = model_pass.noted, model_pass.text
    queries = f"the first {SINK_TOKENS} queries" if model_pass.subject.shape.causal else "all queries"
    importance = f"mean attention to the first token over {queries} (Gu et al. 2024)"
    second_half = "mean attention to the first token over the second half of the queries (Ran-Milo et al. 2026)"
    share, bos = noted.means("sink_share"), noted.means("bos_attention")
    return {
        "sink_importance": mean_measure(
            Quantity(SINK_UNITS["sink_importance"], HEADS, {}, importance), noted.means("sink_importance"), text
        ),
        "sink_share": mean_measure(
            Quantity(SINK_UNITS["sink_share"], HEADS, {}, f"windows with {importance} above {SINK_SHARE}"), share, text
        ),
        "sink_metric": mean_measure(
            Quantity(
                SINK_UNITS["sink_metric"],
                message=f"over layers, heads and windows, those with {importance} above {SINK_SHARE}",
            ),
            share.averaged(),
            text,
        ),
        "bos_attention": mean_measure(Quantity(SINK_UNITS["bos_attention"], HEADS, {}, second_half), bos, text),
        "bos_attention_mean": mean_measure(
            Quantity(SINK_UNITS["bos_attention_mean"], message=second_half), bos.averaged(), text
        ),
    }


def drain_measures(model_pass: ModelPass) -> dict[str, Measure]:
    """Norm at position 0 over the mean norm after it: 1 where the first token is like the others."""
    noted, heads = model_pass.noted, Quantity(DRAIN_UNIT, ("layer", "kv_head"))
    stream = _first_over_later(noted.means(f"norm_{STREAM}").at(power=0))
    found = {"state_peak": mean_measure(Quantity(DRAIN_UNIT, ("layer",)), stream, model_pass.text)}
    not_shown = model_pass.subject.not_shown
    sites: tuple[tuple[str, str, Site], ...] = (
        ("value_drain", "value_norm", "v"), ("key_drain", "key_norm", "k"),
    )  # fmt: skip
    for name, noted_as, site in sites:
        if reason := not_shown.get("attention") or not_shown.get(site):
            found[name] = missing(DRAIN_UNIT, "not applicable", reason)
        else:
            found[name] = mean_measure(heads, _first_over_later(noted.means(noted_as)), model_pass.text)
    return found


def _first_over_later(norms: Means) -> Means:
    first, later = (norms.at(position=PLACES.index(place)) for place in ("first", "later"))
    return combined(np.divide, first, later)


def anisotropy_measures(model_pass: ModelPass, sums: StateSums) -> dict[str, Measure]:
    """Mean cosine of two tokens' states, and the dimensions that contribute most to it."""
    by_dimension = sums.contributions
    order = rogue(by_dimension)
    share = np.take_along_axis(by_dimension, order, axis=-1) / by_dimension.sum(axis=-1, keepdims=True)
    message = "position 0 left out; no interval: squares are summed over the whole text only"
    ranks = {
        "rogue_dimension": (order.astype(np.float64), "dimension"),
        "rogue_share": (share, "share of the anisotropy"),
    }
    return {"anisotropy": _anisotropy(model_pass, sums)} | {
        name: without_interval(values, unit, ("layer", "rank"), message=message, no_nulls=SAMPLE_ONLY)
        for name, (values, unit) in ranks.items()
    }


def _anisotropy(model_pass: ModelPass, sums: StateSums) -> Measure:
    groups = len(sums.tokens)
    quantity = Quantity(
        "cosine",
        ("layer", "dimensions", "position"),
        {"dimensions": tuple(VERSIONS), "position": ("all", "later")},
        f"mean cosine of two tokens; the interval is a jackknife over {groups} groups of documents",
        "there are not two tokens",
    )
    by_place = zip(*_mean_cosines(sums), strict=True)
    values, low, high = (np.stack(bounds, axis=-1) for bounds in by_place)
    return measure_from(quantity, Estimate(values, low, high, groups), model_pass.text)


def _mean_cosines(sums: StateSums) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Values [layer, version] and the bounds of their intervals, of all tokens and of those after position 0."""
    for places in ((0, 1), (1,)):
        totals, tokens = sums.totals[:, :, places].sum(axis=2), sums.tokens[:, places].sum(axis=1)
        used = tokens > 0
        whole = _mean_cosine(totals[used].sum(axis=0), np.asarray(tokens[used].sum()))
        left_out = _mean_cosine(left_out_sums(totals[used]), left_out_sums(tokens[used]))
        yield whole, *jackknife_interval(whole, left_out)


def _mean_cosine(
    totals: Float[np.ndarray, "*sample layer version d_model"], tokens: Float[np.ndarray, "*sample"]
) -> Float[np.ndarray, "*sample layer version"]:
    """NaN of fewer than two tokens."""
    n = np.where(tokens > 1, tokens, np.nan)[..., None, None]
    return anisotropy(totals, np.broadcast_to(n, totals.shape[:-1]))
