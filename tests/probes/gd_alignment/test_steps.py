"""The number of steps is searched: widened where the winner is at the end, and called an edge where it stays there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from mesascope.models import TokenLayout, from_predictor, from_transformer, gd_transformer, gdpp_transformer
from mesascope.models.regressors import PredictorRegressor
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.gd_alignment import steps
from mesascope.probes.gd_alignment.names import descents
from mesascope.probes.measure import Claim
from torch import Tensor

Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 60, "n_context": 6, "d_in": 3}
CHEAP: dict[str, Any] = {**LAW, "learning_rate": 3.0, "twins": "gd"}


def descent(n_steps: int, rate: float = 2.0) -> PredictorRegressor:
    """So many steps, and nothing that says how many."""
    return from_predictor(gd_transformer(6, rate, 3, n_layers=n_steps, dtype=torch.float32), TokenLayout(3))


def compared(findings: Findings) -> list[int]:
    return descents(findings.measures["loss"].labels("candidate"))


def claim(findings: Findings) -> Claim:
    return GDAlignment().claim(findings.measures, (descent(1).source,))


@pytest.mark.parametrize(
    ("planted", "expected"),
    [(1, [1, 2, 3, 4]), (3, [1, 2, 3, 4]), (4, [1, 2, 3, 4, 5]), (11, [1, 2, 3, 4, 10, 11, 12])],
)
def test_the_steps_of_a_predictor_are_searched(on_tasks: Measured, planted: int, expected: list[int]) -> None:
    findings = on_tasks(descent(planted), **CHEAP)
    assert compared(findings) == expected
    made = findings.measures["constructed_steps"]
    assert (made.estimate, made.message[:35]) == (planted, "the number that comes closest on th")
    title = "1 step" if planted == 1 else f"{planted} steps"
    words = f"The model agrees with {title} of gradient descent, leaving less than 0.1 % unexplained."
    assert claim(findings).found == words
    # the constructed model takes as many steps, and is the same hypothesis
    assert f"{planted} steps" not in claim(findings).rival
    assert "constructed gradient descent" not in claim(findings).rival


def test_a_range_that_is_given_is_widened_too(on_tasks: Measured) -> None:
    findings = on_tasks(descent(7), steps=2, **CHEAP)
    assert compared(findings) == [1, 2, 3, 4, 6, 7, 8]
    made = findings.measures["constructed_steps"]
    assert (made.estimate, made.message) == (2, "given")
    assert claim(findings).found.startswith("The model agrees with 7 steps of gradient descent, ")


def test_the_layers_of_a_transformer_are_its_steps(on_tasks: Measured) -> None:
    findings = on_tasks(from_transformer(gd_transformer(6, 2.0, 3, n_layers=2)), **CHEAP)
    made = findings.measures["constructed_steps"]
    assert (made.estimate, made.message) == (2, "the model's layers")
    assert compared(findings) == [1, 2, 3, 4]


@pytest.mark.parametrize(("planted", "edge"), [(7, False), (8, True), (30, True)])
def test_the_end_of_the_search_is_an_edge(
    on_tasks: Measured, monkeypatch: pytest.MonkeyPatch, planted: int, edge: bool
) -> None:
    monkeypatch.setattr(steps, "LADDER", tuple(range(1, 9)))
    card = claim(on_tasks(descent(planted, rate=1.0), **CHEAP))
    words = f"{min(planted, 8)} steps of gradient descent" + " (most tried)" * edge
    assert words in card.found
    assert ("most tried" in card.found) == edge
    assert ("8 steps of gradient descent is the end of the search. More steps may come closer." in card.limits) == edge


def test_a_range_is_widened_where_fewer_steps_are_closest_so_far(on_tasks: Measured) -> None:
    """At a rate at which odd and even numbers of steps swing to opposite sides."""
    findings = on_tasks(descent(5, rate=10.0), **CHEAP)
    m = findings.measures
    assert m["prediction_difference_gd_4"].estimate > m["prediction_difference_gd_3"].estimate
    assert compared(findings) == [1, 2, 3, 4, 5, 6]
    assert claim(findings).found.startswith("The model agrees with 5 steps of gradient descent, ")


@pytest.mark.parametrize(("noise", "widened"), [(0.002, True), (3.0, False)])
def test_nothing_is_widened_where_nothing_explains(on_tasks: Measured, noise: float, widened: bool) -> None:
    five = descent(5, rate=10.0)
    disturbed = from_predictor(lambda x: five.predict(x) + noise * torch.sin(400 * x[:, 0, :1]), five.layout)
    assert (max(compared(on_tasks(disturbed, **CHEAP))) > 4) == widened


@pytest.mark.parametrize("twins", ["auto", "gd"])
def test_the_layers_of_gdpp_are_searched(few_shifts: None, twins: Literal["auto", "gd"]) -> None:
    """Without GD++ among the candidates, the number of steps of gradient descent that comes closest is another."""
    curved = gdpp_transformer(12, [19.9], [0.238], 2, n_layers=2, dtype=torch.float32)
    probe = GDAlignment(limit=150, n_context=12, twins=twins)
    findings = probe.measure(from_predictor(curved, TokenLayout(2, order="joint")), 0, 150)
    assert (findings.measures["constructed_steps"].estimate == 2) == (twins == "auto")
    assert claim(findings).found.startswith("The model agrees with constructed GD++, ") == (twins == "auto")


def ridge(inputs: Tensor) -> Tensor:
    x, y, query = inputs[:, :-1, :3], inputs[:, :-1, 3:], inputs[:, -1, :3]
    return (query[:, None] @ torch.linalg.solve(x.mT @ x + 0.2 * torch.eye(3), x.mT @ y))[:, 0]


def test_nothing_is_widened_for_another_winner(on_tasks: Measured) -> None:
    """More and smaller steps come closer and closer to ridge regression, and never as close as it does itself."""
    findings = on_tasks(from_predictor(ridge, TokenLayout(3)), **CHEAP)
    assert compared(findings) == [1, 2, 3, 4]
    assert claim(findings).found.startswith("The model agrees with ridge regression")
    assert "most tried" not in claim(findings).found


def test_predictions_that_are_not_finite_widen_nothing(on_tasks: Measured) -> None:
    nowhere = gd_transformer(4, float("nan"), 3, n_layers=2)
    assert compared(on_tasks(nowhere, **CHEAP)) == [1, 2, 3, 4]
