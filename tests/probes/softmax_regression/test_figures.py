"""The figures of softmax-regression on tasks: legible for reports of every kind, and exactly what was measured."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope import analyses, models, probes
from mesascope.analyses.reports import figures
from mesascope.models.own.softmax_layer import SoftmaxLayerConfig, initialise_softmax_layer
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.measure import Measure
from mesascope.probes.softmax_regression.figures import FIGURES
from mesascope.probes.softmax_regression.figures.shifts import TITLES
from mesascope.probes.softmax_regression.figures.tradeoff import tradeoff_of
from mesascope.probes.softmax_regression.names import CANDIDATES

N, D_IN, STEPS = 5, 3, (0, 10, 100)
OF_HEADS = {"heads_shifts", "layers_shifts", "trajectory_heads"}
OF_TASKS = set(FIGURES) - OF_HEADS
SMALL = probes.SoftmaxRegressionProbe(limit=20, n_tokens=N)
Faults = Callable[..., list[str]]
Reports = Callable[[str], analyses.Report]
"""Given a kind."""


def layer(scale: float, seed: int = 0, step: int | None = None, c: float = 1.0) -> models.Subject:
    """One gradient step with noise of this size on its weights; with an odd seed it attends to unlike tokens."""
    sign = -1 if seed % 2 else 1
    module = models.softmax_gradient_layer(N, 4.0, D_IN, sign * 0.3, c)
    with torch.no_grad():
        for weight in module.parameters():
            weight += scale * torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)).double()
    subject = models.from_softmax_layer(module, f"layer{seed}-{step}")
    object.__setattr__(subject.source, "seed", seed)
    object.__setattr__(subject.source, "step", step)
    return subject


def untrained() -> models.Subject:
    fresh = initialise_softmax_layer(SoftmaxLayerConfig(D_IN), 0.02, torch.Generator().manual_seed(0))
    return models.from_softmax_layer(fresh)


def descended(A: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    x = A.mT @ (b - b.mean(dim=-1, keepdim=True))[..., None]
    return (A @ x)[..., 0].softmax(dim=-1)


def own_tasks(folder: Path) -> analyses.Report:
    """Three tokens, two numbers wide."""
    rng = np.random.default_rng(0)
    np.savez(folder / "tasks.npz", A=rng.normal(size=(30, 3, 2)), b=rng.dirichlet(np.ones(3), size=30))
    subject = models.from_softmax_layer(models.softmax_gradient_layer(3, 2.0, 2))
    return run(subject, probes.SoftmaxRegressionProbe(tasks=str(folder / "tasks.npz")))


def run(subject: models.Subject, probe: probes.Probe = SMALL) -> analyses.Report:
    made = analyses.run(subject, probe)
    assert isinstance(made, analyses.Report)
    return made


def family(*subjects: models.Subject) -> analyses.Report:
    answer = analyses.run_family(subjects, SMALL)
    assert isinstance(answer, tuple)
    return answer[1]


KINDS: dict[str, Callable[[Path], analyses.Report]] = {
    "one layer": lambda _: run(layer(0.05)),
    "untrained": lambda _: run(untrained()),
    "predictor": lambda _: run(models.from_softmax_predictor(descended, D_IN)),
    "own tasks": own_tasks,
    "one task": lambda _: run(layer(0.05), replace(SMALL, limit=1)),
    "seeds": lambda _: family(*(layer(0.05, seed) for seed in range(3))),
    "one seed over training": lambda _: family(*(layer(0.5 / (1 + step), 0, step) for step in STEPS)),
    "seeds over training": lambda _: family(*(layer(0.5 / (1 + t), s, t, 4.0) for s in range(3) for t in STEPS)),
}


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Reports:
    """Reports of every kind, each made once."""
    return cache(lambda kind: KINDS[kind](tmp_path_factory.mktemp("inputs")))


def drawn(report: analyses.Report, name: str, width: float = 5.5) -> tuple[Figure, pd.DataFrame] | None:
    return page.render(FIGURES[name], report.findings, page.style_of("acl", width))


def shown(report: analyses.Report, name: str) -> tuple[dict[str, Axes], pd.DataFrame]:
    """The panels of a figure by title, and its table."""
    found = drawn(report, name)
    assert found is not None
    panels = [ax for ax in found[0].axes if not hasattr(ax, "_colorbar")]
    return {" ".join(ax.get_title().split()): ax for ax in panels}, found[1]


def points(ax: Axes) -> set[tuple[float, float]]:
    """Every vertex of every line, in data coordinates."""
    return {(float(x), float(y)) for line in ax.lines for x, y in np.array(line.get_xydata())}


def estimates(table: pd.DataFrame, panel: str) -> dict[str, float]:
    rows = table[(table["panel"] == panel) & (table["kind"] == "estimate")]
    return dict(zip(rows["series"], rows["value"], strict=True))


# -- every figure ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("width", [6.75, 3.25])
def test_every_figure_is_legible(kind: str, width: float, reports: Reports, faults: Faults) -> None:
    report, found = reports(kind), {}
    for name in OF_TASKS:
        made = drawn(report, name, width)
        if made is not None:
            found[name] = faults(*made, figures.caption(report, name))
            assert made[0].get_figwidth() <= width
            assert min(text.get_fontsize() for text in made[0].findobj(Text)) >= 7
    assert {name: wrong for name, wrong in found.items() if wrong} == {}
    missing = set() if "over training" in kind else {name for name in OF_TASKS if name.startswith("trajectory")}
    assert set(found) == OF_TASKS - missing - ({"KQ"} if kind == "predictor" else set())


def test_tasks_have_no_figures_of_heads_and_heads_none_of_tasks(reports: Reports) -> None:
    assert [name for name in OF_HEADS if drawn(reports("one layer"), name) is not None] == []
    of_heads = probes.SoftmaxRegressionProbe(n_sequences=2, context=6, untrained=0)
    report = run(models.load("induction-1layer"), of_heads)
    assert [name for name in OF_TASKS if drawn(report, name) is not None] == []


@pytest.mark.parametrize("name", ["candidates", "shifts", "KQ", "path"])
def test_of_several_steps_the_last_is_shown(name: str, reports: Reports) -> None:
    report = reports("one seed over training")
    member = run(layer(0.5 / (1 + STEPS[-1]), 0, STEPS[-1]))
    tables = [shown(each, name)[1] for each in (report, member)]
    first, second = (table[["panel", "series", "value"]] for table in tables)
    pd.testing.assert_frame_equal(first, second)


# -- shifts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("moved", "panel"), TITLES.items())
def test_shifts_stand_beside_their_bounds(moved: str, panel: str, reports: Reports) -> None:
    measures = reports("one layer").measures
    panels, table = shown(reports("one layer"), "shifts")
    assert estimates(table, panel) == {
        "shift / step": measures[f"shift_ratio_{moved}"].estimate,
        "first-order bound": measures[f"first_order_bound_{moved}"].estimate,
        "tight bound": measures[f"bound_{moved}"].estimate,
    }
    xs = {x for x, _ in points(panels[panel])}
    assert set(estimates(table, panel).values()) <= xs
    nulls = table[(table["panel"] == panel) & table["kind"].str.startswith("null: ")]
    assert dict(zip(nulls["kind"], nulls["value"], strict=True)) == {
        f"null: {name}": pytest.approx(samples.mean())
        for name, samples in measures[f"shift_ratio_{moved}"].nulls.items()
    }
    assert set(nulls["value"]) <= xs


@pytest.mark.parametrize(("moved", "panel"), TITLES.items())
def test_the_papers_constant_is_an_arrow_at_the_end_with_its_power(moved: str, panel: str, reports: Reports) -> None:
    log10 = reports("one layer").measures[f"log10_paper_bound_{moved}"].estimate
    panels, table = shown(reports("one layer"), "shifts")
    ax = panels[panel]
    (arrow,) = [line for line in ax.lines if line.get_marker() == ">" and not line.get_clip_on()]
    row = [label.get_text() for label in ax.get_yticklabels()].index("the paper's bound")
    assert (list(arrow.get_xdata()), list(arrow.get_ydata())) == ([1.0], [row])
    assert [text.get_text() for text in ax.texts] == [f"$10^{{{log10:.0f}}}$"]
    assert np.log10(ax.get_xlim()[1]) < 2 < log10
    assert table[table["panel"].eq(panel) & table["kind"].eq("log10 of the estimate")]["value"].tolist() == [log10]


def test_the_cosine_of_both_shifts_stands_beside_what_candidates_would_have(reports: Reports) -> None:
    measures = reports("one layer").measures
    others = measures["candidate_shift_cosine"]
    expected = {CANDIDATES[name].label: others.sel(candidate=name).estimate for name in CANDIDATES}
    del expected["1 gradient step"], expected["no step"]  # 1, and undefined
    _, table = shown(reports("one layer"), "shifts")
    assert estimates(table, "cosine of both shifts") == {"model": measures["shift_cosine"].estimate, **expected}


# -- candidates --------------------------------------------------------------------------------------------------------


def test_candidates_stand_in_the_order_of_what_they_leave(reports: Reports) -> None:
    panels, table = shown(reports("one layer"), "candidates")
    measures = reports("one layer").measures
    names = [label.get_text() for label in panels["unexplained"].get_yticklabels()]
    by_label = {CANDIDATES[name].label: name for name in CANDIDATES}
    shares = [measures["unexplained_share"].sel(candidate=by_label[label]).estimate for label in names[1:]]
    assert names[0] == "model"
    assert len(shares) == len(CANDIDATES)
    assert shares == sorted(shares)
    for metric, panel in (("unexplained_share", "unexplained"), ("cosine", "sensitivity"), ("loss", "loss")):
        for label, value in estimates(table, panel).items():
            assert value == measures[metric].sel(candidate=by_label.get(label, "model")).estimate
            assert (value, names.index(label)) in points(panels[panel])


def test_a_loss_of_next_to_nothing_is_an_arrow_at_the_low_end(reports: Reports) -> None:
    panels, table = shown(reports("one layer"), "candidates")
    exact = reports("one layer").measures["loss"].sel(candidate="exact").estimate
    beyond = table[table["kind"] == "beyond the axis"]
    assert (beyond["panel"].tolist(), beyond["series"].tolist()) == (["loss"], ["exact solution"])
    assert beyond["value"].tolist() == [exact]
    assert [text.get_text() for text in panels["loss"].texts] == [f"$10^{{{np.log10(exact):.0f}}}$"]
    assert panels["loss"].get_xlim()[0] > 100 * exact


# -- loss against cosine -----------------------------------------------------------------------------------------------


def pairs(report: analyses.Report) -> list[list[tuple[float, float]]]:
    """(loss over that of one step, cosine) of each seed, step by step."""
    loss, cosine = report.measures["loss_over_gd"], report.measures["cosine_gd"]
    n_steps = len(loss.labels("step")) if loss.axes else 1
    both = [(one.values if one.points is None else one.points).reshape(-1, n_steps) for one in (loss, cosine)]
    return [list(zip(*seed, strict=True)) for seed in zip(*both, strict=True)]


def test_every_seed_has_its_path_with_a_mark_at_the_end(reports: Reports) -> None:
    report = reports("seeds over training")
    panels, table = shown(report, "tradeoff")
    (ax,) = panels.values()
    paths = [[(x, y) for x, y in np.array(line.get_xydata())] for line in ax.lines]
    for path in pairs(report):
        assert path in paths
        assert [path[-1]] in paths
    held = table[table["kind"] == "replicate"]
    assert list(zip(held["at"], held["value"], strict=True)) == [pair for path in pairs(report) for pair in path]
    assert held["message"].tolist() == [f"step {step}" for step in STEPS] * 3
    assert set(held["series"]) == {"$c$ = 4"}


def test_a_single_layer_is_a_point_with_intervals_both_ways(reports: Reports) -> None:
    report = reports("one layer")
    loss, cosine = report.measures["loss_over_gd"], report.measures["cosine_gd"]
    panels, _ = shown(report, "tradeoff")
    (ax,) = panels.values()
    bounds = {(float(bound), cosine.estimate) for bound in loss.interval}
    bounds |= {(loss.estimate, float(bound)) for bound in cosine.interval}
    assert {(loss.estimate, cosine.estimate), *bounds} <= points(ax)


def test_nulls_of_the_trade_off_are_crosses_where_their_samples_lie(reports: Reports) -> None:
    report = reports("one layer")
    panels, table = shown(report, "tradeoff")
    (ax,) = panels.values()
    for name, samples in report.measures["loss_over_gd"].nulls.items():
        mean = float(samples.mean()), float(report.measures["cosine_gd"].nulls[name].mean())
        row = table[table["kind"] == f"null: {name}"]
        assert (row["at"].item(), row["value"].item()) == pytest.approx(mean)
        assert (row["at"].item(), row["value"].item()) in points(ax)


def test_several_output_scales_share_one_picture(reports: Reports, faults: Faults) -> None:
    layers = [reports(kind).findings for kind in ("seeds", "seeds over training")]

    def build(_: Findings, on: page.Page) -> pd.DataFrame | None:
        return tradeoff_of(layers, on)

    made = page.render(build, layers[0], page.style_of("neurips"))
    assert made is not None
    figure, table = made
    assert faults(figure, table, "dotted") == []
    (legend,) = figure.legends
    keys: Sequence[Any] = legend.legend_handles
    colors = {text.get_text(): key.get_color() for text, key in zip(legend.get_texts(), keys, strict=True)}
    assert colors["$c$ = 1"] != colors["$c$ = 4"]
    for label, kind in (("$c$ = 1", "seeds"), ("$c$ = 4", "seeds over training")):
        rows = table[(table["series"] == label) & (table["kind"] == "replicate")]
        found = {pair for path in pairs(reports(kind)) for pair in path}
        assert set(zip(rows["at"], rows["value"], strict=True)) == found
        lines = [line for line in figure.axes[0].lines if found & {(x, y) for x, y in np.array(line.get_xydata())}]
        assert {line.get_color() for line in lines} == {colors[label]}


# -- weights -----------------------------------------------------------------------------------------------------------


def images(panels: dict[str, Axes]) -> list[np.ndarray]:
    return [np.asarray(ax.images[0].get_array()) for ax in panels.values()]


def test_the_block_is_drawn_as_it_is_beside_a_multiple_of_the_identity(reports: Reports) -> None:
    report = reports("one layer")
    block = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.5], [-4.0, 0.0, 2.0]])
    panels, table = shown(replace(report, arrays={"KQ_block": block}), "KQ")
    own, multiple = images(panels)
    np.testing.assert_array_equal(own, block / 4)
    np.testing.assert_array_equal(multiple, np.eye(3))
    assert list(panels) == ["model: $s$ = 2", "$s$ times the identity"]
    assert [ax.images[0].get_clim() for ax in panels.values()] == [(-1, 1)] * 2
    cells = table[table["panel"].eq("model: $s$ = 2") & table["kind"].eq("estimate")]
    np.testing.assert_array_equal(cells["value"].to_numpy(dtype=float), (block / 4).ravel())


def test_every_seed_has_a_block_of_its_own(reports: Reports) -> None:
    report = reports("seeds")
    panels, _ = shown(report, "KQ")
    for image, block in zip(images(panels), report.arrays["KQ_block"], strict=True):
        np.testing.assert_array_equal(image, block / np.abs(block).max())
    assert ["−" in title for title in panels] == [False, True, False]


def test_more_seeds_than_fit_are_counted(reports: Reports, faults: Faults) -> None:
    many = np.random.default_rng(0).normal(size=(12, 3, 3))
    for width in (6.75, 3.25):
        found = drawn(replace(reports("seeds"), arrays={"KQ_block": many}), "KQ", width)
        assert found is not None
        assert found[0].get_suptitle() == "the first 10 of 12 seeds"
        assert len(found[1]["panel"].unique()) == 10
        assert faults(*found, "") == []


def test_the_path_leads_from_the_model_to_the_construction(reports: Reports) -> None:
    losses, barrier = (reports("one layer").measures[name] for name in ("loss_path", "barrier"))
    panels, _ = shown(reports("one layer"), "path")
    (ax,) = panels.values()
    assert {(t, losses.sel(t=t).estimate) for t in losses.labels("t")} <= points(ax)
    ticks = [label.get_text().split("\n")[-1] for label in ax.get_xticklabels()]
    assert ticks == ["model", "$t$ = 0.5", "construction"]
    figure = ax.get_figure(root=True)
    assert figure is not None
    assert f"barrier {barrier.estimate:.2g}" in figure.legends[0].get_texts()[0].get_text()


@pytest.mark.parametrize("kind", ["untrained", "predictor"])
def test_without_a_construction_the_path_says_why(kind: str, reports: Reports) -> None:
    panels, table = shown(reports(kind), "path")
    assert table["message"].tolist() == [reports(kind).measures["loss_path"].message]
    assert all(ax.texts and not ax.lines for ax in panels.values())


# -- over training -----------------------------------------------------------------------------------------------------


def curve(table: pd.DataFrame, panel: str, series: str = "model") -> list[float]:
    rows = table[table["panel"].eq(panel) & table["series"].eq(series) & table["kind"].eq("estimate")]
    return rows["value"].tolist()


def test_every_curve_over_training_is_the_measure_of_its_title(reports: Reports) -> None:
    report = reports("seeds over training")
    panels, table = shown(report, "trajectory")
    expected: dict[str, Measure] = {"loss": report.measures["loss_over_gd"]}
    for name in ("gd", "gd_2", "gd_4", "gd_8", "gauss_newton", "smoother"):
        expected[f"cosine: {CANDIDATES[name].label}"] = report.measures["cosine"].sel(candidate=name)
    for name in ("smoother", "copy"):
        expected[f"unexplained: {CANDIDATES[name].label}"] = report.measures["unexplained_share"].sel(candidate=name)
    assert set(panels) == set(expected)
    for title, measure in expected.items():
        assert curve(table, title) == measure.values.tolist()
        assert set(zip(STEPS, measure.values.tolist(), strict=True)) <= points(panels[title])
        assert measure.points is not None
        for seed in measure.points:
            assert set(zip(STEPS, seed.tolist(), strict=True)) <= points(panels[title])
        for name in measure.nulls:
            assert (table["panel"].eq(title) & table["kind"].eq(f"null: {name}")).sum() == len(STEPS)


def test_shifts_over_training_stand_beside_their_bounds(reports: Reports) -> None:
    measures = reports("seeds over training").measures
    panels, table = shown(reports("seeds over training"), "trajectory_shifts")
    assert set(panels) == {"sizes", "weight shift / step", "data shift / step", "cosine of both shifts"}
    for moved, label in (("x", "weight shift"), ("A", "data shift")):
        assert curve(table, "sizes", label) == measures[f"shift_{moved}"].values.tolist()
        panel = f"{label} / step"
        assert curve(table, panel, label) == measures[f"shift_ratio_{moved}"].values.tolist()
        assert curve(table, panel, "first-order bound") == measures[f"first_order_bound_{moved}"].values.tolist()
        assert curve(table, panel, "tight bound") == measures[f"bound_{moved}"].values.tolist()
    assert curve(table, "cosine of both shifts", "data shift") == measures["shift_cosine"].values.tolist()


def test_weights_over_training_are_those_of_their_titles(reports: Reports) -> None:
    measures = reports("seeds over training").measures
    _, table = shown(reports("seeds over training"), "trajectory_weights")
    for title, name in {
        "$W_{KQ}$: distance from $s$ times $I$": "KQ_identity_distance", "$w_V$ on $A$: norm": "V_on_A",
        "$W_{KQ}$: off the diagonal": "KQ_off_diagonal", "learning rate written": "learning_rate_written",
        "$W_{KQ}$: sharpness $s$": "KQ_diagonal", "$w_V$ on $b$": "V_on_b",
    }.items():  # fmt: skip
        assert curve(table, title) == measures[name].values.tolist()
