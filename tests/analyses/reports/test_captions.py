"""Captions beside figures say whose numbers these are, and at which step; `plot` draws any panel on anybody's axes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.figure import Figure
from mesascope.analyses.reports import figures, latex
from mesascope.analyses.reports.report import Report
from mesascope.data.errors import UsageError
from mesascope.probes.measure import Claim, Measure


def measure(value: float, unit: str, steps: tuple[int, ...] = ()) -> Measure:
    values = np.full(len(steps), value) if steps else np.array(value)
    axes, coords = (("step",), {"step": steps}) if steps else ((), {})
    return Measure(
        values, unit, (np.asarray(values - 0.1), np.asarray(values + 0.1)), "task", 9, axes, coords, no_nulls="made up"
    )


def report(step: int | None = None, steps: tuple[int, ...] = ()) -> Report:
    source = {"name": "tiny_model", "revision": None, "step": step}
    found = {"loss": measure(2.5, "nat", steps), "accuracy": measure(0.5, "probability", steps)}
    return Report("a-probe-of-yours", "1", {}, (source,), {}, {}, Claim("", "", "", (), "", ()), found, {}, 0, "0" * 16)


@pytest.fixture(autouse=True)
def no_figure_is_open() -> Iterator[None]:
    pyplot.close("all")
    yield
    pyplot.close("all")


def test_a_caption_says_whose_numbers_these_are_and_at_which_step() -> None:
    words = "Every measure that is a single number, with its 95 % interval and its nulls; one panel a unit."
    assert figures.caption(report(), "measures") == f"{words} tiny_model."
    assert figures.caption(report(step=500), "measures") == f"{words} tiny_model, at step 500."
    last = figures.caption(report(steps=(0, 10, 4000)), "measures")
    assert last == f"{words} tiny_model, at step 4000, the last of 3."


def test_figures_over_training_are_not_said_to_be_of_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def trajectory(findings: Any, page: Any) -> None:
        """Over training."""

    monkeypatch.setattr("mesascope.probes.drawing.single_numbers.FIGURES", {"trajectory": trajectory})
    assert figures.caption(report(steps=(0, 10)), "trajectory") == "Over training. tiny_model."


def test_the_caption_lies_beside_the_figure_as_text_and_as_latex(tmp_path: Path) -> None:
    figures.draw(report(step=500), tmp_path, ["pdf"])
    text = (tmp_path / "figures" / "measures.txt").read_text()
    assert text == f"{figures.caption(report(step=500), 'measures')}\n"
    tex = (tmp_path / "figures" / "measures.tex").read_text()
    assert r"\includegraphics[width=\linewidth]{measures.pdf}" in tex
    assert r"with its 95 \% interval" in tex
    assert r"tiny\_model, at step 500.}" in tex


def test_a_caption_in_latex_is_no_command_and_has_its_symbols() -> None:
    tex = latex.figure("x", r"\input{/etc/passwd} ‖f(x)‖ × ½ ρ α Σ − –")
    assert r"\input{" not in tex
    assert r"$\Vert$f(x)$\Vert$ $\times$ $\frac12$ $\rho$ $\alpha$ $\sum$ $-$ --" in tex
    assert tex.isascii()


def test_one_figure_one_panel_one_width(tmp_path: Path) -> None:
    paths = figures.draw(report(), tmp_path, ["png"], only=["measures"], panel="probability", width=3.25)
    assert sorted(path.name for path in paths) == [
        f"measures-probability.{kind}" for kind in ("csv", "png", "tex", "txt")
    ]
    assert set((tmp_path / "figures" / "measures-probability.csv").read_text().split("\n")[1].split(",")[:1]) == {
        "probability"
    }


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"only": ["measure"]}, r"figure 'measure' is not known; expected one of measures"),
        ({"only": ["measures"], "panel": "3"}, r"panel '3' is not there; .* 1: nat, 2: probability"),
        ({"panel": "1"}, r"panel '1' of all figures; expected one, by its name"),
        ({"width": 0.0}, r"width = 0: expected 3 to 30 inches"),
        ({"width": -1.0}, r"width = -1: expected"),
        ({"width": float("nan")}, r"width = nan: expected"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(tmp_path: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        figures.draw(report(), tmp_path, ["png"], **asked)


def test_a_figure_that_has_nothing_to_draw_says_so_when_it_is_asked_for(tmp_path: Path) -> None:
    empty = replace(report(), measures={})
    with pytest.raises(UsageError, match="measures: this report has nothing to draw there"):
        figures.draw(empty, tmp_path, ["png"], only=["measures"])
    with pytest.raises(UsageError, match="nothing to draw"):
        empty.plot()


def test_plot_draws_a_panel_of_a_figure_on_the_callers_axes() -> None:
    ax = Figure((5, 3)).add_subplot()
    assert set(report().plot("measures", ax=ax, panel=2)["panel"]) == {"probability"}
    assert set(report().plot("measures", ax=ax, panel="nat")["panel"]) == {"nat"}
    assert set(report().plot(ax=ax)["panel"]) == {"nat"}
    with pytest.raises(UsageError, match=r"figure 'evidence' is not known; expected one of measures"):
        report().plot("evidence", ax=ax)


def test_without_axes_plot_makes_room_on_a_figure_of_its_own_and_leaves_others_alone() -> None:
    report().plot()
    assert pyplot.gcf().get_constrained_layout()
    pyplot.close("all")
    figure, ax = pyplot.subplots()
    report().plot()
    assert ax.has_data()
    assert not figure.get_constrained_layout()


def test_over_several_steps_plot_draws_the_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []

    def build(name: str) -> Any:
        return lambda findings, page: drawn.append(name) or __import__("pandas").DataFrame()

    names = ("heads", "trajectory")
    monkeypatch.setattr("mesascope.probes.drawing.single_numbers.FIGURES", {name: build(name) for name in names})
    ax = Figure((5, 3)).add_subplot()
    report(steps=(0, 10)).plot(ax=ax)
    report().plot(ax=ax)
    assert drawn == ["trajectory", "heads"]
