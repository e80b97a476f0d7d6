"""Subjects for softmax regression: what they say of themselves, and predictors that answer something else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import NotApplicable, from_softmax_layer, from_softmax_predictor, softmax_gradient_layer
from torch import Tensor, nn

A, B = torch.randn(3, 5, 2, dtype=torch.float64), torch.full((3, 5), 0.2, dtype=torch.float64)


def test_a_layer_in_memory() -> None:
    layer = softmax_gradient_layer(5, 2.0, 2, output_scale=3.0)
    subject = from_softmax_layer(layer, "mine")
    assert (subject.d_in, subject.dtype, subject.source.name) == (2, torch.float64, "mine")
    assert subject.source.facts == {"d_in": 2, "output_scale": 3.0}
    assert subject.source.weights_sha256 is not None
    assert torch.equal(subject.predict(A, B), layer(A, B))
    assert isinstance(subject.weights(), NotApplicable)


class Mixing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, A: Tensor, b: Tensor) -> Tensor:
        return (self.scale * A.sum(dim=-1) + b).softmax(dim=-1)


def test_a_wrapped_module_has_a_digest_and_a_function_none() -> None:
    module = from_softmax_predictor(Mixing(), d_in=2)
    assert module.dtype == torch.float64
    assert module.source.weights_sha256 is not None
    function = from_softmax_predictor(lambda A, b: b, d_in=2)
    assert function.source.weights_sha256 is None
    assert any("plain function" in note for note in function.source.notes)
    assert torch.equal(module.predict(A, B), Mixing()(A, B))


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda A, b: b[:, 0], r"\[3\]"),
        (lambda A, b: A, r"\[3, 5, 2\]"),
        (lambda A, b: b.numpy(), "ndarray"),
    ],
)
def test_an_answer_of_another_shape_is_refused(function: Callable[..., Any], found: str) -> None:
    with pytest.raises(UsageError, match=rf"returned {found} for b shaped \[3, 5\]; expected a torch\.Tensor of that"):
        from_softmax_predictor(function, d_in=2).predict(A, B)


SUMS_TO_0 = torch.tensor([0.5, -0.5, 0, 0, 0], dtype=torch.float64)


@pytest.mark.parametrize("function", [lambda A, b: A.sum(dim=-1), lambda A, b: 2 * b, lambda A, b: b + SUMS_TO_0])
def test_scores_are_no_probabilities(function: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="expected a probability for each token: end with a softmax over the tokens"):
        from_softmax_predictor(function, d_in=2).predict(A, B)


def test_what_is_not_finite_is_left_to_the_report() -> None:
    assert from_softmax_predictor(lambda A, b: b * float("nan"), d_in=2).predict(A, B).isnan().all()
