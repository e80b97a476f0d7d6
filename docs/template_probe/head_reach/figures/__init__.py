"""The figures: `FIGURES` names them, the one that says most first. A figure's docstring is its caption."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from mesascope.probes.drawing import head_marks, marks, panels
from mesascope.probes.drawing.marks import BLUE, ORANGE, VERMILION, Look
from mesascope.probes.findings import head_from

from ..reach_measures import EVEN

if TYPE_CHECKING:
    import pandas as pd
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
    height = 0.9 + head_marks.map_height(max(len(measure.values) for measure in lengths.values()))
    shown = page.chosen({f"{n} tokens": measure for n, measure in lengths.items()})
    tables = []
    for (title, measure), ax in zip(shown.items(), page.grid(len(shown), 2, height), strict=True):
        tables.append(head_marks.head_map(measure, ax, title, marked, middle=float(measure.nulls[EVEN].mean())))
        ax.set_title(title)
        page.color_bar([ax], "reach (tokens)")
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
            draw = partial(head_marks.head_curves, measure, marked=marked)
            drawn[f"{n} tokens"] = panels.Panel(draw, "reach (tokens)", training=(measure,))
    return panels.panels_figure(drawn, page, [*head_marks.mark_keys(marked, lines=True), head_marks.others_key()])


def _by_length(findings: Findings, name: str) -> dict[int, Measure]:
    """A measure at each length, as far as it has numbers; the last of several steps."""
    lengths = marks.last_step(findings.measures)[name].apart()
    return {n: measure for n, measure in lengths.items() if measure.has_number}


def _marked(findings: Findings) -> head_marks.Marked:
    """The heads with a verdict, and what they look like."""
    return {head_from(name): VERDICTS[word] for name, word in findings.heads.items() if word in VERDICTS}


FIGURES = {"heads": heads_figure, "layers": layers_figure, "trajectory": trajectory_figure}
