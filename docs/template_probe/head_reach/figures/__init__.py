"""The figures: `FIGURES` names them, `headline` draws the one that says most. A figure's docstring is its caption."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mesascope.probes.drawing import head_marks, marks, panels
from mesascope.probes.drawing.marks import BLUE, ORANGE, VERMILION, Look
from mesascope.probes.findings import head_from

from ..reach_measures import EVEN

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from mesascope.probes import Findings, Measure
    from mesascope.probes.drawing.page import Page

VERDICTS = {"near": Look("looks near", BLUE, "v", "--"), "far": Look("looks far", VERMILION, "^", "-")}
LAYER = Look("mean over the layer's heads", ORANGE, "o", "-")


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back each head attends on random tokens. White: as far as even attention. Symbols: verdicts, which hold
    at every length.
    """
    lengths = _by_length(findings, "reach")
    if not lengths:
        return None
    marked = _marked(findings)
    n_layers = max(len(measure.values) for measure in lengths.values())
    axes = page.grid(1, len(lengths), 1.2 + head_marks.map_height(n_layers))
    tables = [_map(measure, ax, f"{n} tokens", marked) for (n, measure), ax in zip(lengths.items(), axes, strict=True)]
    if marked:
        page.legend(head_marks.mark_keys(marked))
    return marks.together(tables)


def layers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back the heads of each layer attend, on average. Grey: even attention, and the heads' own attention dealt
    out to the same keys at random.
    """
    lengths = _by_length(findings, "layer_reach")
    return panels.curves_figure({f"{n} tokens": {LAYER: measure} for n, measure in lengths.items()}, page)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far back heads attend along training: those that look near or far in the end, and all others."""
    drawn, marked = {}, _marked(findings)
    for n, measure in findings.measures["reach"].apart().items():
        if measure.axes == ("step", "layer", "head"):
            drawn[f"{n} tokens"] = (partial(head_marks.head_curves, measure, marked=marked), "reach (tokens)")
    return panels.panels_figure(drawn, page, [*head_marks.mark_keys(marked, lines=True), head_marks.others_key()])


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """Reach of every head on the longest sequences."""
    lengths = _by_length(findings, "reach")
    if not lengths:
        return marks.write_words(ax, findings.measures["reach"].message)
    longest = max(lengths)
    return _map(lengths[longest], ax, f"{longest} tokens", _marked(findings))


def _by_length(findings: Findings, name: str) -> dict[int, Measure]:
    """A measure at each length, as far as it has numbers; the last of several steps."""
    lengths = marks.last_step(findings.measures)[name].apart()
    return {n: measure for n, measure in lengths.items() if measure.has_number}


def _marked(findings: Findings) -> head_marks.Marked:
    """The heads with a verdict, and what they look like."""
    return {head_from(name): VERDICTS[word] for name, word in findings.heads.items() if word in VERDICTS}


def _map(measure: Measure, ax: Axes, title: str, marked: head_marks.Marked) -> pd.DataFrame:
    table = head_marks.head_map(measure, ax, title, marked, middle=float(measure.nulls[EVEN].mean()))
    ax.set_title(title)
    head_marks.color_bar([ax], "reach (tokens)")
    return table


FIGURES = {"heads": heads_figure, "layers": layers_figure, "trajectory": trajectory_figure}
