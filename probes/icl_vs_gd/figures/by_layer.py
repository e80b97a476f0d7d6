"""Figures of attention and of patches, layer by layer: rows where there are few layers, curves over more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ...drawing import marks, panels
from ...drawing.marks import Look
from ..names import AOU, BETWEEN, CONTRAST, PATCH_ALONG, PATCH_OVERLAP, PATCH_SIZE, RULE
from . import looks
from .rows import limits_of, rows_figure

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

FEW = 2
"""Layers up to which each has a panel of rows."""
FLOOR = 0.5
"""SimAOU of independent endpoints that lie far from zero-shot."""
_PATCH = Look("patch")


def contrast_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Label-swap contrast by layer: cosine of how exchanged labels change the direction of attention's output in
    context, and of how they change it after gradient descent on the demonstrations (GD). For comparison: other runs of
    the same GD in the place of the context (a third of the rate, Adam), attention that was fitted to that in context
    (activation matching), and floors: GD on another task's demonstrations, random weights. Dotted: 0. Bars and bands:
    95 % intervals.
    """
    return _by_rule(findings, page, CONTRAST, looks.CONTRASTS, 0.0)


def similarity_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """SimAOU (Dai et al. 2023) by layer: how alike context and gradient descent on the demonstrations (GD) change the
    direction of attention's output. For comparison: two GDs, each on one half of the demonstrations, attention that was
    fitted to that in context (activation matching), GD on shuffled labels and on another task's demonstrations, random
    weights, and a random vector in the place of attention after GD. Dotted: 1/2, which independent endpoints have that
    lie far from zero-shot. Bars and bands: 95 % intervals.
    """
    return _by_rule(findings, page, AOU, looks.SIMILARITIES, FLOOR)


def patch_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The change of each MLP's input matrix that stands for the demonstrations (Dherin et al. 2025): its size beside
    the matrix, the cosine of those that two queries of a task need, and the cosine with a step of gradient descent on
    the demonstrations, beside one on shuffled labels and on another task's. Dotted: 0. Bars and bands: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    alone = {"size of the change": PATCH_SIZE, "overlap of two queries": PATCH_OVERLAP}
    drawn = {title: _with_number({_PATCH: measures.get(name)}) for title, name in alone.items()}
    drawn["along gradient descent"] = _with_number(looks.parts(measures.get(PATCH_ALONG), BETWEEN, looks.GRADIENTS))
    drawn = {title: found for title, found in drawn.items() if found}
    if not drawn:
        return None
    limits = {title: limits_of(list(found.values())) for title, found in drawn.items()}
    if _layers(drawn) > FEW:
        return panels.panels_figure(
            {title: _panel(found, (), 0.0, limits[title]) for title, found in drawn.items()}, page
        )
    rows = {
        title: [
            (replace(look, label=f"{look.label}, layer {layer}" if len(found) > 1 else f"layer {layer}"), part)
            for look, measure in found.items()
            for layer, part in _apart(measure)
        ]
        for title, found in drawn.items()
    }
    return rows_figure(rows, page, 2, limits, dict.fromkeys(rows, 0.0), least=2.2)


def _by_rule(findings: Findings, page: Page, name: str, of: Mapping[str, Look], dotted: float) -> pd.DataFrame | None:
    """One panel a rule, and where layers are few one a layer.

    of:  the looks of what is compared
    """
    measure = marks.last_step(findings.measures).get(name)
    if measure is None or not measure.has_number:
        return None
    by_rule = {
        rule.label: looks.parts(part, BETWEEN, of) for rule, part in looks.parts(measure, RULE, looks.RULES).items()
    }
    limits = limits_of([part for found in by_rule.values() for part in found.values()], dotted)
    if (n_layers := _layers(by_rule)) > FEW:
        nulls = marks.null_names([measure])
        drawn = {rule: _panel(found, nulls, dotted, limits) for rule, found in by_rule.items()}
        return panels.panels_figure(drawn, page, columns=2)
    rows: dict[str, list[tuple[Look, Measure]]] = {}
    for rule, found in by_rule.items():
        for look, part in found.items():
            for layer, row in _apart(part):
                rows.setdefault(f"layer {layer}, {rule}", []).append((look, row))
    every = dict.fromkeys(rows, limits)
    return rows_figure(rows, page, n_layers, every, dict.fromkeys(rows, dotted), sharey="row")


def _panel(found: panels.Curves, nulls: tuple[str, ...], dotted: float, limits: tuple[float, float]) -> panels.Panel:
    """Of one rule; in words, why it has no number."""
    numbers = _with_number(found)
    first = next(iter(found.values()))
    if not numbers:
        return panels.Panel(partial(_words, first.message))
    draw = partial(_curves, numbers, nulls, dotted, limits)
    return panels.Panel(draw, marks.unit_label(first), tuple(numbers), tuple(numbers.values()))


def _words(message: str, ax: Axes, panel: str) -> pd.DataFrame:
    return marks.write_words(ax, message, panel)


def _curves(
    found: panels.Curves, nulls: tuple[str, ...], dotted: float, limits: tuple[float, float], ax: Axes, panel: str
) -> pd.DataFrame:
    table = panels.curves(found, ax, panel, nulls)
    ax.axhline(dotted, **marks.REFERENCE)
    ax.set_ylim(limits)
    return table


def _with_number(found: Mapping[Look, Measure | None]) -> dict[Look, Measure]:
    return {look: measure for look, measure in found.items() if measure is not None and measure.has_number}


def _layers(drawn: Mapping[str, Mapping[Look, Measure]]) -> int:
    first = next(iter(next(iter(drawn.values())).values()))
    return len(first.values)


def _apart(measure: Measure) -> list[tuple[int, Measure]]:
    """By layer."""
    return [(layer, measure.at(layer=layer)) for layer in range(len(measure.values))]
