"""Every closed form holds, and a formula that is broken fails the rows that read it, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.selftest import algorithms, running, transformers
from mesascope.analyses.selftest.agreement import IDENTITY, Agreement, Check
from mesascope.analyses.selftest.running import CHECKS, Row, run_checks
from mesascope.analyses.selftest.sources import __dict__ as sources
from mesascope.data.regression import LinearRegression
from mesascope.models.own.attention_only import AttentionOnlyTransformer
from mesascope.models.own.regression_transformer import RegressionTransformer
from mesascope.probes.algorithms import conjugate, filtered, filters, kernels, named, task_sets
from mesascope.probes.attention_learning import agreement, odds, toy
from mesascope.probes.gd_certificate import layer, optimum, other_entries
from mesascope.probes.regression import layer_weights
from mesascope.probes.softmax_regression import formulas

CPU = torch.device("cpu")
QUICK = [check for check in CHECKS if check.name != "risk on drawn tasks"]


def rows() -> list[Row]:
    return run_checks(CPU, lambda stage, fraction: None)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All checks but the one that takes half of the time; it reads what another one reads."""
    monkeypatch.setattr(running, "CHECKS", QUICK)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_closed_form_holds(check: Check) -> None:
    """Identities to 1e-10; means over drawn tasks within four standard errors; trained layers within 5 %."""
    found = list(check.compare(CPU))
    assert [one for one in found if not one.passed] == []
    for one in found:
        assert (one.tolerance == IDENTITY) == (one.draws is None and check.name != "shipped layers")


def test_rows_have_names_of_their_own_and_known_sources() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    assert {check.source for check in CHECKS} - {"mesascope"} == {
        value for name, value in sources.items() if name.isupper()
    }


@pytest.mark.usefixtures("quick")
def test_progress_names_each_check() -> None:
    told: list[tuple[str, float]] = []
    run_checks(CPU, lambda stage, fraction: told.append((stage, fraction)))
    assert [stage for stage, _ in told] == [check.name for check in QUICK]
    assert [fraction for _, fraction in told] == [index / len(QUICK) for index in range(len(QUICK))]


# -- what is broken is found -------------------------------------------------------------------------------------------

OF_THE_LAW = {
    "best layer", "gradient flow", "step for Gaussian inputs", "step as a ratio", "product distributions",
    "other lengths and noise", "random covariances", "expected loss", "plateaus of training", "shipped layers",
    "uniform tasks",
}  # fmt: skip
OF_DESCENT = {"descent", "linear kernel"}
THAT_RUN = {
    "expected loss", "best layer", "uniform tasks", "other lengths and noise", "risk of descent",
    "constructed descent", "constructed GD++", "implicit model",
    "shipped layers",  # which are run once as they are opened
}  # fmt: skip


def times(factor: float) -> Any:
    """The same function, whose answer is this much larger."""
    return lambda function: lambda *given: factor * function(*given)


def _without_last_step(function: Any) -> Any:
    return lambda s2, labels, steps: function(s2, labels, steps - 1)


BROKEN = {
    "Γ": (optimum, "gamma", times(1.5), OF_THE_LAW),
    "the excess loss": (
        optimum, "excess_loss", times(1.5),
        {"other lengths and noise", "expected loss", "plateaus of training", "uniform tasks"},
    ),
    "the best rate": (
        optimum, "optimal_learning_rate", times(1.001), {"step for Gaussian inputs", "step as a ratio"}
    ),
    "other entries": (other_entries, "even_loss", times(1.001), {"expected loss"}),
    "the least loss": (
        optimum, "optimal_loss", times(1.001),
        {"best layer", "step for Gaussian inputs", "product distributions", "expected loss", "plateaus of training",
         "other lengths and noise"},
    ),
    "a step read off weights": (layer, "step_tensor", times(1.1), {"expected loss", "shipped layers"}),
    "the filter of descent": (filters.GeometricSums, "filter", times(1.001), OF_DESCENT),
    "conjugate gradients": (conjugate, "conjugate_gradients", _without_last_step, {"conjugate gradients"}),
    "kernel descent": (kernels, "descent", times(1.001), {"linear kernel"}),
    "kernel ridge": (kernels, "ridge", times(1.001), {"linear kernel"}),
    "Bayes over a task set": (task_sets, "_posterior", times(1.001), {"finite task set"}),
    "the implicit model": (layer_weights, "closed_form", times(-1.0), {"implicit model"}),
    "the read-out": (RegressionTransformer, "_readout", times(-1.0), THAT_RUN),
    "the MLP": (AttentionOnlyTransformer, "_mlp", lambda mlp: lambda *of: mlp(*of) * of[1], {"context as a patch"}),
    "the softmax gradient": (formulas, "times_jacobian", times(1.001), {"softmax regression"}),
    "prefix matching": (transformers, "prefix_matching_score", times(0.999), {"planted induction"}),
    "lengths": (transformers, "lengths", times(0.999), {"planted lengths"}),
    "the push on attention": (odds, "attention_push", times(1.001), {"attention push"}),
    "log-odds": (odds, "log_odds", times(1.001), {"attention push"}),
    "the agreement": (agreement, "agreement", times(1.001), {"agreement by chance"}),
    "the toy's time": (toy, "time_to", times(1.001), {"attention toy"}),
    "how tasks are drawn": (LinearRegression, "scale_inputs", times(1.05), {"uniform tasks"}),
}  # fmt: skip


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("what", list(BROKEN))
def test_what_is_broken_fails_its_rows_alone(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, name, broken, expected = BROKEN[what]
    monkeypatch.setattr(place, name, broken(getattr(place, name)))
    assert {row.check for row in rows() if not row.passed} == expected


RULES = {"NEWTON": {"Newton"}, "GDPP": {"GD++"}, "MOMENTUM_DESCENT": {"descent"}, "RIDGE": {"ridge", "linear kernel"}}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("family", list(RULES))
def test_a_broken_filter_fails_its_rows_alone(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = getattr(filtered, family)
    monkeypatch.setattr(filtered, family, replace(kept, rule=times(1 + 1e-9)(kept.rule)))
    assert {row.check for row in rows() if not row.passed} == RULES[family]


@pytest.mark.usefixtures("quick")
def test_broken_least_squares_fail_their_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    ridge = replace(named.MINIMUM_NORM, filter=lambda s2, n, setting: 1 / (s2 + 1e-6))
    monkeypatch.setattr(named, "MINIMUM_NORM", ridge)
    assert {row.check for row in rows() if not row.passed} == {"minimum norm", "scaled inputs"}


def test_another_learning_rate_is_another_risk(monkeypatch: pytest.MonkeyPatch) -> None:
    risks = [check for check in CHECKS if check.name in ("risk of descent", "risk on drawn tasks", "descent")]
    monkeypatch.setattr(running, "CHECKS", risks)
    kept = algorithms.gd_transformer
    monkeypatch.setattr(algorithms, "gd_transformer", lambda n, rate, *sizes: kept(n, 1.2 * rate, *sizes))
    assert [row.check for row in rows() if not row.passed] == ["risk of descent", "risk on drawn tasks"]


def test_every_row_can_fail() -> None:
    """In one of the tests above."""
    seen = set().union(*RULES.values(), *(expected for *_, expected in BROKEN.values()))
    assert {check.name for check in CHECKS} - seen == {"minimum norm", "scaled inputs", "risk on drawn tasks"}


# -- how a row is made -------------------------------------------------------------------------------------------------


def row_of(monkeypatch: pytest.MonkeyPatch, *found: Agreement | Exception) -> Row:
    def compare(_: torch.device) -> Iterator[Agreement]:
        for one in found:
            if isinstance(one, Exception):
                raise one
            yield one

    monkeypatch.setattr(running, "CHECKS", (Check("name", "ours", "theirs", "source", compare),))
    (row,) = rows()
    return row


def test_a_row_shows_the_comparison_that_is_nearest_to_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(monkeypatch, Agreement(0.4, 1.0, 100), Agreement(9e-11), Agreement(1e-12))
    assert row == Row("name", "ours", "theirs", "source", 9e-11, IDENTITY, None, passed=True)
    row = row_of(monkeypatch, Agreement(9e-11), Agreement(1.1, 1.0, 100))
    assert (row.error, row.tolerance, row.draws, row.passed) == (1.1, 1.0, 100, False)


def test_a_number_that_is_none_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (np.nan, np.inf):
        row = row_of(monkeypatch, Agreement(0.0), Agreement(wrong), Agreement(2.0))
        assert not row.passed
        assert not np.isfinite(row.error)


def test_a_check_that_cannot_run_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    row = row_of(monkeypatch, Agreement(0.0), RuntimeError("no LAPACK"))
    assert not row.passed
    assert row.problem == "RuntimeError: no LAPACK"
    assert not row_of(monkeypatch).passed, "nothing was compared"
