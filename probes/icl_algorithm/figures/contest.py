"""Figures of the contest: what every rule leaves unexplained, and the other comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ...comparing.verdicts import AGREES
from ...drawing import legends, marks, scales
from ..standing import standing
from .looks import by_distance, counted, rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

LIMITS = {"unexplained_share": 2.0, "squared_share": 2.0, "norm_ratio": 3.0}
"""Up to where axes are drawn: a rule that is further away is no explanation, however far it is."""
SHARE, GAP = "unexplained share", "gap to the named rule"
COMPARISONS = {
    "squared_share": ("squared difference", "share of variance"),
    "cosine": ("sensitivity", "cosine"),
    "norm_ratio": ("sensitivity norms", "model / rule"),
    "error_cosine": ("errors", "cosine"),
}
"""Title, and label of the axis."""


def contest_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How much of the model's predictions each rule leaves unexplained, at the settings that fit the model best, on
    tasks that nothing was fitted on (dotted: up to there it agrees); and how much further from the model's predictions
    it is than the rule that is named, paired by task (dotted: as close). Bars are 95 % intervals. Grey marks are null
    models, to each of which the rules were fitted again. Shares above 2 are not drawn. In brackets: numbers of steps.
    """
    measures = marks.last_step(findings.measures)
    shown = by_distance(measures)
    order = standing(measures) if shown else None
    if order is None or order.constant:
        return None
    draws = {SHARE: partial(_plot_shares, measures, shown), GAP: partial(_plot_gaps, measures, shown, order.winner)}
    panels = page.chosen(draws)
    axes = page.grid(len(panels), 2, 0.5 + 0.17 * len(shown), least=1.6, sharey="row")
    tables = [draw(ax) for draw, ax in zip(panels.values(), axes, strict=True)]
    page.legend(legends.keys(rules(measures["unexplained_share"]).values()))
    return marks.together(tables)


def _plot_shares(measures: Mapping[str, Measure], shown: Sequence[str], ax: Axes) -> pd.DataFrame:
    parts = rules(measures["unexplained_share"])
    near = [(counted(name, measures), parts[name]) for name in shown]
    table = marks.rows(near, ax, panel=SHARE)
    ax.set_xlim(-0.03 * LIMITS["unexplained_share"], LIMITS["unexplained_share"])
    marks.reference(ax, x=AGREES)
    ax.set(title=SHARE, xlabel="share of the variation")
    return table


def _plot_gaps(measures: Mapping[str, Measure], shown: Sequence[str], winner: str, ax: Axes) -> pd.DataFrame:
    margins = measures["closeness_margins"]
    labels = margins.labels(CANDIDATE)
    entries = [
        (counted(name, measures), margins.sel(**{CANDIDATE: winner, OTHER_CANDIDATE: name}) if name in labels else None)
        for name in shown
    ]
    table = marks.rows(entries, ax, panel=GAP)
    marks.reference(ax, x=0)
    ax.set(title=GAP, xlabel="prediction difference (label)")
    return table


def comparisons_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The model beside each rule, fitted to it: squared difference of predictions, cosine and ratio of norms of the
    sensitivities (gradients with respect to the query), and cosine of the errors. Rules are sorted as in the contest.
    Bars are 95 % intervals. Grey marks are null models, to each of which the rules were fitted again. Dotted: where the
    rule that is the model would lie. Shares above 2 and ratios above 3 are not drawn.
    """
    measures = marks.last_step(findings.measures)
    shown = by_distance(measures)
    if not shown or not any(part.has_number for metric in COMPARISONS for part in rules(measures[metric]).values()):
        return None
    panels = page.chosen({title: metric for metric, (title, _) in COMPARISONS.items()})
    height = 0.5 + 0.17 * len(shown)
    axes = page.grid(len(panels), 2, height, least=1.6, sharey="row")
    tables = [_plot_comparison(metric, measures, shown, ax) for metric, ax in zip(panels.values(), axes, strict=True)]
    page.legend(legends.keys(part for metric in panels.values() for part in rules(measures[metric]).values()))
    return marks.together(tables)


def _plot_comparison(metric: str, measures: Mapping[str, Measure], shown: Sequence[str], ax: Axes) -> pd.DataFrame:
    title, unit = COMPARISONS[metric]
    parts = rules(measures[metric])
    if not parts:
        return marks.write_words(ax, measures[metric].message, title)
    table = marks.rows([(counted(name, measures), parts.get(name)) for name in shown], ax, panel=title)
    if metric.endswith("cosine"):
        scales.cosine_scale(ax, "x")
    if metric in LIMITS:
        ax.set_xlim(-0.03 * LIMITS[metric], LIMITS[metric])
    marks.reference(ax, x={"squared_share": 0.0}.get(metric, 1.0))
    ax.set(title=title, xlabel=unit)
    return table
