"""Gradients that are not there, or not those of the answers, are told from zeros; differences replace them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import TokenLayout, from_predictor
from mesascope.probes import Claim, GDAlignment
from mesascope.probes.measure import Measure
from mesascope.probes.regression.gradient_check import (
    NO_GRADIENT,
    WRONG_GRADIENT,
    finite_differences,
    no_sensitivities,
)
from torch import Tensor

pytestmark = pytest.mark.usefixtures("few_shifts")
D = 3
TASKS = torch.randn(12, 9, D + 1, generator=torch.Generator().manual_seed(0))
Function = Callable[[Tensor], Tensor]


def solved(tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Ridge regression with penalty 0.5, and the query."""
    x, y = tokens[:, :-1, :D], tokens[:, :-1, D:]
    w = torch.linalg.solve(x.mT @ x + 0.5 * torch.eye(D, dtype=tokens.dtype), x.mT @ y)
    return w[..., 0], tokens[:, -1, :D]


def ridge(tokens: Tensor) -> Tensor:
    w, query = solved(tokens)
    return (query * w).sum(dim=1)


def without_grad(tokens: Tensor) -> Tensor:
    with torch.no_grad():
        return ridge(tokens)


def in_numpy(tokens: Tensor) -> Tensor:
    return torch.from_numpy(ridge(tokens.detach()).numpy())


def half_detached(tokens: Tensor) -> Tensor:
    w, query = solved(tokens)
    return (0.5 * query * w + 0.5 * query.detach() * w).sum(dim=1)


def curved(tokens: Tensor) -> Tensor:
    return ridge(tokens).tanh() + ridge(tokens) ** 3


def constant(tokens: Tensor) -> Tensor:
    return tokens[:, 0, 0]


def nearest(tokens: Tensor) -> Tensor:
    """The label of the nearest neighbour: constant around almost every query."""
    distance = (tokens[:, :-1, :D] - tokens[:, -1:, :D]).square().sum(dim=2)
    return tokens[:, :-1, D].gather(1, distance.argmin(dim=1, keepdim=True))[:, 0]


def shaped(function: Function) -> Function:
    return from_predictor(function, TokenLayout(D)).predict


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("function", [ridge, curved, constant, nearest])
def test_gradients_of_the_answers_pass(function: Function, dtype: torch.dtype) -> None:
    assert no_sensitivities(shaped(function), TASKS.to(dtype), D) == ""


@pytest.mark.parametrize(
    ("function", "reason"),
    [(without_grad, NO_GRADIENT), (in_numpy, NO_GRADIENT), (half_detached, WRONG_GRADIENT)],
)
def test_other_gradients_do_not(function: Function, reason: str) -> None:
    assert no_sensitivities(shaped(function), TASKS, D) == reason


@pytest.mark.parametrize(("scale", "dtype", "rtol"), [(1.0, torch.float64, 1e-8), (1e-3, torch.float32, 3e-3)])
def test_differences_are_the_weights_of_ridge_regression(scale: float, dtype: torch.dtype, rtol: float) -> None:
    """In closed form, at any scale of the query."""
    tasks = TASKS.to(dtype, copy=True)
    tasks[:, -1] *= scale
    found = finite_differences(shaped(in_numpy), tasks, D, batch_size=5)
    w, query = solved(tasks.double())
    np.testing.assert_allclose(found.sensitivity[:, 0], w, rtol=rtol, atol=rtol * float(w.abs().max()))
    np.testing.assert_allclose(found.prediction[:, 0], (w * query).sum(dim=1), rtol=1e-3, atol=1e-6)


def answer(function: Function, **settings: Any) -> tuple[dict[str, Measure], Claim]:
    subject = from_predictor(function, TokenLayout(D))
    probe = GDAlignment(**{"limit": 120, "n_context": 8, "steps": 1, "twins": "gd", **settings})
    measures = probe.measure(subject, 0, 256).measures
    return measures, probe.claim(measures, (subject.source,))


def test_without_a_gradient_sensitivities_are_not_applicable_and_the_rest_is_as_before() -> None:
    plain, card = answer(ridge)
    blind, silent = answer(without_grad)
    for metric in ("cosine", "norm_ratio", "model_difference", "cosine_by_ridge_penalty"):
        assert blind[metric].status == "not applicable", metric
        assert plain[metric].status == "ok", metric
    assert blind["cosine"].sel(candidate="ridge").message.startswith(NO_GRADIENT)
    for metric in ("loss", "prediction_difference", "unexplained_share", "candidate_cosines", "ridge_penalty"):
        np.testing.assert_array_equal(blind[metric].values, plain[metric].values, err_msg=metric)
    assert silent.found == card.found
    assert f"No sensitivities were compared: {NO_GRADIENT}; --sensitivities differences" in " ".join(silent.limits)
    assert "No sensitivities" not in " ".join(card.limits)
    assert "cosine" not in silent.methods + silent.evidence
    assert "mean cosine of the sensitivities" in card.methods


def test_differences_are_asked_for() -> None:
    plain, _ = answer(ridge)
    asked, card = answer(without_grad, sensitivities="differences")
    assert "No sensitivities" not in " ".join(card.limits)
    for metric in ("cosine", "norm_ratio"):
        np.testing.assert_allclose(asked[metric].values, plain[metric].values, rtol=1e-3, err_msg=metric)


def test_a_predictor_is_asked_twice() -> None:
    with pytest.raises(UsageError, match="asked twice"):
        answer(lambda tokens: ridge(tokens) + torch.randn(len(tokens)))
