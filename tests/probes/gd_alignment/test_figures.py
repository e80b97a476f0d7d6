"""The figures of gd-alignment, drawn from made-up reports of every kind, are legible and show exactly their table."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from mesascope.analyses.reports import figures
from mesascope.analyses.reports.report import Report
from mesascope.probes.drawing import page
from mesascope.probes.measure import missing

from .made_up import MadeUp

Faults = Callable[[Figure], list[str]]

KINDS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "two layers, five seeds": {"n_layers": 2, "seeds": 5},
    "five seeds over training": {"seeds": 5, "steps": (0, 500, 1000, 1500, 2000, 3000, 4000, 5000)},
    "two layers over training": {"n_layers": 2, "seeds": 3, "steps": (0, 1, 10, 100, 500, 1000, 5000)},
}
NAMES = list(figures.figures_of("gd-alignment"))
AT_ONE_STEP = [name for name in NAMES if name not in ("trajectory", "heads")]  # heads: see test_heads_figure.py
DRAWN = {
    "one layer": [name for name in AT_ONE_STEP if name not in ("depth", "curvature")],
    "two layers, five seeds": [name for name in AT_ONE_STEP if name != "rollout"],
    # the others show the last step, as one of those above: see below
    "five seeds over training": ["trajectory"],
    "two layers over training": ["trajectory"],
}
"""The figures of each kind of report."""


def drawn_among(names: Collection[str]) -> pytest.MarkDecorator:
    """A test of every kind of report and each of these figures that it has."""
    pairs = [(kind, name) for kind, held in DRAWN.items() for name in held if name in names]
    return pytest.mark.parametrize(("kind", "name"), pairs)


@functools.cache
def made_up(kind: str) -> Report:
    return MadeUp(**KINDS[kind]).report()


@functools.cache
def rendered(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    return figures.render(report, name, style)


def drawn(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame]:
    found = rendered(report, name, style)
    assert found is not None
    return found


def at_width(report: Report, name: str, width: float) -> tuple[Figure, pd.DataFrame]:
    builder = figures.figures_of("gd-alignment")[name]
    found = page.render(builder, report.findings, page.style_of("acl", width))
    assert found is not None
    return found


@pytest.mark.parametrize("width", [5.5, 3.25])  # the narrowest page, and a narrow column
@drawn_among(NAMES)
def test_no_text_is_cut_off_too_small_or_on_another(kind: str, name: str, width: float, faults: Faults) -> None:
    report = made_up(kind)
    figure, table = at_width(report, name, width)
    assert faults(figure, table, figures.caption(report, name)) == []
    assert figure.get_figwidth() <= width
    assert min(text.get_fontsize() for text in figure.findobj(Text)) >= 7


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_measured_is_not_drawn(kind: str) -> None:
    report = made_up(kind)
    if "step" not in report.measures["loss"].axes:
        assert rendered(report, "trajectory") is None
    assert (rendered(report, "rollout") is None) is ("loss_rollout" not in report.measures)
    for name in ("depth", "curvature"):
        assert (rendered(report, name) is None) is ("curvature_spread" not in report.measures)


def line_points(figure: Figure) -> set[tuple[float, float]]:
    """Every vertex of every line, in data coordinates."""
    return {(float(x), float(y)) for ax in figure.axes for line in ax.lines for x, y in np.array(line.get_xydata())}


@drawn_among(["loss", "alignment"])
def test_rows_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    xs = {x for x, _ in line_points(figure)}
    for row in table[table["kind"] != "words"].itertuples():
        assert row.value in xs
        if row.kind != "replicate" and "another seed" not in row.series:
            assert {row.low, row.high} <= xs
    estimates = table[(table["kind"] == "estimate") & (table["panel"] == "loss")]
    assert estimates["value"].is_monotonic_increasing


@drawn_among(["path", "ood", "rollout", "trajectory", "depth", "curvature"])
def test_curves_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    assert {(row.at, row.value) for row in table.dropna(subset="value").itertuples()} <= line_points(figure)
    bands = np.concatenate([band.get_paths()[0].vertices for ax in figure.axes for band in ax.collections])
    for bound in ("low", "high"):
        shown = table[table["kind"] != "replicate"][["at", bound]].dropna()
        assert set(shown.itertuples(index=False, name=None)) <= {(float(x), float(y)) for x, y in bands}


@drawn_among(["candidates"])
def test_the_matrix_shows_exactly_its_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    cells = [float(text.get_text()) for text in figure.axes[0].texts]
    estimates = table[table["kind"] == "estimate"]
    names = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    shown = dict(zip(((row, column) for row in names for column in names), cells, strict=True))
    for row in estimates.itertuples():
        assert shown[row.series, row.at] == pytest.approx(row.value, abs=5e-4)
    assert len(estimates) == len(cells)
    assert list(table[table["kind"] == "words"]["series"].dropna()) == ["mean label", "zero predictor"]
    model = estimates[(estimates["series"] == "trained model") & (estimates["at"] == "ridge")]
    assert model["value"].item() == made_up(kind).measures["cosine"].sel(candidate="ridge").estimate
    cosines = made_up(kind).measures["candidate_cosines"]
    cell = table[(table["series"] == "ridge") & (table["at"] == "GD, 2 steps")].iloc[0]
    assert cell["value"] == cosines.sel(candidate="ridge", other_candidate="gd_2").estimate


@drawn_among(["weights"])
def test_heat_maps_show_exactly_their_table(kind: str, name: str) -> None:
    figure, table = drawn(made_up(kind), name)
    images = [np.asarray(image.get_array()) for ax in figure.axes for image in ax.images]
    np.testing.assert_array_equal(np.concatenate([image.ravel() for image in images]), table["value"].dropna())
    limits = [ax.images[0].get_clim() for ax in figure.axes if ax.images]
    assert all(low == -high for low, high in limits)
    assert len(set(limits)) == 2  # one scale for each product


def test_the_legend_of_paths_has_the_barrier_of_each() -> None:
    figure, _ = drawn(made_up("one layer"), "path")
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:4] == [
        "aligned: 0.0008 [0.00064, 0.00096]",
        "not aligned: 0.49 [0.39, 0.58]",
        "wrong rate: 0.0002 [0.00016, 0.00024]",
        "rotated KQ: 0.003 [0.0024, 0.0036]",
    ]


def test_nulls_and_the_ceiling_are_drawn() -> None:
    report = MadeUp(seeds=5).report()
    _, table = drawn(report, "alignment")
    null = table[table["kind"] == "null: untrained"].iloc[0]
    samples = report.measures["cosine_gd"].nulls["untrained"]
    assert (null["low"], null["high"]) == tuple(np.percentile(samples, (2.5, 97.5)))
    ceiling = table[table["series"] == "another seed"].iloc[0]
    assert ceiling["value"] == report.measures["cosine_between_seeds"].estimate


def test_over_training_the_other_figures_show_the_last_step() -> None:
    report = MadeUp(seeds=5, steps=(0, 1000, 5000)).report()
    _, table = drawn(report, "loss")
    shown = table[(table["kind"] == "estimate") & (table["panel"] == "loss")].set_index("series")["value"]
    assert shown["trained model"] == report.measures["loss_model"].values[-1]


def test_untied_layers_are_all_shown_and_tied_ones_once() -> None:
    made = MadeUp(n_layers=2)
    assert len(drawn(made.report(), "weights")[0].axes) == 6 + 2  # with the two colour bars
    figure, table = drawn(of_sizes(made), "weights")
    assert len(figure.axes) == 12 + 1  # with one bar, of shares
    assert "KQ, trained layer 2" in set(table["panel"])


def of_sizes(made: MadeUp, growth: float = 1000.0) -> Report:
    """Each layer so many times the one before, as GD++ with settings of its own in each layer has them."""
    for name in [name for name in made.arrays if name.startswith(("KQ_", "PV_"))]:
        sizes = growth ** np.arange(made.n_layers)
        made.arrays[name] = made.arrays[name] * sizes.reshape(-1, 1, 1, 1)
    return made.report()


@pytest.mark.parametrize("width", [3.25, 5.5])
def test_a_small_layer_is_not_white_beside_a_large_one(width: float, faults: Faults) -> None:
    report = of_sizes(MadeUp(n_layers=2))
    figure, table = at_width(report, "weights", width)
    images = [ax.images[0] for ax in figure.axes if ax.images]
    assert {image.get_clim() for image in images} == {(-1.0, 1.0)}
    colours = [np.asarray(image.get_array()).ravel() for image in images]
    panels = table.dropna(subset="value").groupby("panel", sort=False)["value"].apply(np.asarray)
    for product in ("KQ", "PV"):
        for layer in ("layer 1", "layer 2"):
            of_layer = [panel.startswith(product) and panel.endswith(layer) for panel in panels.index]
            values, shares = (
                np.stack([one for one, chosen in zip(of_all, of_layer, strict=True) if chosen])
                for of_all in (panels, colours)
            )
            np.testing.assert_allclose(shares, values / np.abs(values).max())
    assert faults(figure) == []


@pytest.mark.parametrize("n_layers", [2, 5])
def test_the_bar_of_colours_is_near_its_maps_however_tall_they_are(n_layers: int, faults: Faults) -> None:
    figure, _ = at_width(of_sizes(MadeUp(n_layers=n_layers)), "weights", 3.25)
    (bar,) = [ax for ax in figure.axes if ax.get_xlabel() == "weight / largest of its layer"]
    lowest = min(ax.get_position().y0 for ax in figure.axes if ax.images)
    assert (lowest - bar.get_position().y1) * figure.get_figheight() < 0.7
    assert faults(figure) == []


def test_what_has_no_number_is_said_in_words(faults: Faults) -> None:
    made = MadeUp(n_layers=2, seeds=3)
    reason = "the diagonal of KQ averages to 1e-9: no scale aligns it"
    for name, measure in made.parts.items():
        if name[0] in ("loss_path", "barrier", "loss_input_scale"):
            made.parts[name] = missing(measure.unit, "undefined", reason)
    made.parts["cosine", "ridge"] = missing("cosine", "not applicable", "no ridge here")
    report = made.report()
    for name in ("path", "ood"):
        figure, table = drawn(report, name)
        assert reason in set(table["message"])
        assert any(reason == " ".join(text.get_text().split()) for ax in figure.axes for text in ax.texts)
        assert faults(figure) == []
    figure, table = drawn(report, "alignment")
    assert "not applicable" in {text.get_text() for text in figure.axes[0].texts}
    assert faults(figure) == []


def test_figures_without_any_number_are_left_out_or_say_why() -> None:
    made = MadeUp(seeds=3, steps=(0, 10))
    made.arrays.clear()
    for name, measure in made.parts.items():
        made.parts[name] = missing(measure.unit, "not applicable", "a wrapped predictor has no weights")
    left = {name for name in NAMES if figures.render(made.report(), name) is not None}
    assert left == {"path"}
    made.parts.clear()
    assert not any(figures.render(made.report(), name) for name in NAMES)


def test_an_interpolated_loss_beyond_all_others_leaves_them_room() -> None:
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    made.parts["loss_interpolated",].values[0] = 1e10
    figure, table = drawn(made.report(), "trajectory")
    loss = next(ax for ax in figure.axes if ax.get_title() == "loss")
    assert loss.get_ylim()[1] < 1
    shown = table[(table["series"] == "interpolated") & (table["kind"] == "estimate")]["value"]
    assert np.isnan(shown.iloc[0])
    assert np.isfinite(shown.iloc[1:]).all()


def test_nothing_is_known_of_the_first_steps(faults: Faults) -> None:
    """Before training the gauge is undefined: those steps are gaps, not errors."""
    made = MadeUp(seeds=3, steps=(0, 10, 5000))
    for name in (("loss_interpolated",), ("weight_distance", "gd", "trained"), ("cosine", "gd")):
        made.parts[name] = measure = replace(made.parts[name], message="the gauge is undefined at step 0")
        for array in (measure.values, *measure.interval, *(samples.T for samples in measure.nulls.values())):
            array[0] = np.nan
    figure, table = drawn(made.report(), "trajectory")
    assert faults(figure) == []
    assert np.isnan(table[table["series"] == "interpolated"]["value"].iloc[0])
