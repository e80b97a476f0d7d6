"""What must not matter does not: batch size, sign, layout, precision, who drew the tasks; and tasks that are few."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.data import LinearRegression
from mesascope.models import (
    RegressionTransformer,
    Regressor,
    TokenLayout,
    from_predictor,
    from_transformer,
    gd_transformer,
)
from mesascope.probes import ImplicitWeights
from torch import Tensor

D, N = 3, 8
Reader = Callable[..., Any]
COMPARED = ("weight_distance_gd", "weight_distance_ridge", "loss", "weight_norm", "learning_rate_gd")


def answering(sign: int = 1, front: bool = False) -> Regressor:
    """A step of gradient descent whose tokens are [x ; y], or [y ; x]."""

    def predict(tokens: Tensor) -> Tensor:
        x, y = (tokens[..., 1:], tokens[..., :1]) if front else (tokens[..., :D], tokens[..., D:])
        return sign * (y[:, :-1] * (x[:, :-1] * x[:, -1:]).sum(-1, keepdim=True)).mean(dim=1)

    return from_predictor(predict, TokenLayout(D, order="joint", label_slot=0 if front else D))


def agree(found: Any, other: Any, rtol: float = 1e-9, names: tuple[str, ...] = COMPARED) -> None:
    for name in names:
        np.testing.assert_allclose(found[name].values, other[name].values, rtol=rtol, atol=rtol, err_msg=name)


def test_batches(read: Reader, random_module: Callable[..., Any]) -> None:
    module = random_module(n_layers=2, softmax=True)
    agree(read(module, batch=64), read(module, batch=7), 1e-7)


def test_the_sign_of_the_answer(read: Reader) -> None:
    plain, turned = read(answering(), n=200), read(answering(-1), n=200)
    agree(plain, turned)
    assert turned["readout_sign"].estimate == -1
    assert turned.claim.found == f"Sign turned. {plain.claim.found}"


def test_where_the_label_stands(read: Reader) -> None:
    agree(read(answering()), read(answering(front=True)))
    stack = gd_transformer(N, 3.0, D, n_layers=2)
    turned = {name: held.roll(1, -1 if name == "W_O" else -2) for name, held in stack.named_parameters()}
    front = RegressionTransformer(stack.config, turned)  # whose residual stream begins with y
    agree(read(stack, token_order="joint", label_slot=D), read(front, token_order="joint", label_slot=0))


def test_precision(read: Reader) -> None:
    stack = gd_transformer(N, 3.0, D, n_layers=2)
    agree(read(stack), read(stack.float()), 1e-5, ("loss", "weight_norm", "learning_rate_gd"))


@pytest.fixture
def own_tasks(tmp_path: Path) -> Callable[[int], str]:
    def write(n: int) -> str:
        tasks = LinearRegression(n_context=N, d_in=D, d_out=1).sample(n, 3)
        np.savez(tmp_path / "own.npz", inputs=tasks.inputs.numpy(), targets=tasks.targets.numpy())
        return str(tmp_path / "own.npz")

    return write


def test_your_own_tasks_are_all_judged_by_settings_fitted_on_others(
    own_tasks: Callable[[int], str], read: Reader
) -> None:
    found = read(gd_transformer(N, 3.0, D, n_layers=2), n=None, tasks=own_tasks(61))
    assert found["loss"].n == 61
    assert found["weight_distance_gd"].values.max() < 1e-6
    assert "(supplied by the user)" in found.claim.methods


def test_more_inputs_than_pairs(read: Reader) -> None:
    stack = gd_transformer(2, 3.0, D, n_layers=2)
    probe = ImplicitWeights(limit=40, n_context=2)
    found = probe.measure(from_transformer(stack), 0, 64)
    np.testing.assert_allclose(found.measures["weight_distance"].sel(rule="gd").values, 0, atol=1e-6)


def test_what_diverges_has_no_number(read: Reader) -> None:
    found = read(gd_transformer(N, 1e200, D, n_layers=3))
    assert found.claim.found
    for measure in found.findings.measures.values():
        assert not np.isinf(measure.values).any()
