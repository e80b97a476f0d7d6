"""Names of points are those that can be read, and stand in nobody's way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from mesascope.probes.drawing import marks, page
from mesascope.probes.findings import Examples, Findings
from mesascope.probes.token_norms.figures.norms import tokens_figure
from mesascope.probes.token_norms.names import LONGEST


@pytest.fixture
def ax() -> Any:
    ax = Figure((3, 2)).add_subplot()
    ax.set(xlim=(0, 10), ylim=(0, 100))
    return ax


def named(ax: Any, *points: tuple[float, float, str]) -> list[str]:
    table = marks.name_points(ax, points, "norm")
    shown = [text.get_text() for text in ax.texts]
    assert [name.strip() for name in table["message"]] == shown
    return shown


def test_the_first_of_two_names_at_one_height_is_shown(ax: Any) -> None:
    assert named(ax, (1, 50, "the"), (9, 52, "a"), (5, 90, "of")) == ["the", "of"]


def test_no_more_names_than_there_is_room_for(ax: Any) -> None:
    assert len(named(ax, *((1, 16.0 * i, f"w{i}") for i in range(7)))) == marks.MOST_NAMES


@pytest.mark.parametrize("name", ["", "  ", "\n", "\x00", "日本", "…"])
def test_names_that_cannot_be_shown_are_left_out(ax: Any, name: str) -> None:
    assert named(ax, (1, 50, name), (2, 50, "the")) == ["the"]


def test_a_name_is_no_formula_and_leans_into_the_panel(ax: Any) -> None:
    assert named(ax, (1, 20, "$x_1$"), (9, 80, "end")) == ["$x_1$", "end"]
    left, right = ax.texts
    assert not left.get_parse_math()
    assert (left.get_ha(), right.get_ha()) == ("left", "right")


def test_the_figure_of_tokens_names_the_longest_at_its_place() -> None:
    norms = np.array([[1.0, 5.0], [1.0, 50.0], [1.0, 9.0]])
    arrays = {"token_resid": norms, "token_position": np.array([3.0, 7.0, 8.0]), "token_id": np.array([4.0, 6.0, 5.0])}
    rows = ((1, 6, "king", 50.0), (0, 4, "wrong layer", 1.0))
    findings = Findings({}, arrays, {}, examples={LONGEST: Examples(("layer", "id", "token", "norm"), rows)})
    found = page.compose(tokens_figure, findings)
    assert found is not None
    names = found[1][found[1]["kind"] == "name"]
    assert names[["at", "value", "message"]].to_numpy().tolist() == [[7.0, 50.0, "king"]]
    assert [text.get_text() for text in found[0].axes[0].texts] == ["king"]
