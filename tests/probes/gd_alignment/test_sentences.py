"""First sentences and limits of the card on whole models: each beside a near miss where it must not appear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import Source, TokenLayout, from_predictor, from_transformer, gd_transformer, gdpp_transformer
from mesascope.models.regressors import PredictorRegressor
from mesascope.probes import Claim, Findings
from mesascope.probes.gd_alignment.claim import gd_claim
from mesascope.probes.gd_alignment.names import SEARCHED
from mesascope.probes.gd_alignment.steps import steps_measure
from mesascope.probes.regression import nulls
from torch import Tensor

pytestmark = pytest.mark.usefixtures("few_shifts")
Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 60, "n_context": 6, "d_in": 3, "learning_rate": 3.0, "twins": "gd"}
LAYOUT = TokenLayout(3, order="joint")
TOY = Source("toy", "in-memory", facts={"n_layers": 1}, record={"recipe": {"tasks": {"n_context": 6}}})


def predictor(function: Callable[[Tensor], Tensor]) -> PredictorRegressor:
    return from_predictor(function, LAYOUT)


def card(findings: Findings, tasks: str | None = None) -> Claim:
    return gd_claim(findings.measures, (TOY,), tasks)


def mean_label(inputs: Tensor, noise: float) -> Tensor:
    """And a disturbance that is no function of the label."""
    return inputs[:, :-1, -1].mean(dim=1) + noise * torch.sin(400 * inputs[:, 0, 0])


def least_squares(inputs: Tensor, penalty: float = 0.0) -> Tensor:
    x, y, query = inputs[:, :-1, :3], inputs[:, :-1, 3:], inputs[:, -1:, :3]
    return (query @ torch.linalg.solve(x.mT @ x + penalty * torch.eye(3), x.mT @ y))[:, 0]


# ---- what was found ----


@pytest.mark.parametrize(
    ("noise", "first_words"),
    [
        (0.0, "The model agrees with the mean label, which ignores the query: it leaves less than 0.1 % unexplained."),
        (0.06, "Closest: the mean label, which ignores the query, but it leaves"),
        (2.0, "No candidate explains the model: none is closer than the "),
    ],
)
def test_a_floor_is_called_by_its_share_too(on_tasks: Measured, noise: float, first_words: str) -> None:
    found = card(on_tasks(predictor(lambda x: mean_label(x, noise)), **LAW)).found
    assert found.startswith(first_words)
    assert ("which ignores the query" in found) == (noise < 1)


def test_where_nothing_explains_the_next_candidate_has_its_name(on_tasks: Measured) -> None:
    """Two that are equally far off: neither is an explanation, so nothing is said of what separates them."""
    disturbed = card(on_tasks(predictor(lambda x: least_squares(x)[:, 0] + torch.sin(400 * x[:, 0, 0])), **LAW))
    assert disturbed.found.startswith("No candidate explains the model: ")
    assert disturbed.rival.startswith("Next: ")
    assert "Gap in prediction difference: " in disturbed.rival


@pytest.mark.parametrize(("value", "constant"), [(0.0, True), (0.7, True), (None, False)])
def test_predictions_have_to_vary(on_tasks: Measured, value: float | None, constant: bool) -> None:
    """A number for every task, and a step so small that it hardly varies."""
    still = predictor(lambda x: (x[:, 0, 0] * 0 + value) if value is not None else 1e-6 * least_squares(x))
    findings = on_tasks(still, **LAW)
    said = card(findings)
    assert said.found.startswith("The model's predictions do not vary between these tasks") == constant
    assert (said.rival == "No candidate was ranked.") == (said.evidence == "None.") == constant
    messages = {part.message for part in findings.measures["unexplained_share"].apart().values()}
    assert ("the model's predictions do not vary between these tasks" in messages) == constant


@pytest.mark.parametrize("rate", [float("nan"), 3.0])
def test_predictions_have_to_be_finite(on_tasks: Measured, rate: float) -> None:
    findings = on_tasks(from_transformer(gd_transformer(6, rate, 3)), **LAW)
    m, said, finite = findings.measures, card(findings), np.isfinite(rate)
    assert said.found.startswith("The model's predictions on these tasks are not finite") != finite
    assert (said.rival == "No candidate was ranked.") == (said.evidence == "None.") != finite
    assert (
        {part.message for part in m["unexplained_share"].apart().values()} == {"a prediction is not finite"}
    ) != finite
    assert (m["ridge_penalty"].message == "no setting is closest: the model's predictions are not finite") != finite


def test_a_single_task_has_no_share_and_fits_what_it_judges(on_tasks: Measured) -> None:
    words = "With a single task, settings were fitted on the very task that is evaluated."
    one, two = (on_tasks(predictor(lambda x: least_squares(x, 0.3)), **LAW | {"n": n}) for n in (1, 2))
    alone, both = card(one, "mine.npz"), card(two, "mine.npz")
    assert alone.found.startswith("These tasks do not separate ")
    assert "(prediction differences " in alone.found
    assert alone.evidence.startswith("1 task.")
    assert words in alone.limits
    assert words not in both.limits
    assert "prediction differences" not in both.found
    assert words not in card(one).limits  # drawn tasks are never fitted and judged at once


@pytest.mark.parametrize(("noise", "separated"), [(0.1, False), (0.002, True)])
def test_candidates_that_these_tasks_do_not_separate(on_tasks: Measured, noise: float, separated: bool) -> None:
    """Two steps and a disturbance in which the distance to a third step is lost, or is not."""
    two = gd_transformer(6, 6.0, 3, n_layers=2, dtype=torch.float32)
    said = card(on_tasks(predictor(lambda x: two(x) + noise * torch.sin(400 * x[:, 0, :1])), **LAW))
    assert said.found.startswith("These tasks do not separate ") != separated
    assert said.found.startswith("The model agrees with 2 steps of gradient descent, ") == separated
    assert said.found.endswith(" % unexplained).") != separated
    assert said.rival.startswith("Next: ") == separated


# ---- the end of a search ----


@pytest.mark.parametrize(
    ("layers", "how", "edge"), [(8, SEARCHED, True), (7, SEARCHED, False), (8, "the model's layers", False)]
)
def test_the_most_layers_of_a_searched_gdpp_are_an_edge(curved: Findings, layers: int, how: str, edge: bool) -> None:
    said = card(replace(curved, measures={**curved.measures, "constructed_steps": steps_measure(layers, how)}))
    assert said.found.startswith("The model agrees with constructed GD++" + " (most tried)" * edge + ", ")
    assert ("constructed GD++ is the end of the search. More steps may come closer." in said.limits) == edge


@pytest.fixture(scope="module")
def curved(on_tasks: Measured) -> Findings:
    """Two layers of GD++, beside their own construction."""
    given = {"learning_rate": 3.0, "gdpp_learning_rate": 15.0, "gdpp_gamma": 0.33}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "UNTRAINED", 2)
        patch.setattr(nulls, "SHUFFLES", 2)
        model = gdpp_transformer(6, [15.0], [0.33], 3, n_layers=2)
        return on_tasks(model, n=60, n_context=6, d_in=3, **given)


@pytest.mark.parametrize(("scale", "at_end"), [(1e7, True), (1e3, False)])
def test_a_penalty_beyond_the_widest_range_is_named(on_tasks: Measured, scale: float, at_end: bool) -> None:
    """Inputs of the size of ten million take a penalty of 3e13 as inputs of size 1 take one of 0.3."""
    subject = predictor(lambda x: least_squares(x, 0.3 * scale**2))
    findings = on_tasks(subject, **LAW | {"learning_rate": 1 / scale**2}, input_range=scale)
    named = [limit for limit in card(findings).limits if "penalty of ridge regression is at an end" in limit]
    assert bool(named) == at_end
    assert card(findings).found.startswith("The model agrees with ridge regression") != at_end


# ---- what it does not show ----


def test_directions_that_are_alike_are_named(on_tasks: Measured) -> None:
    """A small step is in nearly the direction of ridge regression; two that overshoot are in no other's."""
    models = (gd_transformer(6, 3.0, 3), gd_transformer(6, 12.0, 3, n_layers=2))
    said = [card(on_tasks(from_transformer(model), **LAW)) for model in models]
    words = "By sensitivity cosine these tasks hardly separate "
    assert [any(limit.startswith(words) for limit in one.limits) for one in said] == [True, False]


def test_what_ignores_the_query_has_no_direction_to_read(on_tasks: Measured) -> None:
    words = "A cosine compares directions only. Read the norm ratio and the prediction difference, too."
    still, moving = (predictor(lambda x, f=f: f * least_squares(x) + mean_label(x, 0)[:, None]) for f in (0.0, 1.0))
    said = [card(on_tasks(one, **LAW)) for one in (still, moving)]
    assert [words in one.limits for one in said] == [False, True]
    assert ["Cosine " in one.evidence for one in said] == [False, True]
