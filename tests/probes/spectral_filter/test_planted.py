"""Known algorithms are read off with their steps, penalties and degrees; what is no filter is not one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionConfig, Regressor, from_transformer, gd_transformer, gdpp_transformer, initialise
from torch import Tensor

Planted = Callable[..., Regressor]
Found = Callable[..., Any]
Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""X [task, N, d], Y [task, N, d_out], query [task, d] -> [task, d_out], in float64"""
D, N = 4, 12
EXACT = 1e-9


# -- algorithms, step by step ------------------------------------------------------------------------------------------


def asked(W: Tensor, query: Tensor) -> Tensor:
    return torch.einsum("tio,ti->to", W, query)


def descent(steps: int, rate: float, P: Tensor | None = None) -> Answer:
    """From W = 0; each step multiplied by P."""

    def answer(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        W = torch.zeros(len(X), X.shape[2], Y.shape[2], dtype=X.dtype)
        for _ in range(steps):
            step = rate / X.shape[1] * X.mT @ (Y - X @ W)
            W = W + (step if P is None else P.to(X) @ step)
        return asked(W, query)

    return answer


def gdpp(steps: int, rate: float, gamma: float) -> Answer:
    """Every token moves, the query's too."""

    def answer(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        n, found = X.shape[1], torch.zeros_like(Y[:, 0])
        for _ in range(steps):
            step = rate / n * X.mT @ Y
            found, Y = found + asked(step, query), Y - X @ step
            S = X.mT @ X
            X, query = X - gamma * X @ S, query - gamma * torch.einsum("ti,tij->tj", query, S)
        return found

    return answer


def newton(iterations: int, scale: float) -> Answer:
    def answer(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        S = X.mT @ X
        M = scale * S
        for _ in range(iterations):
            M = 2 * M - M @ S @ M
        return asked(M @ X.mT @ Y, query)

    return answer


def ridge(penalty: float) -> Answer:
    def answer(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        S = X.mT @ X + penalty * torch.eye(X.shape[2], dtype=X.dtype)
        return asked(torch.linalg.solve(S, X.mT @ Y), query)

    return answer


def least_squares(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
    return asked(torch.linalg.pinv(X) @ Y, query)


def smoothing(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
    """Softmax attention from the query to the inputs."""
    return torch.einsum("tn,tno->to", torch.softmax(8 * torch.einsum("tni,ti->tn", X, query), dim=1), Y)


# -- functions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_steps_of_gradient_descent(steps: int, planted: Planted, filtered: Found) -> None:
    found = filtered(planted(descent(steps, 6.0)))
    assert found["steps_gd"].values[0] == steps
    assert found["learning_rate_gd"].values[0] == pytest.approx(6.0, rel=1e-3)
    assert found["gradient_time"].values[0] == pytest.approx(6.0 * steps, rel=1e-3)
    assert found.share("gd") < EXACT
    assert found["polynomial_degree"].sel(kind="exact").values[0] == steps
    assert found.layers[0].rule == "gd"
    assert found.claim.badge == f"Filters like {steps} step{'s' * (steps > 1)} of gradient descent"


def test_eight_steps(planted: Planted, filtered: Found) -> None:
    found = filtered(planted(descent(8, 5.0)))
    assert found["steps_gd"].values[0] == 8
    assert found["polynomial_degree"].sel(kind="exact").values[0] == 8
    assert found.share("gd") < EXACT
    assert "gd" in found.layers[0].equals


def test_the_effective_degree_is_that_of_the_curve_within_a_percent(planted: Planted, filtered: Found) -> None:
    """The least degree at which NumPy's best polynomial leaves 1 % of E|W|² or less."""
    found = filtered(planted(descent(8, 5.0)), n=400)
    X, y = tasks_of(found)
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    a, eigenvalues = (np.einsum("tnk,tn->tk", U, y) / s).ravel(), (s**2 / N).ravel()
    b = a * (1 - (1 - 5.0 * eigenvalues) ** 8)
    left = []
    for degree in range(1, 8):
        A = a[:, None] * eigenvalues[:, None] ** np.arange(1, degree + 1)
        left.append(np.square(b - A @ np.linalg.lstsq(A, b, rcond=None)[0]).sum() / np.square(b).sum())
    assert found["polynomial_degree"].sel(kind="effective").values[0] == 1 + np.argmax(np.array(left) <= 0.01)


def test_many_small_steps_are_gradient_flow(planted: Planted, filtered: Found) -> None:
    """Only the product of steps and rate is known, and the card says so."""
    found = filtered(planted(descent(64, 0.25)))
    assert found.layers[0].rule == "flow"
    assert found["time"].sel(candidate="flow").values[0] == pytest.approx(16.0, rel=0.01)
    assert found["gradient_time"].values[0] == pytest.approx(16.0, rel=0.01)
    assert any("or more steps of gradient descent are as close: only the product" in one for one in found.claim.limits)
    few = filtered(planted(descent(2, 6.0)))
    assert not any("only the product" in one for one in few.claim.limits)


def test_gdpp_has_its_own_degree(planted: Planted, filtered: Found) -> None:
    """(3^L - 1) / 2: 4 for two layers."""
    found = filtered(planted(gdpp(2, 5.0, 0.25)))
    assert (found.layers[0].rule, found["steps_gdpp"].values[0]) == ("gdpp", 2)
    assert found["gamma"].sel(candidate="gdpp").values[0] == pytest.approx(0.25, rel=1e-3)
    assert found["polynomial_degree"].sel(kind="exact").values[0] == 4
    assert found.share("gdpp") < EXACT < found.share("gd")


@pytest.mark.parametrize("iterations", [1, 2])
def test_newton_has_its_own_degree(iterations: int, planted: Planted, filtered: Found) -> None:
    """2^(k + 1)."""
    found = filtered(planted(newton(iterations, 0.14)))
    assert (found.layers[0].rule, found["steps_newton"].values[0]) == ("newton", iterations)
    assert found["initial_scale"].sel(candidate="newton").values[0] == pytest.approx(0.14, rel=1e-3)
    assert found["polynomial_degree"].sel(kind="exact").values[0] == 2 ** (iterations + 1)


@pytest.mark.parametrize("penalty", [0.05, 0.4])
def test_ridge_and_what_its_penalty_stands_for(penalty: float, planted: Planted, filtered: Found) -> None:
    found = filtered(planted(ridge(penalty)), weight_scale=2.0)
    assert found.layers[0].rule == "ridge"
    assert found["penalty"].sel(candidate="ridge").values[0] == pytest.approx(penalty, rel=1e-3)
    assert found["relative_penalty"].values[0] == pytest.approx(penalty * 12 / N, rel=0.05)  # N times 1/12
    assert found["noise_variance"].values[0] == pytest.approx(4 * penalty, rel=1e-3)
    assert any("is Bayes' rule for labels with noise of variance" in one for one in found.claim.limits)


def test_least_squares_is_one_everywhere(planted: Planted, filtered: Found) -> None:
    found = filtered(planted(least_squares))
    assert found.layers[0].rule == "min_norm"
    np.testing.assert_allclose(found["response"].values, 1.0, atol=1e-5)
    assert found.off[0] < EXACT
    assert found.claim.badge == "Filters like minimum-norm least squares"  # ridge with no penalty says no more
    assert "As close" not in found.claim.found
    assert not any("is Bayes' rule" in one for one in found.claim.limits)


def test_an_exact_filter_is_next_to_nothing_off_it(planted: Planted, filtered: Found) -> None:
    """Whatever the width of the bins."""
    for answer in (descent(1, 6.0), descent(8, 5.0), gdpp(2, 5.0, 0.25), newton(2, 0.12), ridge(0.1)):
        assert filtered(planted(answer), n=400).off[0] < 5e-4


# -- stacks of layers --------------------------------------------------------------------------------------------------


def test_each_layer_of_a_stack_is_one_more_step(filtered: Found) -> None:
    found = filtered(from_transformer(gd_transformer(N, 6.0, D, n_layers=4)))
    np.testing.assert_array_equal(found["steps_gd"].values, [1, 2, 3, 4])
    np.testing.assert_allclose(found["learning_rate_gd"].values, 6.0, rtol=1e-3)
    np.testing.assert_array_equal(found["polynomial_degree"].sel(kind="exact").values, [1, 2, 3, 4])
    assert "fter layers 1 to 3: 1 to 3 steps of gradient descent." in found.claim.found
    assert found["off_filter_share"].nulls["untrained"].min() > 0.8
    assert "The weights follow in closed form." in found.claim.evidence


def test_a_stack_of_gdpp_is_named_layer_by_layer(filtered: Found) -> None:
    found = filtered(from_transformer(gdpp_transformer(N, [5.0], [0.3], D, n_layers=3)))
    np.testing.assert_array_equal(found["polynomial_degree"].sel(kind="exact").values[:2], [1, 4])
    assert [layer.rule for layer in found.layers] == ["gd", "gdpp", "gdpp"]
    assert found["steps_gdpp"].values[2] == 3


# -- what is no filter -------------------------------------------------------------------------------------------------


def by_hand(W: np.ndarray, X: np.ndarray, Y: np.ndarray) -> float:
    """The least share of E|W|² that any g(λ) leaves could have, by a cubic spline's worth of powers, in NumPy."""
    rows, left = [], []
    for w, x, y in zip(W, X, Y, strict=True):
        U, s, Vh = np.linalg.svd(x, full_matrices=False)
        a = U.T @ y / s
        rows.append(np.stack([a * (s**2 / len(x)) ** p for p in range(6)], axis=1))
        left.append(Vh @ w)
    A, b = np.concatenate(rows), np.concatenate(left)
    rest = b - A @ np.linalg.lstsq(A, b, rcond=None)[0]
    outside = np.square(W).sum() - np.square(b).sum()
    return float((np.square(rest).sum() + outside) / np.square(W).sum())


def tasks_of(found: Any, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    recipe = found.findings.recipes["evaluation"]
    tokens = LinearRegression(**recipe.settings).sample(recipe.n, recipe.seed).inputs.numpy()
    return tokens[:, :-1, :d], tokens[:, :-1, d]


def test_a_preconditioned_step_is_off_by_an_independent_formula(planted: Planted, filtered: Found) -> None:
    P = torch.diag(torch.tensor([0.2, 1.0, 2.0, 0.6], dtype=torch.float64))
    found = filtered(planted(descent(1, 6.0, P)), n=1000)
    X, y = tasks_of(found)
    W = 6.0 / N * np.einsum("tni,tn->ti", X, y) * P.diagonal().numpy()
    assert 0.1 < found.off[0] < 0.6
    assert found.off[0] == pytest.approx(by_hand(W, X, y), abs=0.03)
    assert "filter" in found.claim.found
    assert not found.claim.found.startswith("The output filters the spectrum like")


def test_softmax_smoothing_is_no_filter(planted: Planted, filtered: Found) -> None:
    found = filtered(planted(smoothing), n=600)
    assert found.off[0] > 0.02
    assert found["not_linear_share"].estimate > 0.1
    assert found.claim.badge == "No filter"


def test_untrained_models_have_no_filter(filtered: Found) -> None:
    config = RegressionConfig(d_in=D, d_head=D + 1, n_layers=2, tied=False)
    found = filtered(from_transformer(initialise(config, 0.5, torch.Generator().manual_seed(0))), n=40)
    assert found.off.min() > 0.5
    assert found.off.max() <= 1.0  # whatever a curve of other tasks leaves: no filter leaves all
    assert found.claim.badge == "No filter"
    assert found.claim.found.startswith("The output is no spectral filter: ")


def test_a_model_that_does_not_look_at_the_query(planted: Planted, filtered: Found) -> None:
    found = filtered(planted(lambda X, Y, query: Y.mean(dim=1) + 0 * query[:, :1]))
    assert found.claim.badge == "No weights to filter"
    assert not found["off_filter_share"].has_number


# -- what must not matter ----------------------------------------------------------------------------------------------


def test_the_negative_of_a_model_is_the_model(planted: Planted, filtered: Found) -> None:
    step = descent(2, 6.0)
    plain, negative = (filtered(planted(one)) for one in (step, lambda *parts: -step(*parts)))
    for name in ("response", "off_filter_share", "unexplained_share"):
        np.testing.assert_allclose(plain[name].values, negative[name].values, rtol=1e-6, atol=1e-12)
    assert negative.claim.found == "Sign turned. " + plain.claim.found


def test_scaled_inputs_take_the_same_steps(planted: Planted, filtered: Found) -> None:
    plain = filtered(planted(descent(3, 6.0)))
    scaled = filtered(planted(descent(3, 6.0 / 9)), input_range=3.0)
    assert scaled["steps_gd"].values[0] == plain["steps_gd"].values[0] == 3
    assert scaled["learning_rate_gd"].values[0] == pytest.approx(6.0 / 9, rel=1e-3)
    np.testing.assert_allclose(scaled["response"].values, plain["response"].values, rtol=1e-4, atol=1e-6)


def test_batches_do_not_matter(planted: Planted, filtered: Found) -> None:
    one, other = (filtered(planted(ridge(0.2)), batch_size=size) for size in (17, 150))
    for name, measure in one.findings.measures.items():
        np.testing.assert_allclose(measure.values, other[name].values, rtol=1e-4, atol=1e-9, err_msg=name)


def test_two_outputs(planted: Planted, filtered: Found) -> None:
    for answer, rule in ((descent(2, 6.0), "gd"), (ridge(0.3), "ridge"), (least_squares, "min_norm")):
        batch = LinearRegression(n_context=N, d_in=D, d_out=2)
        assert batch.d_out == 2
        found = filtered(planted(answer, d_out=2))
        assert found.layers[0].rule == rule
        assert found.share(rule) < EXACT


@pytest.mark.parametrize(("answer", "rule"), [(descent(2, 2.0), "gd"), (least_squares, "min_norm")])
def test_more_inputs_than_pairs(answer: Any, rule: str, planted: Planted, filtered: Found) -> None:
    """Modes are only N; nothing is outside them, where no filter has anything."""
    found = filtered(planted(answer, d=6), n_context=3)
    assert found.layers[0].rule == rule
    assert found.share(rule) < EXACT
    assert found.findings.arrays["eigenvalues"].shape == (150, 3)


@pytest.mark.parametrize(("answer", "rule"), [(descent(2, 6.0), "gd"), (least_squares, "min_norm")])
def test_contexts_without_full_rank(answer: Any, rule: str, planted: Planted, filtered: Found, tmp_path: Path) -> None:
    batch = LinearRegression(n_context=N, d_in=D).sample(120, 0)
    batch.inputs[:, :-1, 1] = batch.inputs[:, :-1, 0]
    np.savez(tmp_path / "own.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
    found = filtered(planted(answer), tasks=str(tmp_path / "own.npz"))
    assert found.layers[0].rule == rule
    assert found.share(rule) < EXACT
    assert found["noise_variance"].status == "not applicable"
    assert any("The law of the tasks in the file is not known" in one for one in found.claim.limits)


def test_outside_of_a_context_no_filter_has_anything(planted: Planted, filtered: Found) -> None:
    """A fixed w beside a step: with fewer pairs than inputs most of it is outside."""

    def answer(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        return descent(1, 2.0)(X, Y, query) + 0.3 * query.sum(dim=1, keepdim=True)

    assert filtered(planted(answer, d=6), n_context=3).off[0] > 0.3
