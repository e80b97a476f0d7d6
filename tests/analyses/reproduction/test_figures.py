"""Figures of a reproduction: legible in both widths, the same bytes each time, and a table of what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from mesascope.analyses.reproduction.figures import COLUMN, PAGE, draw, drawn
from mesascope.analyses.reproduction.figures.curves import limits
from mesascope.analyses.reproduction.figures.looks import BY_ROLE, looks_of
from mesascope.analyses.reproduction.panels import Curve, CurvePanel, Panel
from mesascope.probes.drawing.page import Style

from ...probes.conftest import faults_of
from .made_up import EXPLODING, FIGURES, STEPS, learned, losses, matrix, seeds

REDUCED = "lsa-1layer, lsa-2layer-recurrent: 500 of 5,000 steps, 1 of 5 seeds, 500 of 10,000 tasks"


@pytest.mark.parametrize("style", [PAGE, COLUMN], ids=["page", "column"])
@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_legible_in_both_widths(name: str, style: Style) -> None:
    figure, table = drawn(FIGURES[name], REDUCED, style)
    assert faults_of(figure) == []
    assert figure.get_figwidth() == (style.column if len(FIGURES[name]) == 1 else style.page)
    assert figure.get_figheight() < 9
    assert figure.get_suptitle().replace("\n", " ") == f"reduced: {REDUCED}"
    assert set(table["panel"]) == {panel.title for panel in FIGURES[name]}


def test_a_figure_of_full_size_has_no_heading() -> None:
    assert drawn(FIGURES["one panel"])[0].get_suptitle() == ""


def test_files_of_the_same_panels_are_the_same_byte_by_byte(tmp_path: Path) -> None:
    files = [draw(FIGURES["several panels"], tmp_path / f"figure-0{n}", REDUCED) for n in (3, 4)]
    names = [".pdf", ".svg", ".png", "-column.pdf", ".csv"]
    assert [path.name for path in files[0]] == [f"figure-03{name}" for name in names]
    assert [path.read_bytes() for path in files[0]] == [path.read_bytes() for path in files[1]]
    assert b"/Type3" not in files[0][0].read_bytes()
    one = draw(FIGURES["one panel"], tmp_path / "figure-01", formats=("pdf",))
    assert [path.name for path in one] == ["figure-01.pdf", "figure-01.csv"]  # it has the width of a column


def test_the_table_holds_exactly_what_is_drawn(tmp_path: Path) -> None:
    curve = learned("trained", 0.2)
    panels: Sequence[Panel] = (losses("loss", EXPLODING), matrix("KQ", 2.0))
    *_, file = draw(panels, tmp_path / "figure", formats=())
    table = pd.read_csv(file)
    of = dict(list(table.groupby(["panel", "series"])))
    trained = of["loss", "trained"]
    assert trained["at"].tolist() == list(curve.x)
    np.testing.assert_allclose(trained[["value", "low", "high"]], np.stack([curve.y, curve.low, curve.high], axis=1))  # type: ignore[arg-type]
    assert of["loss", "gradient descent"][["low", "high"]].isna().all(axis=None)
    assert of["loss", "interpolated"]["value"].tolist()[3:] == [0.25] * 7
    assert of["loss", "interpolated"]["value"][:3].isna().all()  # outside of the panel, and undefined
    assert of["KQ", "row 3"]["value"].tolist() == [2.0 * (column == 3) for column in range(11)]


def test_a_curve_of_one_step_is_a_point_with_its_interval_beside_the_others() -> None:
    figure, table = drawn(FIGURES["one step"], "", PAGE)
    ax = figure.axes[0]
    assert [line.get_ydata().tolist() for line in ax.lines] == [[0.2], [0.21], [0.19]]  # type: ignore[union-attr]
    spans = [bar.get_segments()[0] for bar in ax.collections if isinstance(bar, LineCollection)]
    assert [span[:, 1].tolist() for span in spans] == [[0.18, 0.22], [0.16, 0.2]]
    places = [line.get_transform().transform((5000.0, 0.2))[0] for line in ax.lines]
    assert places[0] < places[1] < places[2]
    assert [ax.get_xlim()[0] < x < ax.get_xlim()[1] for x in (5000.0, 0.0)] == [True, False]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["5000"]
    assert table[table["panel"] == "loss"]["at"].tolist() == [5000.0] * 3


def test_a_label_of_a_spreadsheet_formula_is_guarded(tmp_path: Path) -> None:
    curve = replace(learned("=1+1", 0.2))
    *_, file = draw((CurvePanel("loss", "step", "loss", (curve,)),), tmp_path / "figure", formats=())
    assert set(pd.read_csv(file)["series"]) == {"'=1+1"}


# -- looks -------------------------------------------------------------------------------------------------------------


def test_a_role_looks_the_same_in_all_figures_and_further_labels_differ_from_all() -> None:
    looks = looks_of(FIGURES["many labels"])
    assert looks["trained"].color == BY_ROLE["model"].color
    assert looks["gradient descent"].color == BY_ROLE["gd"].color
    assert looks_of(FIGURES["several panels"])["trained"] == looks["trained"]
    assert len(looks) == len({look.color for look in looks.values()}) == 8
    assert len(looks) == len({(look.marker, str(look.line)) for look in looks.values()})


def test_a_further_label_takes_no_colour_of_another_role() -> None:
    models = tuple(learned(f"{n} tasks", n / 30) for n in range(3))
    looks = looks_of([losses("loss", *models, EXPLODING)])
    assert BY_ROLE["interpolated"].color not in {looks[model.label].color for model in models}
    assert len({look.color for look in looks.values()}) == len(looks) == 6


def test_more_labels_than_colours_go_round() -> None:
    many = CurvePanel("loss", "step", "loss", tuple(learned(f"{n} tasks", n / 30) for n in range(14)))
    assert len(looks_of([many])) == 14


def test_single_seeds_are_thin_and_stand_in_the_legend_once() -> None:
    figure, _ = drawn((seeds("alignment"),))
    assert {line.get_linewidth() for line in figure.axes[0].lines} == {0.6}
    (legend,) = figure.legends
    assert [handle.get_linewidth() for handle in legend.legend_handles] == [0.6]  # type: ignore[union-attr]
    assert [text.get_text() for text in legend.get_texts()] == ["one seed"]


def test_one_legend_names_each_label_once_and_intervals_where_there_are_any() -> None:
    figure, _ = drawn(FIGURES["several panels"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [
        "trained", "gradient descent", "interpolated", "GD++", "one seed", "95 % interval over seeds"
    ]  # fmt: skip
    figure, _ = drawn((seeds("alignment"),))
    assert "95 % interval over seeds" not in [text.get_text() for text in figure.legends[0].get_texts()]


# -- axes --------------------------------------------------------------------------------------------------------------


def test_everything_fits_but_interpolated_curves() -> None:
    low, high = limits(losses("loss", EXPLODING))
    assert low < 0.2 * 0.9
    assert 0.44 < high < 0.5  # the upper end of the first interval is .44
    assert limits(CurvePanel("loss", "step", "loss", (EXPLODING,)))[1] > 1e29  # there is no other


@pytest.mark.parametrize(
    ("label", "ends"),
    [("½ squared error", (0.0, 1.7)), ("cosine", (-0.9, 1.0)), ("score", (0.0, 1.0)), ("γ", (-0.9, 1.7))],
)
def test_an_interval_beyond_the_numbers_that_there_are_is_cut(label: str, ends: tuple[float, float]) -> None:
    """Of three seeds that differ a t-interval reaches far, and would press the curves into a line."""
    wide = Curve("trained", (1.0, 2.0), (0.4, 0.9), (-0.9, 0.85), (1.7, 0.95))
    np.testing.assert_allclose(limits(CurvePanel("loss", "step", label, (wide,))), ends, atol=0.14)
    _, table = drawn((CurvePanel("loss", "step", label, (wide,)),))
    np.testing.assert_array_equal(table[["low", "high"]].to_numpy(float), [[-0.9, 1.7], [0.85, 0.95]])


def test_the_ends_that_a_panel_asks_for() -> None:
    assert limits(losses("loss", y_max=9.0))[1] < 0.5
    assert limits(losses("loss", y_max=0.3))[1] == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("y", [(np.nan, np.nan), (0.5, 0.5), (0.0, -1.0), (1e-3, 1e75)])
@pytest.mark.parametrize("log_y", [False, True])
def test_curves_of_any_numbers_are_drawn(y: tuple[float, float], log_y: bool) -> None:
    panel = CurvePanel("loss", "step", "loss", (Curve("trained", (1.0, 2.0), y),), log_y=log_y)
    figure, table = drawn((panel,))
    low, high = figure.axes[0].get_ylim()
    assert low < high
    np.testing.assert_array_equal(table["value"].to_numpy(float), y)
    assert figure.axes[0].get_yscale() == ("log" if log_y else "linear")


def test_whole_numbers_have_whole_ticks() -> None:
    ranks = Curve("as given", tuple(map(float, range(1, 11))), tuple(1 / n for n in range(1, 11)), role="other")
    figure, _ = drawn((CurvePanel("N = 10", "rank", "eigenvalue", (ranks,)),))
    assert all(float(tick).is_integer() for tick in figure.axes[0].get_xticks())
    long = replace(ranks, x=tuple(5000 * x for x in ranks.x))
    figure, _ = drawn((CurvePanel("loss", "training step", "loss", (long,)),))
    assert "20,000" in [text.get_text() for text in figure.axes[0].get_xticklabels()]


def test_matrices_of_one_scale_share_their_colours_and_zero_is_white() -> None:
    figure, _ = drawn(FIGURES["matrices of one scale"])
    images = [image for ax in figure.axes for image in ax.images]
    assert [image.get_clim() for image in images] == [(-3.4, 3.4)] * 3
    assert to_hex(images[0].cmap(0.5)) == "#f7f6f6"
    bars = [ax for ax in figure.axes if hasattr(ax, "_colorbar")]
    assert len(bars) == 1
    figure, _ = drawn(FIGURES["matrices"])
    assert len([ax for ax in figure.axes if hasattr(ax, "_colorbar")]) == 4
    assert [image.get_clim()[1] for ax in figure.axes for image in ax.images] == [1.0, 0.6, 1.0, 0.1]


def test_matrices_of_any_numbers_are_drawn() -> None:
    lopsided = np.array([[0.0, -5.0], [0.1, 0.2]])
    figure, _ = drawn((replace(matrix("KQ", 0.0), matrix=lopsided),))
    assert figure.axes[0].images[0].get_clim() == (-5.0, 5.0)
    np.testing.assert_array_equal(figure.axes[0].images[0].get_array(), lopsided)
    for entry in (0.0, np.nan):
        figure, _ = drawn((replace(matrix("KQ", 0.0), matrix=np.full((3, 3), entry)),))
        assert figure.axes[0].images[0].get_clim() == (-1.0, 1.0)


def test_a_curve_begins_where_its_numbers_do() -> None:
    """The first column is the x axis, and markers do not move points."""
    figure, _ = drawn((losses(),))
    lines = [line for line in figure.axes[0].lines if isinstance(line, Line2D) and line.get_marker() == "o"]
    assert tuple(np.asarray(lines[0].get_xdata())) == STEPS


@pytest.mark.parametrize("fields", [{"y": (1.0,)}, {"low": (1.0, 2.0)}, {"low": (1.0,), "high": (1.0, 2.0)}])
def test_a_curve_that_cannot_be_drawn_is_refused(fields: dict) -> None:
    with pytest.raises(ValueError, match="curve 'trained': expected as many y, low and high as x"):
        Curve(**{"label": "trained", "x": (1.0, 2.0), "y": (1.0, 2.0)} | fields)
