"""A null belongs to the series it was computed for: drawn in its colour, in its rows of the table, and named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from mesascope.probes.drawing import legends, marks, panels
from mesascope.probes.drawing.marks import BLUE, VERMILION, Look
from mesascope.probes.measure import Measure

FIRST, LAST = Look("first layer", BLUE, "o", "-"), Look("last layer", VERMILION, "s", "--")


def curve(height: float, null: float | None) -> Measure:
    values = np.full(4, height)
    nulls = {} if null is None else {"untrained": null + 0.01 * np.arange(3.0)[:, None] + np.zeros((3, 4))}
    return Measure(
        values, "cosine", (values, values), "document", 9, ("layer",), nulls=nulls, no_nulls="none was asked for"
    )


@pytest.fixture
def ax() -> Any:
    return Figure((3, 2)).add_subplot()


def lines(ax: Any) -> dict[str, list[float]]:
    """Heights of the curves without markers, the nulls', by colour."""
    found: dict[str, list[float]] = {}
    for line in ax.lines:
        if line.get_marker() in ("", "None"):
            found.setdefault(line.get_color(), []).append(float(line.get_ydata()[0]))
    return found


def test_nulls_that_differ_have_the_colour_of_their_series(ax: Any) -> None:
    table = panels.null_curves({FIRST: curve(0.1, 0.02), LAST: curve(0.05, 0.54)}, ax, "anisotropy")
    assert lines(ax) == {BLUE: [pytest.approx(0.03)], VERMILION: [pytest.approx(0.55)]}
    own = table[table["kind"] == "null: untrained"].groupby("series")["value"].first()
    assert own.to_dict() == {"first layer": pytest.approx(0.03), "last layer": pytest.approx(0.55)}
    hatched = [band for band in ax.collections if band.get_hatch()]
    assert {tuple(band.get_edgecolor()[0][:3]) for band in hatched} == {to_rgb(BLUE), to_rgb(VERMILION)}


def test_nulls_that_all_share_are_drawn_once_in_grey_and_stand_with_each(ax: Any) -> None:
    table = panels.null_curves({FIRST: curve(0.1, 0.02), LAST: curve(0.05, 0.02)}, ax, "anisotropy")
    assert list(lines(ax).values()) == [[pytest.approx(0.03)]]
    assert not set(lines(ax)) & {BLUE, VERMILION}
    assert set(table[table["kind"] == "null: untrained"]["series"]) == {"first layer", "last layer"}


def test_a_series_without_a_null_says_why(ax: Any) -> None:
    table = panels.null_curves({FIRST: curve(0.1, 0.02), LAST: curve(0.05, None)}, ax, "anisotropy")
    words = table[table["kind"] == "words"].set_index("series")["message"]
    assert words.to_dict() == {"last layer": "no null: none was asked for"}
    assert set(lines(ax)) == {FIRST.color}  # so that the one null there is cannot be taken for the other's


def test_the_legend_says_that_a_null_has_its_series_colour() -> None:
    own = legends.null_keys([], own=[curve(0.1, 0.02), curve(0.05, 0.54)])
    assert [key.get_label() for key in own] == [
        "untrained, minimum to maximum of 3",
        "null of the curve in the same colour",
    ]
    assert [key.get_label() for key in legends.null_keys([curve(0.1, 0.02)])] == ["untrained, minimum to maximum of 3"]


def test_a_figure_with_both_kinds_of_nulls_has_keys_of_both() -> None:
    both: Any = legends.null_keys([curve(0.1, 0.02)], own=[curve(0.1, 0.02), curve(0.05, None)])
    assert [key.get_label() for key in both] == [
        "untrained, minimum to maximum of 3",
        "null of the curve in the same colour",
    ]
    assert both[0].get_color() == marks.NULL_LOOKS[0][0]
