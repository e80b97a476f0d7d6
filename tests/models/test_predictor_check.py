"""A wrapped function that does not answer as a model does is found out; rounding is not taken for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import TokenLayout, from_predictor
from mesascope.models.predictor_check import check_predictor
from torch import Tensor, nn

D = 3
TASKS = torch.randn(16, 6, D + 1, generator=torch.Generator().manual_seed(0))


def step(tokens: Tensor) -> Tensor:
    """One step of gradient descent."""
    x, y, query = tokens[:, :-1, :D], tokens[:, :-1, D], tokens[:, -1, :D]
    return torch.einsum("tni,tn,ti->t", x, y, query)


def check(function: Callable[[Tensor], Tensor], inputs: Tensor = TASKS) -> None:
    check_predictor(from_predictor(function, TokenLayout(D)).predict, inputs, "mine")


class WithLayer(nn.Module):
    """The step, behind a layer that behaves in one way in training and in another one afterwards."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        return self.layer(step(tokens)[:, None])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_function_of_each_task_passes(dtype: torch.dtype) -> None:
    check(step, TASKS.to(dtype))
    check(step, TASKS[:1].to(dtype))


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Dropout(0.5), "mine: the predictor answers differently when asked twice, by up to"),
        (nn.BatchNorm1d(1), "mine: the predictor answers a task differently beside other tasks, by up to"),
    ],
)
def test_a_model_that_was_left_in_training_is_refused_until_it_is_not(layer: nn.Module, said: str) -> None:
    model = WithLayer(layer)
    with pytest.raises(UsageError, match=said):
        check(model)
    check(model.eval())


def test_answers_that_depend_on_the_place_in_the_batch_are_refused() -> None:
    """Half a batch would not show it: its tasks stand where they stood."""
    with pytest.raises(UsageError, match="beside other tasks"):
        check(lambda tokens: step(tokens) * torch.arange(1, len(tokens) + 1))


@pytest.mark.parametrize(("noise", "refused"), [(1e-6, False), (1e-2, True)])
def test_rounding_is_no_dropout(noise: float, refused: bool) -> None:
    rng = torch.Generator().manual_seed(0)

    def noisy(tokens: Tensor) -> Tensor:
        return step(tokens) + noise * torch.randn(len(tokens), generator=rng)

    if refused:
        with pytest.raises(UsageError, match="asked twice"):
            check(noisy)
    else:
        check(noisy)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_are_refused(value: float) -> None:
    def broken(tokens: Tensor) -> Tensor:
        answers = step(tokens)
        answers[2] = value
        return answers

    with pytest.raises(UsageError, match=rf"mine: the predictor returned \[{value}\] for task 2 of 16; expected"):
        check(broken)


@pytest.mark.parametrize(("returned", "said"), [(3.0, "a float"), (None, "a NoneType"), ((TASKS,), "a tuple")])
def test_what_is_no_tensor_is_refused(returned: object, said: str) -> None:
    with pytest.raises(UsageError, match=f"the predictor returned {said}; expected a torch.Tensor"):
        check(lambda tokens: returned)  # type: ignore[arg-type,return-value]
