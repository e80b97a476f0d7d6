"""Figures of behaviour: losses, agreement with each candidate, and candidates beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import marks
from ..behaviour_measures import OTHER_CANDIDATE
from ..names import CANDIDATE
from .looks import LOSS, OTHER_SEED, at, looks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ALIGNMENT = {
    "cosine": ("sensitivity", "cosine"),
    "norm_ratio": ("sensitivity norms", "model / candidate"),
    "model_difference": ("model difference", "label / input"),
    "prediction_difference": ("prediction difference", "label"),
}
"""Comparisons of the model with a candidate: title, and label of the axis."""


def _of_candidates(metric: str, measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """One metric of each candidate, by name."""
    measure = measures.get(metric)
    return {name: measure.sel(**{CANDIDATE: name}) for name in looks(measure)} if measure is not None else {}


# -- loss of the model and its candidates ------------------------------------------------------------------------------


def plot_losses(measures: Mapping[str, Measure], shown: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """The loss of the model and of each candidate, one a row."""
    entries = [(look, at(measures, "loss", candidate=name)) for name, look in shown.items()]
    table = marks.rows(entries, ax, panel="loss")
    if marks.spans_decades(measure.estimate for _, measure in entries if measure is not None):
        marks.log_scale(ax, "x")
    ax.set_xlabel(LOSS)
    return table


def plot_loss_differences(measures: Mapping[str, Measure], shown: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """The model's loss minus each candidate's on the same tasks, one a row (the model's own stays empty)."""
    entries = [(look, at(measures, "loss_difference", candidate=name)) for name, look in shown.items()]
    table = marks.rows(entries, ax, panel="paired difference")
    marks.reference(ax, x=0)
    ax.set_xlabel("loss of the model − loss of the candidate")
    return table


def losses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Left: loss of the trained model and of each candidate on the same tasks. Right: the model's loss minus each
    candidate's, paired by task. Bars are 95 % intervals. Grey marks are untrained models, and the model on shuffled
    labels.
    """
    measures = marks.last_step(findings.measures)
    losses = {name: held for name, held in _of_candidates("loss", measures).items() if marks.has_number(held)}
    if not losses:
        return None
    all_looks = looks(measures["loss"])
    shown = {name: all_looks[name] for name in sorted(losses, key=lambda name: losses[name].estimate)}
    left, right = page.grid(1, 2, 0.85 + 0.17 * len(shown), sharey=True)
    tables = [plot_losses(measures, shown, left), plot_loss_differences(measures, shown, right)]
    page.legend(marks.keys(losses.values()))
    return marks.together(tables)


# -- agreement with each candidate -------------------------------------------------------------------------------------


def plot_alignment(metric: str, measures: Mapping[str, Measure], shown: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """One metric of `ALIGNMENT` between the model and each candidate, one a row, beside its nulls."""
    entries = [(look, at(measures, metric, candidate=name)) for name, look in shown.items()]
    table = marks.rows(entries, ax, panel=metric.replace("_", " "))
    table = marks.together([table, _ceiling(metric, measures, ax)])
    if metric == "cosine":
        marks.cosine_scale(ax, "x")
    marks.reference(ax, x=1 if metric == "norm_ratio" else 0)
    title, unit = ALIGNMENT[metric]
    ax.set(title=title, xlabel=unit)
    return table


def _ceiling(metric: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """How far two trainings of the same recipe agree, as a line with a band."""
    ceiling = measures.get(f"{metric}_between_seeds")
    if ceiling is None or not marks.has_number(ceiling):
        return marks.frame(())
    low, high = (float(bound) for bound in ceiling.interval)
    ax.axvspan(low, high, color=OTHER_SEED.color, alpha=0.2, lw=0, zorder=0.5)
    ax.axvline(ceiling.estimate, color=OTHER_SEED.color, ls=OTHER_SEED.line, lw=1, zorder=0.6)
    return marks.frame([
        {
            "panel": metric.replace("_", " "), "series": OTHER_SEED.label, "kind": "estimate",
            "value": ceiling.estimate, "low": low, "high": high, "replicate": ceiling.replicate, "n": ceiling.n,
        }
    ])  # fmt: skip


def alignment_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far the trained model agrees with each candidate, in predictions and in sensitivities (gradients of the
    prediction with respect to the query). On the cosine's axis each further nine has the same room. Bars are 95 %
    intervals. Grey marks are untrained models, and the model on shuffled labels.
    """
    measures = marks.last_step(findings.measures)
    shown = looks(next((measures[metric] for metric in ALIGNMENT if metric in measures), None))
    found = {metric: _of_candidates(metric, measures) for metric in ALIGNMENT}
    if not any(marks.has_number(held) for by_name in found.values() for held in by_name.values()):
        return None
    axes = page.grid(1, 4, 1.0 + 0.17 * len(shown), sharey=True, width_ratios=(1.5, 1, 1, 1))
    tables = [plot_alignment(metric, measures, shown, ax) for metric, ax in zip(ALIGNMENT, axes, strict=True)]
    page.legend(_keys(measures, ALIGNMENT))
    return marks.together(tables)


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """The cosine of the model's sensitivities with those of each candidate, beside its nulls."""
    measures = marks.last_step(findings.measures)
    table = plot_alignment("cosine", measures, looks(measures.get("cosine")), ax)
    ax.set(title="", xlabel="sensitivity cosine")
    # candidates that ignore the query come last, and leave this corner free
    ax.legend(handles=_keys(measures, ("cosine",)), loc="lower right", fontsize="small")
    return table


def _keys(measures: Mapping[str, Measure], metrics: Iterable[str]) -> list[Artist]:
    handles = marks.keys(held for metric in metrics for held in _of_candidates(metric, measures).values())
    if any(marks.has_number(measures.get(f"{metric}_between_seeds")) for metric in metrics):
        handles.append(marks.line_key(OTHER_SEED, marker=False))
    return handles


# -- what these tasks can separate -------------------------------------------------------------------------------------


def plot_candidates(measure: Measure, ax: Axes) -> pd.DataFrame:
    """The cosine of each candidate's sensitivities with each other's: near 1 these tasks do not separate the two."""
    import seaborn  # takes a second to import, and no other figure needs it

    shown, left_out = _sensitive(measure)
    matrix = _matrix(measure, shown)
    text = matrix.map(lambda cosine: "" if np.isnan(cosine) else f"{cosine:.3f}".replace("0.", "."))
    seaborn.heatmap(
        matrix, ax=ax, annot=text, fmt="", cmap="cividis", vmin=np.floor(10 * np.nanmin(matrix)) / 10, vmax=1,
        square=True, linewidths=0.5, annot_kws={"fontsize": 7}, cbar_kws={"label": "cosine"},
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.set_xticks(ax.get_xticks(), matrix.columns, rotation=35, ha="right", rotation_mode="anchor")
    cells = [_cell(measure, shown, one, other) for one in shown for other in shown]
    words = [
        {"panel": "candidates", "series": look.label, "kind": "words", "message": measure.message}
        for look in left_out.values()
    ]
    return marks.frame(cells + words)


def _matrix(measure: Measure, shown: Mapping[str, Look]) -> pd.DataFrame:
    names = measure.labels(CANDIDATE)
    rows = [names.index(name) for name in shown]
    labels = [look.label for look in shown.values()]
    return pd.DataFrame(measure.values[np.ix_(rows, rows)], index=labels, columns=labels)


def _cell(measure: Measure, shown: Mapping[str, Look], one: str, other: str) -> dict[str, object]:
    cell = measure.sel(**{CANDIDATE: one, OTHER_CANDIDATE: other})
    low, high = (float(bound) for bound in cell.interval)
    return {
        "panel": "candidates", "series": shown[one].label, "kind": "estimate", "at": shown[other].label,
        "value": cell.estimate, "low": low, "high": high, "replicate": cell.replicate, "n": cell.n,
    }  # fmt: skip


def _sensitive(measure: Measure) -> tuple[dict[str, Look], dict[str, Look]]:
    """Candidates that depend on the query, and those that do not: these have no sensitivity, hence no direction."""
    names, all_looks = measure.labels(CANDIDATE), looks(measure)
    some = {name: bool((np.abs(np.nan_to_num(measure.values[names.index(name)])) > 0).any()) for name in all_looks}
    return (
        {name: look for name, look in all_looks.items() if some[name]},
        {name: look for name, look in all_looks.items() if not some[name]},
    )


def candidates_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Sensitivity cosine of each candidate with each other. Where it is near 1, these tasks do not separate the two."""
    measure = marks.last_step(findings.measures).get("candidate_cosines")
    if measure is None or not marks.has_number(measure):
        return None
    shown, left_out = _sensitive(measure)
    beside = 2.1  # inches for the names of the rows and the colours
    narrow = page.style.column < beside + 0.25 * len(shown)
    width = min(page.style.page if narrow else page.style.column, beside + 0.36 * len(shown))
    (ax,) = page.grid(1, 1, 0.94 * (width - beside) + 1.2, width)
    table = plot_candidates(measure, ax)
    if left_out:
        words = f"do not depend on the query: {', '.join(look.label for look in left_out.values())}"
        page.figure.supxlabel(words, fontsize=7.5, style="italic", color="#4D4D4D")
    return table
