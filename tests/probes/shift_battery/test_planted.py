"""Models that run a known rule, written without the library, follow it under each shift; others follow none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import Regressor
from mesascope.probes import Findings
from mesascope.probes.shift_battery.probe import ShiftBattery
from mesascope.probes.shift_battery.standing import Standing
from torch import Tensor

Measured = Callable[..., Findings]
Planted = Callable[..., Regressor]
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
D, N = 3, 8
ALL = ("scale", "length", "noise", "covariance", "spectrum", "query", "prior_mean")
MEMBERS = torch.tensor([[1.0, -0.5, 0.3], [-0.8, 0.9, 1.1], [0.2, 1.3, -1.0]], dtype=torch.float64)


def dot(w: Tensor, query: Tensor) -> Tensor:
    return (w * query).sum(dim=-1)


def descend(steps: int, rate: float, pairs: int | None = N) -> Answer:
    """pairs: by which the sum over pairs is divided; None: by as many as there are"""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        w = torch.zeros_like(query)
        for _ in range(steps):
            left = y - torch.einsum("tni,ti->tn", X, w)
            w = w + rate * torch.einsum("tni,tn->ti", X, left) / (pairs or X.shape[1])
        return dot(w, query)

    return answer


def least_squares(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return dot((torch.linalg.pinv(X) @ y[..., None])[..., 0], query)


def ridge(penalty: float) -> Answer:
    """With the matrix of inner products, M by M."""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        inner = X @ X.mT + penalty * torch.eye(X.shape[1], dtype=X.dtype)
        return dot(torch.linalg.solve(inner, y), torch.einsum("tni,ti->tn", X, query))

    return answer


def memorised(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    """The posterior mean over three tasks."""
    errors = (y[:, None] - torch.einsum("tni,mi->tmn", X, MEMBERS)).square().sum(dim=2)
    return (torch.softmax(-errors / 0.2, dim=1) * (query @ MEMBERS.T)).sum(dim=1)


def online(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    """One step a pair, one after the other: the order of the pairs matters."""
    w = torch.zeros_like(query)
    for i in range(X.shape[1]):
        w = w + 1.5 * (y[:, i] - dot(w, X[:, i]))[:, None] * X[:, i]
    return dot(w, query)


def everywhere(rule: str, **others: str) -> dict[str, tuple[str, str]]:
    return {shift: ("follows", others.get(shift, rule)) for shift in ALL}


LIKE_TRAINING = ("noise", "query", "prior_mean")
"""Shifts under which many steps of descent on few inputs go on answering as least squares does."""
FOLLOWED: dict[str, tuple[Answer, dict[str, Any], dict[str, tuple[str, str]], str]] = {
    "a step, summed": (descend(1, 5.0), {}, everywhere("gd"), "Follows 1 step of gradient descent under 7 of 7 shifts"),
    "a step, mean": (
        descend(1, 5.0, None), {}, everywhere("gd", length="gd_mean"),
        "Follows 1 step of gradient descent under 6 of 7 shifts",
    ),
    "8 steps": (descend(8, 5.0), {}, everywhere("gd"), "Follows 8 steps of gradient descent under 7 of 7 shifts"),
    "least squares": (
        least_squares, {}, everywhere("min_norm") | dict.fromkeys(LIKE_TRAINING, ("not separated", "min_norm")),
        "Follows minimum-norm least squares under 4 of 7 shifts",
    ),
    "ridge": (
        ridge(0.5), {}, everywhere("ridge") | dict.fromkeys(LIKE_TRAINING, ("not separated", "ridge")),
        "Follows ridge regression under 4 of 7 shifts",
    ),
    "prior": (
        ridge(0.16), {"noise": 0.4}, everywhere("bayes"),
        "Follows Bayes' rule under the law of training under 7 of 7 shifts",
    ),
}  # fmt: skip


def called(order: Standing) -> dict[str, tuple[str, str]]:
    return {verdict.shift.name: (verdict.called, verdict.rule) for verdict in order.verdicts}


@pytest.mark.parametrize("kind", [
    "a step, mean", "least squares", *(pytest.param(kind, marks=pytest.mark.slow) for kind in FOLLOWED
                                       if kind not in ("a step, mean", "least squares")),
])  # fmt: skip
def test_a_rule_is_followed_under_every_shift(kind: str, measured: Measured, planted: Planted) -> None:
    answer, settings, verdicts, badge = FOLLOWED[kind]
    findings = measured(planted(answer), **settings)
    assert called(Standing(findings.measures)) == verdicts
    assert ShiftBattery().claim(findings.measures, ()).badge == badge
    assert findings.measures["order_sensitivity"].estimate < 1e-9
    rule = verdicts["scale"][1]
    shares = findings.measures["worst_unexplained"].sel(candidate=rule).values
    assert np.nanmax(np.delete(shares, 1) if kind == "a step, mean" else shares) < 1e-5


@pytest.mark.parametrize(("kind", "power"), [("a step, summed", 2.0), ("least squares", 0.0)])
def test_the_power_of_the_scale(kind: str, power: float, measured: Measured, planted: Planted) -> None:
    measures = measured(planted(FOLLOWED[kind][0])).measures
    found = measures["scale_exponent"].sel(candidate="model")
    assert found.estimate == pytest.approx(power, abs=1e-6)
    assert found.interval[1] - found.interval[0] < 1e-6
    response = measures["response_scale"].sel(candidate="model")
    assert response.values[4] / response.values[2] == pytest.approx(4.0**power)
    assert measures["scale_exponent"].sel(candidate="preconditioned").estimate == pytest.approx(2, abs=1e-9)


@pytest.mark.parametrize("answer", [memorised, online], ids=["memorised", "online"])
def test_what_follows_no_rule(answer: Answer, measured: Measured, planted: Planted) -> None:
    findings = measured(planted(answer))
    assert {verdict for verdict, _ in called(Standing(findings.measures)).values()} <= {"none", "closest"}
    claim = ShiftBattery().claim(findings.measures, ())
    assert claim.badge == "Follows no rule"
    assert claim.found.startswith("Follows no rule under any of 7 shifts.")
    assert any(limit.startswith("On tasks as in training no rule agrees") for limit in claim.limits)


def test_the_order_of_pairs_by_numpy(measured: Measured, planted: Planted) -> None:
    """The variance over orders, of the answers that are kept; and a rule that goes pair by pair has some."""
    findings = measured(planted(online))
    orders = findings.arrays["orders"][..., 0]
    assert orders.shape == (60, 4)
    share = orders.var(axis=1, ddof=1).mean() / orders[:, 0].var()
    found = findings.measures["order_sensitivity"]
    assert found.estimate == pytest.approx(share)
    assert found.interval[0] > 0.005
    evidence = ShiftBattery().claim(findings.measures, ()).evidence
    assert f"The order of the pairs makes {100 * share:.1f} % of the answers' variance." in evidence


def test_two_rules_that_nothing_separates(measured: Measured, planted: Planted) -> None:
    """Ridge regression with a penalty above all eigenvalues is one step of gradient descent."""
    found = called(Standing(measured(planted(ridge(300.0))).measures))
    assert {verdict for verdict, _ in found.values()} <= {"not separated", "follows"}
    assert ("not separated", "ridge") in found.values()


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_constant_follows_nothing(value: float, measured: Measured, planted: Planted) -> None:
    findings = measured(planted(lambda X, y, query: 0 * query[:, 0] + value))
    assert {verdict for verdict, _ in called(Standing(findings.measures)).values()} <= {"undefined"}
    claim = ShiftBattery().claim(findings.measures, ())
    assert claim.badge == "No answers to compare"
    assert "do not vary" in claim.found
