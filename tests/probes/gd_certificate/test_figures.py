"""Figures: legible at every width, for one layer and many, for seeds and steps; and their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.models import from_transformer, gd_transformer, gdpp_transformer, load
from mesascope.models.subject import Source
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.gd_certificate.figures import FIGURES
from mesascope.probes.gd_certificate.over_checkpoints import over_checkpoints
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.measure import without_interval
from mesascope.probes.probe import Checkpoint

from ..drawn_figures import NARROW, WIDE, drawn_of, each_width
from ..measured import found_in_family

Certified = Callable[..., Any]
drawn = partial(drawn_of, FIGURES)


def deep(n: int) -> Any:
    """GD++ layers, each at a rate of its own."""
    rates = [1.0 + i for i in range(n)]
    return gdpp_transformer(10, rates, [0.1 * rate for rate in rates], 3, n_layers=n, tied=False)


@pytest.mark.parametrize("name", ["forms", "rates", "matrices"])
@pytest.mark.parametrize("style", [WIDE, NARROW, page.STYLES["acl"]], ids=["5.5", "3.25", "6.3"])
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
    return found_in_family([load("lsa-1layer", revision=name) for name in names], GDCertificate())


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "plateaus"])
@each_width
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
    figure, table = drawn("trajectory", found_in_family(subjects, GDCertificate(n_context=10)))
    assert faults(figure, table, inspect.getdoc(FIGURES["trajectory"])) == []
    assert {"layer 1", "layer 2"} <= set(table["series"])
    gammas = table[(table["panel"] == "γ") & (table["kind"] == "estimate")]
    assert np.isfinite(gammas[gammas["series"] == "layer 1"]["value"].astype(float)).all()


@pytest.fixture(scope="module")
def resting() -> list[Checkpoint]:
    """Two seeds of a training that rests at two levels between its first and its last, one of them a little off."""
    found = []
    for step, seed in product(sorted({0, *(round(10 ** (k / 20)) for k in range(101))}), (0, 1)):
        place = min(int(max(np.log10(max(step, 1)) - 1, 0)), 3)
        loss = np.array([1.0, 0.6, 0.3, 0.1])[place] * (1 + 0.01 * seed)
        measures = {
            "expected_loss": without_interval(np.array(loss / 2), "½", message="planted", no_nulls="planted"),
            "level_loss": without_interval(
                np.array([1.0, 0.6, 0.3, 0.1]), "squared label", ("level",), message="planted", no_nulls="planted"
            ),
        }
        found.append(Checkpoint(Source("m", layout="x", step=step, seed=seed), measures, {}, {}))
    return found


def at_rest(checkpoints: list[Checkpoint]) -> Findings:
    """As a report over these checkpoints holds them."""
    by_step = {one.source.step: [] for one in checkpoints}
    for one in checkpoints:
        by_step[one.source.step].append(one.measures)
    measures = {}
    for name in ("expected_loss", "level_loss"):
        seeds = [mean_over("seed", [held[name] for held in group]) for group in by_step.values()]
        measures[name] = along_steps(tuple(by_step), seeds)
    return Findings({**measures, **over_checkpoints(checkpoints).measures}, {}, {})


@pytest.mark.parametrize("style", [WIDE, NARROW, page.STYLES["acl"]], ids=["5.5", "3.25", "6.3"])
@pytest.mark.parametrize("seeds", [1, 2])
def test_plateaus_are_legible(
    style: page.Style, seeds: int, resting: list[Checkpoint], faults: Callable[..., list[str]]
) -> None:
    held = [one for one in resting if (one.source.seed or 0) < seeds]
    figure, table = drawn("plateaus", at_rest(held), style)
    assert faults(figure, table, inspect.getdoc(FIGURES["plateaus"])) == []


def test_plateaus_are_drawn_where_they_were_measured(resting: list[Checkpoint]) -> None:
    findings = at_rest(resting)
    _, table = drawn("plateaus", findings)
    curve = table[(table["series"] == "seed 2") & (table["kind"] == "replicate")].set_index("at")["value"]
    assert (curve[0], curve[100_000]) == pytest.approx((1.01, 0.101))
    rests = table[(table["series"] == "seed 2") & (table["kind"] == "interval")]
    assert list(rests["value"]) == pytest.approx([1.01, 0.606, 0.303, 0.101])
    np.testing.assert_array_equal(rests[["low", "high"]].astype(float), findings.measures["plateau_steps"].points[1])
    assert list(table[table["kind"] == "reference"]["value"]) == [1.0, 0.6, 0.3, 0.1]
    near = table[(table["panel"] == "time near a level") & (table["kind"] == "estimate")]
    assert list(near["value"]) == list(findings.measures["level_decades"].values)


def test_without_plateaus_there_is_no_figure(over_training: Findings, certified: Certified) -> None:
    assert over_training.measures["plateau_loss"].status == "not applicable"
    assert page.render(FIGURES["plateaus"], over_training) is None
    assert page.render(FIGURES["plateaus"], certified(gd_transformer(10, 8.0, 3), n_context=10).findings) is None
