"""Each fault of a figure that the contract forbids is noticed, and a figure without any is let through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from mesascope.probes.drawing import legends, marks, page
from mesascope.probes.drawing.marks import BLUE, Look

Faults = Callable[..., list[str]]
SERIES = Look("after position 0", BLUE)
ROWS = [
    {"panel": "loss", "series": SERIES.label, "kind": "estimate", "at": 0, "value": 1.0},
    {"panel": "loss", "series": SERIES.label, "kind": "null: untrained", "at": 0, "value": 2.0},
]


@pytest.fixture
def figure() -> Figure:
    with page.settings():
        drawn = Figure((4, 3), layout="constrained")
        ax = drawn.add_subplot()
        ax.plot([0, 1], [1, 2], color=BLUE, marker="o")
        ax.set(title="loss", xlabel="layer", ylabel="nat")
        legends.legend_below(drawn, [legends.line_key(SERIES), Line2D([], [], color="black", label="untrained")])
        drawn.draw_without_rendering()
    return drawn


def test_a_good_figure_has_no_fault(figure: Figure, faults: Faults) -> None:
    assert faults(figure, marks.frame(ROWS), "Loss by layer.") == []


def test_texts_on_each_other_and_beyond_the_edge_are_noticed(faults: Faults) -> None:
    with page.settings():
        figure = Figure((3, 2))
        figure.text(0.5, 0.5, "one")
        figure.text(0.5, 0.3, "apart")
        assert faults(figure) == []
        figure.text(0.52, 0.52, "two")
        figure.text(0.9, 0.9, "a long word at the edge")
    assert faults(figure) == ["'a long word at the edge' leaves the canvas", "'one' on 'two'"]


@pytest.mark.parametrize("color", ["#F0E442", "#E69F00", "#56B4E9", "#BFBFBF"])
def test_marks_too_pale_for_paper_are_noticed(figure: Figure, faults: Faults, color: str) -> None:
    figure.axes[0].plot([0, 1], [1, 1], color=color)
    assert any(fault.startswith(color) and fault.endswith("too pale") for fault in faults(figure))


def test_a_mark_on_a_map_needs_its_ring(figure: Figure, faults: Faults) -> None:
    figure.axes[0].imshow(np.eye(2))
    assert any("too pale" in fault for fault in faults(figure))


def test_a_legend_over_a_panel_is_noticed(figure: Figure, faults: Faults) -> None:
    figure.axes[0].legend(handles=[legends.line_key(SERIES)], loc="center")
    assert "a legend lies over 'loss'" in faults(figure)


def test_a_bar_of_colours_over_a_label_is_noticed(faults: Faults) -> None:
    with page.settings():
        figure = Figure((4, 3), layout="constrained")
        ax = figure.add_subplot()
        image = ax.imshow(np.eye(3))
        ax.set(title="scores", xlabel="head")
        figure.colorbar(image, ax=ax, location="bottom")
        figure.draw_without_rendering()
        assert faults(figure) == []
        figure.set_layout_engine("none")
        below = ax.get_position()
        figure.axes[1].set_position((below.x0, below.y0 - 0.06, below.width, 0.04))
    assert "a bar of colours lies over '0'" in faults(figure)


def test_a_key_of_what_is_not_drawn_is_noticed(figure: Figure, faults: Faults) -> None:
    ax = figure.axes[0]
    ax.legend(handles=[legends.line_key(Look("first layer", marks.VERMILION))], bbox_to_anchor=(1, 1), loc="upper left")
    assert "the legend shows 'first layer', which is not drawn" in faults(figure)


def test_nulls_need_a_key_of_their_kind(figure: Figure, faults: Faults) -> None:
    ax = figure.axes[0]
    ax.plot([0, 1], [2, 2], color=marks.NULL_LOOKS[1][0])
    ax.fill_between([0, 1], 1, 2, fc="none", ec=BLUE, hatch="////")
    found = [fault for fault in faults(figure) if fault.startswith("the legend")]
    assert len(found) == 2
    assert found[0].startswith("the legend has no key for (")
    assert found[1] == "the legend does not explain the hatched bands on 'loss'"


def two(titles: tuple[str, str]) -> Figure:
    with page.settings():
        figure = Figure((6, 3), layout="constrained")
        for ax, title in zip(figure.subplots(1, 2), titles, strict=True):
            ax.plot([0, 1], [0, 1], color=BLUE)
            ax.set_title(title)
        figure.draw_without_rendering()
    return figure


def test_panels_need_titles_of_their_own(faults: Faults) -> None:
    assert faults(two(("loss", "accuracy"))) == []
    assert faults(two(("loss", "loss"))) == ["'loss' is the title of several panels"]
    assert "a panel has no title" in faults(two(("loss", "")))


def test_an_empty_panel_is_noticed(faults: Faults) -> None:
    figure = two(("loss", "accuracy"))
    for line in list(figure.axes[1].lines):
        line.remove()
    assert faults(figure) == ["'accuracy' is empty"]


def test_a_series_needs_its_own_null_or_a_word_why(figure: Figure, faults: Faults) -> None:
    other = {"panel": "loss", "series": "position 0", "kind": "estimate", "at": 0, "value": 1.0}
    lacking = "'loss': 'position 0' has no null, and no word on why"
    assert faults(figure, marks.frame([*ROWS, other])) == [lacking]
    words: dict[str, Any] = {"panel": "loss", "series": "position 0", "kind": "words", "message": "no null: one sample"}
    assert faults(figure, marks.frame([*ROWS, other, words])) == []
    assert faults(figure, marks.frame([*ROWS, other, words | {"message": ""}])) == [lacking]
    assert faults(figure, marks.frame([*ROWS, other, words | {"panel": "elsewhere"}])) == [lacking]


def test_a_null_without_a_name_is_noticed(figure: Figure, faults: Faults) -> None:
    rotated = ROWS[1] | {"kind": "null: random rotation"}
    assert faults(figure, marks.frame([*ROWS, rotated])) == ["the legend does not name the null 'random rotation'"]


def test_a_dotted_line_needs_a_word(figure: Figure, faults: Faults) -> None:
    marks.reference(figure.axes[0], 0.5)
    assert faults(figure, marks.frame(ROWS), "Loss by layer.") == ["nobody explains the dotted line"]
    assert faults(figure, marks.frame(ROWS), "Loss by layer. Dotted: none.") == []


def test_a_symbol_needs_a_word(figure: Figure, faults: Faults) -> None:
    figure.axes[0].set_title("$S$ = 50")
    assert faults(figure, marks.frame(ROWS), "Attention.") == ["nobody explains S"]
    assert faults(figure, marks.frame(ROWS), "Attention at each period S.") == []


def test_the_palette_is_dark_enough_for_paper() -> None:
    from matplotlib.colors import to_rgb

    def luminance(color: str) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    palette = [marks.ORANGE, marks.SKY, marks.GREEN, marks.OLIVE, marks.BLUE, marks.VERMILION, marks.PURPLE, marks.GREY]
    for color in [*palette, *(look[0] for look in marks.NULL_LOOKS)]:
        assert 1.05 / (luminance(color) + 0.05) >= 3
    assert len({*palette}) == len(palette)
    assert matplotlib.rcParams["figure.facecolor"] == "white"
