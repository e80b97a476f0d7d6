"""Figures of attention: by the length of what it moves, how much it mixes, and attention sinks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ...drawing import head_marks, marks, panels
from .looks import LATER, RATIOS, Selection, selected

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings

MOST_MAPS, MOST_TOKENS = 4, 128


class HeadMap(NamedTuple):
    """A map of layers by heads: which measure at which labels, its title, and its colours as in `head_map`."""

    name: str
    title: str
    labels: Mapping[str, Any]
    limit: float | None = None
    middle: float | None = None
    least: float = 0.0


ATTENTION = (
    HeadMap("attention_to_first", "attention to position 0", {}, least=0.1),
    HeadMap("weighted_attention_to_first", "the same, weighted by ‖f(x)‖", {}, least=0.1),
    HeadMap("write_norm", "‖f(x)‖, after position 0", {"position": "later"}),
    HeadMap("write_norm_variation", "how much ‖f(x)‖ varies", {}),
)
SINKS = (
    HeadMap("sink_importance", "attention to position 0, queries 0–63", {}, least=0.1),
    HeadMap("bos_attention", "attention to position 0, later half", {}, least=0.1),
    HeadMap("value_drain", "value norm at position 0", {}, 1.0, 1.0),
    HeadMap("key_drain", "key norm at position 0", {}, 1.0, 1.0),
)


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: how much attention goes to position 0, and how much of the length of what attention moves comes from
    there; the mean length ‖f(x)‖ of what a token would send, and its coefficient of variation over tokens.
    """
    return _head_maps(ATTENTION, findings, page)


def sinks_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every head: mean attention to position 0 (an attention sink where it exceeds 0.3), and the norms of the value and
    the key at position 0 over the mean norm after it (1: the same; a drain is near 0; colours end at 2).
    """
    table = _head_maps(SINKS, findings, page)
    metric = marks.last_step(findings.measures).get("sink_metric")
    if table is not None and metric is not None and marks.has_number(metric):
        page.heading(f"attention sinks: {metric.estimate:.1f} % of heads and windows")
    return table


def _head_maps(wanted: tuple[HeadMap, ...], findings: Findings, page: Page) -> pd.DataFrame | None:
    measures = marks.last_step(findings.measures)
    found = {
        head_map.title: (head_map, measure)
        for head_map in wanted
        for measure in selected(measures, {LATER: (head_map.name, head_map.labels)}).values()
    }
    if not found:
        return None
    shown = page.chosen(found)
    tall = head_marks.map_height(max(len(measure.values) for _, measure in found.values())) + 0.9
    tables = []
    for (title, (head_map, measure)), ax in zip(shown.items(), page.grid(len(shown), 2, tall), strict=True):
        colors = head_map.limit, head_map.middle, head_map.least
        tables.append(head_marks.head_map(measure, ax, title, {}, *colors))
        ax.set_title(title)
        page.color_bar([ax], marks.unit_label(measure))
    return marks.together(tables)


def mixing_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Mixing ratio of each layer: how much of a token attention mixes in from others (Kobayashi et al. 2021). W: by
    attention weights, N: by norms; Res: with the residual stream, Ln: with the norm that follows. Bands: 95 %
    intervals.
    """
    measures = marks.last_step(findings.measures)
    wanted: dict[Look, Selection] = {
        look: ("mixing_ratio", {"ratio": key, "position": "later"}) for key, look in RATIOS.items()
    }
    return panels.curves_figure({"mixing ratio": selected(measures, wanted)}, page)


def maps_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """What attention moves from each token (column) to each other (row), all heads together: ‖Σ α f(x)‖ in the first
    window that was kept, at its first tokens, in some layers.
    """
    maps = findings.arrays.get("head_summed_norms")
    if maps is None or maps.ndim != 4:  # of one checkpoint
        return None
    window = maps[0, :, :MOST_TOKENS, :MOST_TOKENS]
    layers = np.unique(np.linspace(0, len(window) - 1, min(MOST_MAPS, len(window))).round().astype(int))
    shown = page.chosen({f"layer {layer}": window[layer] for layer in layers})
    tables = []
    for (title, norms), ax in zip(shown.items(), page.grid(len(shown), 2, 2.6), strict=True):
        tables.append(_draw_map(norms, ax, title))
        ax.set_title(title)
        page.color_bar([ax], "norm")
    return marks.together(tables)


def _draw_map(norms: np.ndarray, ax: Axes, panel: str) -> pd.DataFrame:
    past = np.where(np.tril(np.ones(norms.shape, dtype=bool)) | (norms != 0), norms, np.nan)
    head_marks.image(past, ax)
    ax.set(xlabel="position it comes from", ylabel="position it goes to")
    table = marks.frame(
        {"panel": panel, "series": f"to {i}", "kind": "estimate", "at": j, "value": value}
        for (i, j), value in np.ndenumerate(past)
        if np.isfinite(value)
    )
    return marks.together([table, marks.no_nulls_here(panel, "these are the norms of a single window")])
