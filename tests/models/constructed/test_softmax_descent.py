"""Softmax heads that take a step of gradient descent, up to an order of their scores."""

from __future__ import annotations

import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models.constructed.softmax_descent import centred_step, softmax_transformer
from torch import Tensor

RATE, D_IN = 3.0, 4


def tasks(centred: bool) -> Tensor:
    """Perhaps with labels of mean 0."""
    inputs = LinearRegression(n_context=8, d_in=D_IN).sample(50, 0).inputs.clone()
    if centred:
        inputs[:, :-1, D_IN] -= inputs[:, :-1, D_IN].mean(dim=1, keepdim=True)
    return inputs


def off(beta: float, two_heads: bool, inputs: Tensor) -> float:
    """The largest difference from the step."""
    found = softmax_transformer(RATE, beta, D_IN, two_heads)(inputs)[:, 0]
    return float((found - centred_step(inputs, RATE, D_IN)).abs().max())


def test_the_step_is_that_of_gradient_descent_on_centred_inputs() -> None:
    """Pair by pair."""
    inputs = tasks(False)
    for task, found in zip(inputs[:5], centred_step(inputs, RATE, D_IN), strict=False):
        mean = sum(token[:D_IN] for token in task[:-1]) / 8
        w = sum(token[D_IN] * (token[:D_IN] - mean) for token in task[:-1]) * RATE / 8
        assert float(w @ task[-1, :D_IN]) == pytest.approx(float(found), rel=1e-12)


@pytest.mark.parametrize(("two_heads", "order", "centred"), [(False, 1, True), (True, 2, True), (True, 2, False)])
def test_what_is_missing_falls_with_the_order_of_the_scores(two_heads: bool, order: int, centred: bool) -> None:
    """Half of β, so 1/2 or 1/4 of the difference."""
    inputs = tasks(centred)
    for beta in (0.1, 0.01):
        ratio = off(beta, two_heads, inputs) / off(beta / 2, two_heads, inputs)
        assert ratio == pytest.approx(2**order, rel=0.05)
    assert off(1e-3, two_heads, inputs) < 1e-2**order


def test_one_head_keeps_the_mean_of_the_labels() -> None:
    """(η/β) mean(y), which two heads lose."""
    inputs, beta = tasks(False), 1e-4
    kept = RATE / beta * inputs[:, :-1, D_IN].mean(dim=1)
    found = softmax_transformer(RATE, beta, D_IN, two_heads=False)(inputs)[:, 0]
    torch.testing.assert_close(found - kept, centred_step(inputs, RATE, D_IN), rtol=0, atol=1e-3)
    assert off(beta, False, inputs) > 100
    assert off(beta, True, inputs) < 1e-6


def test_scores_have_a_size() -> None:
    with pytest.raises(ValueError, match="beta = 0; expected a number above 0"):
        softmax_transformer(RATE, 0, D_IN)
