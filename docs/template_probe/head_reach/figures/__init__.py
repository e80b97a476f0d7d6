"""The figures: `FIGURES` names them, `headline` draws the one that says most. A figure's docstring is its caption."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from mesascope.probes.drawing import head_marks, marks, panels
from mesascope.probes.drawing.marks import BLUE, GREEN, ORANGE, PURPLE, VERMILION, Look

from ..reach_measures import EVEN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from mesascope.probes import Findings, Measure
    from mesascope.probes.drawing.page import Page

LOOKS = (
    Look("", VERMILION, "o", "-"),
    Look("", BLUE, "s", "--"),
    Look("", GREEN, "^", "-."),
    Look("", ORANGE, "D", ":"),
    Look("", PURPLE, "v", "-"),
)
"""Of one series after the other; no more heads than these have a curve of their own."""


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back each head attends on random tokens. White: as far as even attention; blue: nearer; red: farther."""
    lengths = _by_length(findings, "reach")
    if not lengths:
        return None
    n_layers = max(len(measure.values) for measure in lengths.values())
    axes = page.grid(1, len(lengths), 0.9 + head_marks.map_height(n_layers))
    tables = [_map(measure, ax, f"{n} tokens") for (n, measure), ax in zip(lengths.items(), axes, strict=True)]
    return marks.together(tables)


def layers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back the heads of each layer attend, on average. Grey: even attention, and the heads' own attention dealt
    out to the same keys at random.
    """
    look = replace(LOOKS[0], label="mean over the layer's heads")
    lengths = _by_length(findings, "layer_reach")
    return panels.curves_figure({f"{n} tokens": {look: measure} for n, measure in lengths.items()}, page)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back heads attend along training: the first heads that look near or far in the end, and all others."""
    drawn, chosen = {}, _chosen(findings)
    for n, measure in findings.measures["reach"].apart().items():
        if measure.axes == ("step", "layer", "head"):
            curves = partial(head_marks.called_curves, measure, chosen=chosen, others="other heads")
            drawn[f"{n} tokens"] = (curves, "reach (tokens)")
    keys = [*(marks.line_key(look) for look in chosen), head_marks.others_key("other heads")]
    return panels.panels_figure(drawn, page, keys)


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """Reach of every head on the longest sequences."""
    lengths = _by_length(findings, "reach")
    if not lengths:
        return marks.write_words(ax, findings.measures["reach"].message)
    longest = max(lengths)
    return _map(lengths[longest], ax, f"{longest} tokens")


def _by_length(findings: Findings, name: str) -> dict[int, Measure]:
    """A measure at each length, as far as it has numbers; the last of several steps."""
    lengths = marks.last_step(findings.measures)[name].apart()
    return {n: measure for n, measure in lengths.items() if measure.has_number}


def _map(measure: Measure, ax: Axes, title: str) -> pd.DataFrame:
    table = head_marks.head_map(measure, ax, title, {}, middle=float(measure.nulls[EVEN].mean()))
    ax.set_title(title)
    head_marks.color_bar([ax], "reach (tokens)")
    return table


def _chosen(findings: Findings) -> dict[Look, dict[str, int]]:
    """The first heads with a verdict, where they lie along the axes, and what they look like."""
    measure = findings.measures["reach"]
    layers, heads = ((len(measure.labels(axis)) if axis in measure.axes else 0) for axis in ("layer", "head"))
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    called = [place for place in places if findings.heads.get(head_marks.name(place), "none") != "none"]
    return {
        replace(look, label=head_marks.name((layer, head))): {"layer": layer, "head": head}
        for look, (layer, head) in zip(LOOKS, called, strict=False)
    }


FIGURES = {"heads": heads_figure, "layers": layers_figure, "trajectory": trajectory_figure}
