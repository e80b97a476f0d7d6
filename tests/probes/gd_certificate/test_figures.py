"""Figures: legible at every width, for one layer and many, for seeds and steps; and their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope import analyses
from mesascope.models import from_transformer, gd_transformer, gdpp_transformer, load
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.gd_certificate.figures import FIGURES
from mesascope.probes.gd_certificate.probe import GDCertificate

Certified = Callable[..., Any]
NARROW = page.style_of("icml", 3.25)


def deep(n: int) -> Any:
    """GD++ layers, each at a rate of its own."""
    rates = [1.0 + i for i in range(n)]
    return gdpp_transformer(10, rates, [0.1 * rate for rate in rates], 3, n_layers=n, tied=False)


def drawn(name: str, findings: Findings, style: page.Style = page.STYLES["neurips"]) -> Any:
    made = page.render(FIGURES[name], findings, style)
    assert made is not None
    return made


@pytest.mark.parametrize("name", ["forms", "rates", "matrices"])
@pytest.mark.parametrize("style", [page.STYLES["neurips"], NARROW, page.STYLES["acl"]], ids=["5.5", "3.25", "6.3"])
@pytest.mark.parametrize("layers", [1, 3, 10])
def test_every_figure_is_legible(
    name: str, style: page.Style, layers: int, certified: Certified, faults: Callable[..., list[str]]
) -> None:
    module = gd_transformer(10, 8.0, 3) if layers == 1 else deep(layers)
    figure, table = drawn(name, certified(module, n_context=10).findings, style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_tables_hold_what_was_measured(certified: Certified) -> None:
    found = certified(gd_transformer(10, 8.0, 3), n_context=10)
    _, rates = drawn("rates", found.findings)
    estimates = rates[rates["kind"] == "estimate"].set_index("series")["value"]
    assert estimates["layer 1"] == pytest.approx(8.0)
    assert estimates["optimum"] == found["optimal_learning_rate"].estimate
    _, forms = drawn("forms", found.findings)
    assert set(forms["series"]) == {"GD", "preconditioned GD"}
    _, maps = drawn("matrices", found.findings)
    assert set(maps["panel"]) == {"layer 1", "optimum"}
    assert maps[(maps["panel"] == "layer 1") & (maps["series"] == "row 1") & (maps["at"] == 1)]["value"].item() == 0.8


def test_what_is_not_known_is_not_drawn(certified: Certified) -> None:
    without = certified(gd_transformer(10, 8.0, 3)).findings
    assert set(drawn("rates", without)[1]["panel"]) == {"learning rate / N"}
    assert set(drawn("matrices", without)[1]["panel"]) == {"layer 1"}
    stack = certified(deep(2), n_context=10).findings
    table = drawn("rates", stack)[1]
    assert set(table["panel"]) == {"learning rate", "γ"}
    assert "optimum" not in set(table["series"])
    assert page.render(FIGURES["trajectory"], without) is None


def test_many_layers_are_cut_and_said_so(certified: Certified) -> None:
    figure, table = drawn("forms", certified(deep(10), n_context=10).findings)
    assert set(table["panel"]) == {f"layer {i}" for i in range(1, 9)}
    assert "the first 8 of 10 layers" in figure.get_suptitle()
    figure, table = drawn("matrices", certified(deep(10), n_context=10).findings)
    assert len(set(table["panel"])) == 8
    assert "the first 8 of 10 layers" in figure.get_suptitle()


@pytest.fixture(scope="module")
def over_training() -> Findings:
    """Two seeds at three steps."""
    names = [f"seed{seed}-step{step}" for seed in (0, 1) for step in (0, 400, 5000)]
    answer = analyses.run_family([load("lsa-1layer", revision=name) for name in names], GDCertificate())
    assert isinstance(answer, tuple)
    return answer[1].findings


@pytest.mark.parametrize("name", list(FIGURES))
@pytest.mark.parametrize("style", [page.STYLES["neurips"], NARROW], ids=["5.5", "3.25"])
def test_families_are_legible(
    name: str, style: page.Style, over_training: Findings, faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, over_training, style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_training_is_drawn_from_the_first_step_to_the_last(over_training: Findings) -> None:
    _, table = drawn("trajectory", over_training)
    shown = table[(table["panel"] == "off gradient descent") & (table["kind"] == "estimate")]
    assert list(shown["at"]) == [0, 400, 5000]
    assert shown["value"].iloc[0] > 0.9 > 0.1 > shown["value"].iloc[-1]
    assert set(table["panel"]) == {
        "other entries", "off gradient descent", "learning rate", "distance from the optimum", "excess loss of the step"
    }  # fmt: skip


def test_a_stack_over_training(faults: Callable[..., list[str]]) -> None:
    subjects = []
    for step, module in ((0, deep(2)), (5, gdpp_transformer(10, [2.0, 2.5], [0.3, 0.3], 3, n_layers=2, tied=False))):
        subject = from_transformer(module, f"m{step}")
        subject.source = replace(subject.source, step=step)
        subjects.append(subject)
    answer = analyses.run_family(subjects, GDCertificate(n_context=10))
    assert isinstance(answer, tuple)
    figure, table = drawn("trajectory", answer[1].findings)
    assert faults(figure, table, inspect.getdoc(FIGURES["trajectory"])) == []
    assert {"layer 1", "layer 2"} <= set(table["series"])
    gammas = table[(table["panel"] == "γ") & (table["kind"] == "estimate")]
    assert np.isfinite(gammas[gammas["series"] == "layer 1"]["value"].astype(float)).all()
