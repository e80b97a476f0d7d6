"""Figures of behaviour: losses, agreement with each candidate, and candidates beside each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ...drawing import legends, marks, scales
from ...measure import missing
from .looks import LOSS, OTHER_SEED, TRAINED, at, looks

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


LEAST_CELL = 0.25
"""Inches that a cell of a matrix takes with its number in it."""


def _of_candidates(metric: str, measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """One metric of each candidate, by name."""
    measure = measures.get(metric)
    return {name: measure.sel(**{CANDIDATE: name}) for name in looks(measure)} if measure is not None else {}


# -- loss of the model and its candidates ------------------------------------------------------------------------------


def plot_losses(measures: Mapping[str, Measure], shown: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """The loss of the model and of each candidate, one a row."""
    entries = [(look, at(measures, "loss", candidate=name)) for name, look in shown.items()]
    table = marks.rows(entries, ax, panel="loss")
    if scales.spans_decades(measure.estimate for _, measure in entries if measure is not None):
        scales.log_scale(ax, "x")
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
    candidate's, paired by task (dotted: no difference). Bars are 95 % intervals. Grey marks are untrained models, and
    the model on shuffled labels.
    """
    measures = marks.last_step(findings.measures)
    losses = {name: held for name, held in _of_candidates("loss", measures).items() if marks.has_number(held)}
    if not losses:
        return None
    all_looks = looks(measures["loss"])
    shown = {name: all_looks[name] for name in sorted(losses, key=lambda name: losses[name].estimate)}
    panels = page.chosen({"loss": plot_losses, "paired difference": plot_loss_differences})
    axes = page.grid(len(panels), 2, 0.4 + 0.17 * len(shown), least=1.6, sharey="row")
    tables = [draw(measures, shown, ax) for draw, ax in zip(panels.values(), axes, strict=True)]
    page.legend(legends.keys(losses.values()))
    return marks.together(tables)


# -- agreement with each candidate -------------------------------------------------------------------------------------


def plot_alignment(metric: str, measures: Mapping[str, Measure], shown: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """One metric of `ALIGNMENT` between the model and each candidate, one a row, beside its nulls."""
    entries = [(look, at(measures, metric, candidate=name)) for name, look in shown.items()]
    table = marks.rows(entries, ax, panel=ALIGNMENT[metric][0])
    table = marks.together([table, _ceiling(metric, measures, ax)])
    if metric == "cosine":
        scales.cosine_scale(ax, "x")
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
            "panel": ALIGNMENT[metric][0], "series": OTHER_SEED.label, "kind": "estimate",
            "value": ceiling.estimate, "low": low, "high": high, "replicate": ceiling.replicate, "n": ceiling.n,
        },
        {"panel": ALIGNMENT[metric][0], "series": OTHER_SEED.label, "kind": "words", "message": ceiling.no_nulls},
    ])  # fmt: skip


def alignment_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far the trained model agrees with each candidate, in predictions and in sensitivities (gradients of the
    prediction with respect to the query). On the cosine's axis each further nine has the same room. Bars are 95 %
    intervals. Grey marks are untrained models, and the model on shuffled labels. Dotted: where a candidate that is the
    model would lie.
    """
    measures = marks.last_step(findings.measures)
    shown = looks(next((measures[metric] for metric in ALIGNMENT if metric in measures), None))
    found = {metric: _of_candidates(metric, measures) for metric in ALIGNMENT}
    if not any(marks.has_number(held) for by_name in found.values() for held in by_name.values()):
        return None
    panels = page.chosen({title: metric for metric, (title, _) in ALIGNMENT.items()})
    height = 0.5 + 0.17 * len(shown)
    axes = page.grid(len(panels), 4, height, widths=(1.5, 1, 1, 1), least=1.3, sharey="row")
    tables = [plot_alignment(metric, measures, shown, ax) for metric, ax in zip(panels.values(), axes, strict=True)]
    page.legend(_keys(measures, panels.values()))
    return marks.together(tables)


def _keys(measures: Mapping[str, Measure], metrics: Iterable[str]) -> list[Artist]:
    handles = legends.keys(held for metric in metrics for held in _of_candidates(metric, measures).values())
    if any(marks.has_number(measures.get(f"{metric}_between_seeds")) for metric in metrics):
        handles.append(legends.line_key(OTHER_SEED, marker=False))
    return handles


# -- what these tasks can separate -------------------------------------------------------------------------------------


def plot_candidates(measure: Measure, model: Measure | None, ax: Axes, panel: str, cell: float) -> pd.DataFrame:
    """The cosine of each candidate's sensitivities with each other's: near 1 these tasks do not separate the two.

    model:  the trained model's cosines with each candidate, a row and a column of their own
    cell:   inches; small ones have no room for their number, nor for names that slope
    """
    import seaborn  # takes a second to import, and no other figure needs it

    shown, left_out = _sensitive(measure)
    cells = _cells(measure, model, shown)
    labels = list(dict.fromkeys(found["series"] for found in cells))
    pairs = {(found["series"], found["at"]): found["value"] for found in cells}
    matrix = pd.DataFrame([[pairs[row, column] for column in labels] for row in labels], labels, labels)
    text = matrix.map(lambda cosine: "" if np.isnan(cosine) else f"{cosine:.3f}".replace("0.", "."))
    seaborn.heatmap(
        matrix, ax=ax, annot=text if cell >= LEAST_CELL else None, fmt="", cmap="cividis", square=True, linewidths=0.5,
        vmin=np.floor(10 * np.nanmin(matrix)) / 10, vmax=1, annot_kws={"fontsize": 7}, cbar_kws={"label": "cosine"},
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    sloping: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
    upright: dict[str, Any] = {"rotation": 90}
    ax.set_xticks(np.arange(len(labels)) + 0.5, labels, **(sloping if cell >= LEAST_CELL else upright))
    ax.set_yticks(np.arange(len(labels)) + 0.5, labels, rotation=0)
    words = [
        {"panel": panel, "series": look.label, "kind": "words", "message": measure.message}
        for look in left_out.values()
    ]
    return marks.together(
        [marks.frame([{"panel": panel} | found for found in cells] + words), marks.nulls_elsewhere(measure, panel)]
    )


def _cells(measure: Measure, model: Measure | None, shown: Mapping[str, Look]) -> list[dict[str, Any]]:
    """Every pair as a row of the table: the model with each candidate, first, and each candidate with each."""
    held = {} if model is None else {name: model.sel(**{CANDIDATE: name}) for name in shown}
    with_model = {name: cosine for name, cosine in held.items() if marks.has_number(cosine)}
    cells = [{"series": TRAINED.label, "kind": "estimate", "at": TRAINED.label, "value": 1.0}] if with_model else []
    for name, look in shown.items():
        if with_model:
            cosine = with_model.get(name, missing("cosine", "undefined", "has no sensitivity"))
            cells += [_cell(cosine, TRAINED, look), _cell(cosine, look, TRAINED)]
        for other, other_look in shown.items():
            cells.append(_cell(measure.sel(**{CANDIDATE: name, OTHER_CANDIDATE: other}), look, other_look))
    return cells


def _cell(cosine: Measure, row: Look, column: Look) -> dict[str, Any]:
    low, high = (float(bound) for bound in cosine.interval)
    return {
        "series": row.label, "kind": "estimate", "at": column.label, "value": cosine.estimate, "low": low,
        "high": high, "replicate": cosine.replicate, "n": cosine.n,
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
    """Sensitivity cosine of the trained model with each candidate, and of each candidate with each other. Where two
    candidates have one near 1, these tasks do not separate them.
    """
    measures = marks.last_step(findings.measures)
    measure = measures.get("candidate_cosines")
    if measure is None or not marks.has_number(measure):
        return None
    shown, left_out = _sensitive(measure)
    beside, n = 2.0, len(shown) + 1  # inches for the names of the rows and the colours
    narrow = page.style.column < beside + LEAST_CELL * n
    width = min(page.style.page if narrow else page.style.column, beside + 0.36 * n)
    (panel,) = page.chosen({"candidates": measure})
    below = 1.0 if width - beside >= LEAST_CELL * n else 1.9  # of sloping names, and of upright ones
    (ax,) = page.grid(1, 1, 0.94 * (width - beside) + below, width=width, square=True)
    table = plot_candidates(measure, measures.get("cosine"), ax, panel, (width - beside) / n)
    if left_out:
        words = f"do not depend on the query: {', '.join(look.label for look in left_out.values())}"
        page.heading(words)
    return table
