"""Figures: legible at every width, for models with and without nulls; and their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.models import Regressor, from_transformer, gdpp_transformer
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.shift_battery.figures import FIGURES
from mesascope.probes.shift_battery.names import SHIFTS
from torch import Tensor

D, N = 3, 8
STYLES = {"5.5": page.STYLES["neurips"], "3.25": page.style_of("icml", 3.25), "6.3": page.STYLES["acl"]}


def last(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return y[:, -1] * (1 + query[:, 0])


@pytest.fixture(scope="module")
def found(measured: Callable[..., Findings], planted: Callable[..., Regressor]) -> dict[str, Findings]:
    model = from_transformer(gdpp_transformer(N, [6.0], [0.1], D, n_layers=2))
    return {"GD++": measured(model), "noisy": measured(planted(last), noise=0.3)}


def drawn(name: str, findings: Findings, style: page.Style = STYLES["5.5"]) -> Any:
    made = page.render(FIGURES[name], findings, style)
    assert made is not None
    return made


@pytest.mark.parametrize("name", ["responses", "losses", "unexplained"])
@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("kind", ["GD++", "noisy"])
def test_every_figure_is_legible(
    name: str, style: str, kind: str, found: dict[str, Findings], faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, found[kind], STYLES[style])
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_tables_hold_what_was_measured(found: dict[str, Findings]) -> None:
    findings = found["GD++"]
    _, table = drawn("responses", findings)
    assert set(table["panel"]) == {shift.title for shift in SHIFTS}
    rows = table[
        (table["panel"] == "input scale") & (table["series"] == "least squares") & (table["kind"] == "estimate")
    ]
    np.testing.assert_allclose(rows["value"], findings.measures["response_scale"].sel(candidate="min_norm").values)
    assert set(table[table["series"] == "GD, mean over pairs"]["panel"]) == {"context length"}
    _, cells = drawn("unexplained", findings)
    cell = cells[(cells["series"] == "ridge") & (cells["at"] == "covariance")]["value"].item()
    assert cell == findings.measures["worst_unexplained"].sel(candidate="ridge", shift="covariance").estimate


@pytest.mark.parametrize(("kind", "place"), [("GD++", 0.0), ("noisy", 0.3 / 0.5)])
def test_the_dotted_line_is_at_the_law_of_training(kind: str, place: float, found: dict[str, Findings]) -> None:
    figure, _ = drawn("losses", found[kind])
    (panel,) = (ax for ax in figure.axes if ax.get_title() == "label noise")
    (dotted,) = (line for line in panel.lines if line.get_linewidth() == 0.6)
    assert list(dotted.get_xdata()) == pytest.approx([place, place])
    (length,) = (ax for ax in figure.axes if ax.get_title() == "context length")
    assert [line.get_xdata()[0] for line in length.lines if line.get_linewidth() == 0.6] == [N]


def test_nothing_is_drawn_of_nothing(measured: Callable[..., Findings], planted: Callable[..., Regressor]) -> None:
    constant = measured(planted(lambda X, y, query: 0 * query[:, 0]))
    assert page.render(FIGURES["unexplained"], constant, STYLES["5.5"]) is None
    assert page.render(FIGURES["trajectory"], constant, STYLES["5.5"]) is None


def test_over_training(found: dict[str, Findings], faults: Callable[..., list[str]]) -> None:
    shares = found["GD++"].measures["worst_unexplained"]
    steps = np.stack([shares.values * factor for factor in (100.0, 10.0, 1.0)])
    over = replace(
        shares, values=steps, interval=(0.9 * steps, 1.1 * steps), axes=("step", *shares.axes),
        coords={"step": (0, 100, 1000), **shares.coords}, nulls={}, no_nulls="none",
    )  # fmt: skip
    measures = {**found["GD++"].measures, "worst_unexplained": over}
    for style in STYLES.values():
        figure, table = drawn("trajectory", replace(found["GD++"], measures=measures), style)
        assert faults(figure, table, inspect.getdoc(FIGURES["trajectory"])) == []
