"""Figures of token-norms: attention by the length of what it moves, sinks and drains, and what stands out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ...drawing import head_marks, marks, panels
from ...drawing.marks import BLACK, Look
from .looks import FIRST, LATER, RANKS, RATIOS, VERSIONS, Place, by_place, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

MOST_MAPS, MOST_TOKENS = 4, 128


class Map(NamedTuple):
    """A map of layers by heads: which measure at which labels, its title, and its colours as in `head_map`."""

    name: str
    title: str
    at: Mapping[str, Any]
    limit: float | None = None
    middle: float | None = None


ATTENTION = (
    Map("attention_to_first", "attention to position 0", {}, 1.0),
    Map("weighted_attention_to_first", "the same, weighed by ‖f(x)‖", {}, 1.0),
    Map("write_norm", "‖f(x)‖, after position 0", {"position": "later"}),
    Map("write_norm_variation", "how much ‖f(x)‖ varies", {}),
)
SINKS = (
    Map("sink_importance", "attention to position 0, queries 0–63", {}, 1.0),
    Map("bos_attention", "attention to position 0, later half", {}, 1.0),
    Map("value_drain", "value norm at position 0", {}, 1.0, 1.0),
    Map("key_drain", "key norm at position 0", {}, 1.0, 1.0),
)


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: how much attention goes to position 0, and how much of the length of what is moved comes from there;
    the mean length ‖f(x)‖ of what a token would send, and its coefficient of variation over tokens.
    """
    return _maps(ATTENTION, findings, page)


def sinks_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: mean attention to position 0 (a sink where it exceeds 0.3), and the norms of the value and the key at
    position 0 relative to the others' (1: alike; a drain is near 0; colours end at 2).
    """
    table = _maps(SINKS, findings, page)
    metric = marks.last_step(findings.measures).get("sink_metric")
    if table is not None and metric is not None and marks.has_number(metric):
        page.figure.suptitle(f"sink metric: {metric.estimate:.1f} % of heads and windows", fontsize=8)
    return table


def _maps(wanted: tuple[Map, ...], findings: Findings, page: Page) -> pd.DataFrame | None:
    measures = marks.last_step(findings.measures)
    found = [(of, measure) for of in wanted for measure in series(measures, {LATER: (of.name, of.at)}).values()]
    if not found:
        return None
    layers = max(len(measure.values) for _, measure in found)
    n_rows = -(-len(found) // 2)
    axes = page.grid(n_rows, 2, 0.4 + n_rows * (head_marks.map_height(layers) + 0.9))
    tables = []
    for (of, measure), ax in zip(found, axes, strict=False):
        tables.append(head_marks.head_map(measure, ax, of.title, {}, of.limit, of.middle))
        ax.set_title(of.title)
        head_marks.color_bar([ax], marks.unit_label(measure))
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    return marks.together(tables)


def mixing_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How much of each token an attention block mixes in from others, layer by layer, after Kobayashi et al. (2021). W:
    by attention weights, N: by norms; Res: with the residual stream, Ln: with the norm that follows. Bands: 95 %
    intervals; grey: AttnRes-N of untrained models.
    """
    measures = marks.last_step(findings.measures)
    wanted = {look: ("mixing_ratio", {"ratio": key, "position": "later"}) for key, look in RATIOS.items()}
    return panels.curves_figure({"mixing ratio": series(measures, wanted)}, page)


def maps_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """What each token (column) sends to each later one (row), all heads together: ‖Σ α f(x)‖ in the first window that
    was kept, at its first tokens, in some layers.
    """
    kept = findings.arrays.get("head_summed_norms")
    if kept is None or kept.ndim != 4:  # of one checkpoint
        return None
    window = kept[0, :, :MOST_TOKENS, :MOST_TOKENS]
    layers = np.unique(np.linspace(0, len(window) - 1, min(MOST_MAPS, len(window))).round().astype(int))
    axes = page.grid(-(-len(layers) // 2), min(2, len(layers)), 0.2 + 2.6 * -(-len(layers) // 2))
    tables = []
    for layer, ax in zip(layers, axes, strict=False):
        tables.append(_map(window[layer], ax, f"layer {layer}"))
        ax.set_title(f"layer {layer}")
        head_marks.color_bar([ax], "norm")
    for ax in axes[len(layers) :]:
        ax.set_axis_off()
    return marks.together(tables)


def _map(norms: np.ndarray, ax: Axes, panel: str) -> pd.DataFrame:
    past = np.where(np.tril(np.ones(norms.shape, dtype=bool)) | (norms != 0), norms, np.nan)
    head_marks.image(past, ax)
    ax.set(xlabel="position it comes from", ylabel="position it goes to")
    return marks.frame(
        {"panel": panel, "series": f"to {i}", "kind": "estimate", "at": j, "value": value}
        for (i, j), value in np.ndenumerate(past)
        if np.isfinite(value)
    )


# -- what stands out ---------------------------------------------------------------------------------------------------


def outliers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Layer by layer: the largest |entries| of a window's state beside the median one; the state's norm at position 0
    relative to the others'; the mean cosine of two tokens (anisotropy), with and without rogue dimensions; and the
    share of single dimensions in it. Position 0 is left out but where it is named. Bands: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    largest = "largest |entry|"
    wanted: dict[str, dict[Look, Place]] = {
        largest: by_place("massive_activation", rank=0)
        | {Look("median |entry|", BLACK, "^", ":"): ("median_activation", {})},
        "norm at position 0 / later": {FIRST: ("state_peak", {})},
        "anisotropy": {
            look: ("anisotropy", {"dimensions": key, "position": "later"}) for key, look in VERSIONS.items()
        },
        "share of its largest dimensions": {look: ("rogue_share", {"rank": rank}) for rank, look in enumerate(RANKS)},
    }
    found = {title: series(measures, of) for title, of in wanted.items()}
    table = panels.curves_figure(found, page, per_row=2, logarithmic=[largest])
    if table is not None:
        page.figure.suptitle(_massive(measures), fontsize=8)
    return table


def _massive(measures: Mapping[str, Measure]) -> str:
    dimensions = measures.get("massive_dimension")
    if dimensions is None or not marks.has_number(dimensions):
        return "no massive activation"
    indices = dimensions.values if dimensions.points is None else dimensions.points  # each seed has its own
    found = sorted({int(index) for index in indices[np.isfinite(indices)]})
    return f"massive activations in dimension{'s' * (len(found) > 1)} {', '.join(map(str, found))}"
