"""Figures of gd-alignment: what the model predicts beside gradient descent and its rivals, and how sensitively."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ...drawing import marks
from ...drawing.marks import Look
from . import trajectory as gd_trajectory
from . import weights as gd_weight_figures
from .looks import MODEL, OTHER_SEED, TWINS, in_order, label, look, others

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

LOSS = "loss (½ squared label)"
ALIGNMENT = {
    "cosine": ("sensitivity", "cosine"),
    "norm_ratio": ("sensitivity norms", "model / other"),
    "model_difference": ("model difference", "label / input"),
    "prediction_difference": ("prediction difference", "label"),
}
"""Alignment metrics of one model and another: title, and label of the axis."""


# -- loss of the model, its twins and its rivals -----------------------------------------------------------------------


def plot_losses(measures: Mapping[str, Measure], names: list[str], ax: Axes) -> pd.DataFrame:
    """The loss of the model (`model`) and of each other, one a row."""
    entries = [(MODEL if name == "model" else look(name), measures[f"loss_{name}"]) for name in names]
    table = marks.rows(entries, ax, panel="loss")
    if marks.spans_decades(measure.estimate for _, measure in entries):
        marks.log_scale(ax, "x")
    ax.set_xlabel(LOSS)
    return table


def plot_loss_differences(measures: Mapping[str, Measure], names: list[str], ax: Axes) -> pd.DataFrame:
    """The loss of the model minus that of each other on the same tasks, one a row (the model's own stays empty)."""
    entries = [(look(name), measures.get(f"loss_difference_{name}")) for name in names]
    table = marks.rows(entries, ax, panel="paired difference")
    marks.reference(ax, x=0)
    ax.set_xlabel("loss of the model − loss of the other")
    return table


def losses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of the trained model, of its twins and of its rivals on the same tasks; right, the model's loss minus each
    other's, task by task. Bars: 95 % intervals; grey: what models without the mechanism score.
    """
    measures = marks.last_step(findings.measures)
    names = [name for name in ["model", *others(measures, "loss_")] if marks.has_number(measures.get(f"loss_{name}"))]
    if not names:
        return None
    names.sort(key=lambda name: measures[f"loss_{name}"].estimate)
    left, right = page.grid(1, 2, 0.85 + 0.17 * len(names), sharey=True)
    tables = [plot_losses(measures, names, left), plot_loss_differences(measures, names, right)]
    page.legend(marks.keys(measures[f"loss_{name}"] for name in names))
    return marks.together(tables)


# -- alignment with each twin and rival --------------------------------------------------------------------------------


def plot_alignment(metric: str, measures: Mapping[str, Measure], names: list[str], ax: Axes) -> pd.DataFrame:
    """One metric of `ALIGNMENT` between the model and each other, one a row, beside its nulls."""
    entries = [(look(name), measures.get(f"{metric}_{name}")) for name in names]
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
    ceiling = measures.get(f"{metric}_other_seed")
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
    """How far predictions and sensitivities (gradients of the prediction with respect to the query) of the trained
    model agree with those of each twin and rival. The cosine's axis gives each further nine the same room. Bars: 95 %
    intervals; grey: untrained models, and the model on shuffled labels.
    """
    measures = marks.last_step(findings.measures)
    names = in_order(name for metric in ALIGNMENT for name in others(measures, f"{metric}_"))
    if not any(marks.has_number(measures.get(f"{metric}_{name}")) for metric in ALIGNMENT for name in names):
        return None
    axes = page.grid(1, 4, 1.0 + 0.17 * len(names), sharey=True, width_ratios=(1.5, 1, 1, 1))
    tables = [plot_alignment(metric, measures, names, ax) for metric, ax in zip(ALIGNMENT, axes, strict=True)]
    page.legend(_keys(measures, names, ALIGNMENT))
    return marks.together(tables)


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """The cosine of the model's sensitivities with those of each twin and rival, beside its nulls."""
    measures = marks.last_step(findings.measures)
    names = others(measures, "cosine_")
    table = plot_alignment("cosine", measures, names, ax)
    ax.set(title="", xlabel="sensitivity cosine")
    # rivals that ignore the query come last, and leave this corner free
    ax.legend(handles=_keys(measures, names, ("cosine",)), loc="lower right", fontsize="small")
    return table


def _keys(measures: Mapping[str, Measure], names: list[str], metrics: Iterable[str]) -> list[Artist]:
    handles = marks.keys(m for metric in metrics for name in names if (m := measures.get(f"{metric}_{name}")))
    if any(marks.has_number(measures.get(f"{metric}_other_seed")) for metric in metrics):
        handles.append(marks.line_key(OTHER_SEED, marker=False))
    return handles


# -- what these tasks can separate -------------------------------------------------------------------------------------


def plot_rivals(measure: Measure, ax: Axes) -> pd.DataFrame:
    """The cosine of each rival's sensitivities with each other's: near 1 these tasks do not separate the two."""
    import seaborn  # takes a second to import, and no other figure needs it

    rivals = [str(name) for name in measure.labels(measure.axes[0])]
    names, drawn = [label(name) for name in rivals], _sensitive(measure)
    matrix = pd.DataFrame(measure.values, index=names, columns=names).iloc[drawn, drawn]
    text = matrix.map(lambda cosine: "" if np.isnan(cosine) else f"{cosine:.3f}".replace("0.", "."))
    seaborn.heatmap(
        matrix, ax=ax, annot=text, fmt="", cmap="cividis", vmin=np.floor(10 * np.nanmin(matrix)) / 10, vmax=1,
        square=True, linewidths=0.5, annot_kws={"fontsize": 7}, cbar_kws={"label": "cosine"},
    )  # fmt: skip
    ax.tick_params(length=0)
    ax.set_xticks(ax.get_xticks(), matrix.columns, rotation=35, ha="right", rotation_mode="anchor")
    low, high = measure.interval
    left_out = [{"panel": "rivals", "series": names[i], "kind": "words", "message": measure.message}
                for i in range(len(names)) if i not in drawn]  # fmt: skip
    return marks.frame([
        {
            "panel": "rivals", "series": names[i], "kind": "estimate", "at": names[j], "value": measure.values[i, j],
            "low": low[i, j], "high": high[i, j], "replicate": measure.replicate, "n": measure.n,
        }
        for i in drawn for j in drawn
    ] + left_out)  # fmt: skip


def _sensitive(measure: Measure) -> list[int]:
    """Rivals that depend on the query at all, twins first: the others have no sensitivity, hence no direction."""
    rivals = [str(name) for name in measure.labels(measure.axes[0])]
    order = [rivals.index(name) for name in in_order(rivals)]
    return [i for i in order if (np.abs(np.nan_to_num(measure.values[i])) > 0).any()]


def rivals_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Sensitivity cosine of each rival with each other. Where it is near 1, these tasks do not separate the two."""
    measure = marks.last_step(findings.measures).get("rival_cosines")
    if measure is None or not marks.has_number(measure):
        return None
    size = len(_sensitive(measure))
    beside = 2.1  # inches for the names of the rows and the colours
    narrow = page.style.column < beside + 0.25 * size
    width = min(page.style.page if narrow else page.style.column, beside + 0.36 * size)
    (ax,) = page.grid(1, 1, 0.94 * (width - beside) + 1.2, width)
    table = plot_rivals(measure, ax)
    if left_out := list(table["series"][table["kind"] == "words"]):
        page.figure.supxlabel(
            f"do not depend on the query: {', '.join(left_out)}", fontsize=7.5, style="italic", color="#4D4D4D"
        )
    return table


# -- away from the training distribution, and rolled out ---------------------------------------------------------------

SHIFTS = {
    "input_scale": ("input scale", "input range", "input_range"),
    "weight_scale": ("weight scale", "weight scale", "weight_scale"),
    "noisy_labels": ("noisy labels", "random context labels", ""),
    "other_distributions": ("other distributions", "norm of the inputs", ""),
    "other_distributions_weight_scale": ("other distributions", "weight scale", "weight_scale"),
}
"""Tests away from training: title, x axis, and the setting of the recipe that is its value in training."""


def plot_curves(test: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """The loss of the model and of its twins along one test, on a logarithmic axis."""
    found = curves(test, measures)
    numbers = {series: measure for series, measure in found.items() if marks.has_number(measure)}
    if not numbers:
        return marks.write_words(ax, next(iter(found.values())).message, test)
    tables = []
    for i, (series, measure) in enumerate(numbers.items()):
        every = max(1, len(measure.values) // 8)
        # markers take turns, so that a curve below another shows
        turn = (i * every // len(numbers), every)
        tables.append(marks.curve(measure, series, ax, panel=test.replace("_", " "), every=turn))
    if any((measure.values > 0).any() for measure in numbers.values()):
        marks.log_scale(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=test == "noisy_labels"))
    return marks.together(tables)


def curves(test: str, measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """The curves of one test that the measures hold, by look."""
    series = {"model": MODEL, **TWINS}
    return {s: measures[f"loss_{test}_{name}"] for name, s in series.items() if f"loss_{test}_{name}" in measures}


def ood_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of the trained model and its twins away from the tasks of training; dotted, the value of training. Lines are
    means, bands 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    found = {test: curves(test, measures) for test in SHIFTS}
    tests = [test for test, curves_of in found.items() if curves_of]
    if not any(marks.has_number(measure) for test in tests for measure in found[test].values()):
        return None
    n_rows = -(-len(tests) // 3)
    axes = page.grid(n_rows, min(len(tests), 3), 0.5 + 1.45 * n_rows)
    recipe = findings.recipes.get("evaluation")
    trained_on = recipe.settings if recipe else {}
    tables = []
    for test, ax in zip(tests, axes, strict=False):
        tables.append(plot_curves(test, measures, ax))
        title, x_label, setting = SHIFTS[test]
        ax.set(title=title, xlabel=x_label)
        if setting in trained_on:
            marks.reference(ax, x=trained_on[setting])
    for ax in axes[len(tests) :]:
        ax.set_axis_off()
    page.figure.supylabel(LOSS, fontsize=8)
    _curve_legend(page, [found[test] for test in tests], "training value")
    return marks.together(tables)


def rollout_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss when the trained layer and the gradient step it is compared with are applied again and again, dampened.
    Band: 95 % interval.
    """
    measures = marks.last_step(findings.measures)
    if not any(marks.has_number(measure) for measure in curves("rollout", measures).values()):
        return None
    (ax,) = page.grid(1, 1, 2.2, page.style.column)
    table = plot_curves("rollout", measures, ax)
    ax.set(xlabel="dampened step", ylabel=LOSS)
    _curve_legend(page, [curves("rollout", measures)])
    return table


def _curve_legend(page: Page, drawn: list[dict[Look, Measure]], line: str = "") -> None:
    found = {series: measure for part in drawn for series, measure in part.items() if marks.has_number(measure)}
    if not found:
        return
    bands = marks.evidence(measure for part in drawn for measure in part.values())
    page.legend([
        *map(marks.line_key, found),
        *([marks.band_key(bands)] if bands else []),
        *([marks.reference_key(line)] if line else []),
    ])  # fmt: skip


FIGURES = {
    "loss": losses_figure,
    "alignment": alignment_figure,
    "rivals": rivals_figure,
    "weights": gd_weight_figures.weights_figure,
    "path": gd_weight_figures.path_figure,
    "ood": ood_figure,
    "rollout": rollout_figure,
    "trajectory": gd_trajectory.trajectory_figure,
}
