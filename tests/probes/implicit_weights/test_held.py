"""Fits, norms, losses and layers' own steps beside NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionTransformer, gd_transformer
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GDPP, GRADIENT_DESCENT, NEWTON, RIDGE
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.preconditioned import ONE_STEP
from mesascope.probes.implicit_weights.fits import Shown, enter, steps_tried
from mesascope.probes.implicit_weights.held import Steps, curvatures
from mesascope.probes.implicit_weights.names import spread
from scipy.optimize import minimize_scalar

D, N = 3, 8


def contexts(n: int = 30, d_out: int = 1) -> Contexts:
    tokens = torch.randn(n, N + 1, D + d_out, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Contexts(tokens, D)


def noisy(held: Contexts, d_out: int = 1) -> torch.Tensor:
    rng = torch.Generator().manual_seed(4)
    return held.Y.mT @ held.X / N + 0.1 * torch.randn(len(held.X), d_out, D, generator=rng, dtype=torch.float64)


@pytest.mark.parametrize("d_out", [1, 2])
def test_ridge_is_fitted_to_whole_matrices(d_out: int) -> None:
    held = contexts(d_out=d_out)
    W, X, Y = noisy(held, d_out), held.X.numpy(), held.Y.numpy()

    def left(log_penalty: float) -> float:
        S = np.einsum("tni,tnj->tij", X, X) + np.exp(log_penalty) * np.eye(D)
        return float(np.square(np.linalg.solve(S, X.transpose(0, 2, 1) @ Y).transpose(0, 2, 1) - W.numpy()).sum())

    expected: Any = minimize_scalar(left, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9})
    entry = enter(RIDGE, [Shown(held, W)], 1)
    assert entry is not None
    assert entry.fits[0].value("penalty") == pytest.approx(np.exp(expected.x), rel=1e-5)
    assert entry.distance == pytest.approx((left(expected.x) / float(W.square().sum())) ** 0.5, rel=1e-8)


def test_a_preconditioner_is_fitted_to_whole_matrices() -> None:
    """Where the best one has no negative eigenvalue it solves M P + P M = C + C^T."""
    held = contexts()
    W = noisy(held)
    G = (held.Y.mT @ held.X / N).numpy()[:, 0]
    M, C = G.T @ G, G.T @ W.numpy()[:, 0]
    values, vectors = np.linalg.eigh(M)
    P = vectors @ ((vectors.T @ (C + C.T) @ vectors) / (values[:, None] + values)) @ vectors.T
    assert np.linalg.eigvalsh(P).min() > 0
    entry = enter(ONE_STEP, [Shown(held, W)], 1)
    assert entry is not None
    np.testing.assert_allclose(entry.fits[0].matrix, P, rtol=1e-5, atol=1e-7)


def test_numbers_of_steps_that_are_tried() -> None:
    assert steps_tried(RIDGE, 3) == (0,)
    assert steps_tried(GDPP, 1) == ()
    assert steps_tried(GDPP, 5) == (5,)
    assert steps_tried(GDPP, None) == GDPP.tried
    assert steps_tried(NEWTON, 2) == NEWTON.tried
    assert 7 in steps_tried(GRADIENT_DESCENT, 7)
    assert enter(GDPP, [], 1) is None


@pytest.mark.parametrize(("layer", "named"), [(3, 3), (None, 6), (1, 6)])
def test_of_numbers_of_steps_that_are_as_near_that_of_layers_is_named(layer: int | None, named: int) -> None:
    """Three steps are within a percent of six at a small rate, one step is not."""
    held = contexts(60)
    W = GRADIENT_DESCENT.weights(held, Fitted(6, {"learning rate": given(0.02)}))
    entry = enter(GRADIENT_DESCENT, [Shown(held, W)], layer)
    assert entry is not None
    assert entry.steps[0] == named
    assert entry.distance < 0.01


def test_curvatures_are_those_of_curved_inputs() -> None:
    X, gamma = contexts().X[0], 0.02
    held = X
    for layer in range(4):
        c2 = curvatures(torch.linalg.svdvals(X).square()[None], gamma, 4)[layer, 0]
        lengths = torch.linalg.svdvals(X).square() * c2
        np.testing.assert_allclose(np.sort(lengths), np.sort(torch.linalg.svdvals(held).square()), rtol=1e-10)
        held = held - gamma * held @ held.T @ held


@pytest.mark.parametrize("gamma", [0.0, 0.05])
def test_the_gradient_at_the_model_before_a_layer(gamma: float) -> None:
    held = contexts(4, d_out=2)
    W = torch.randn(3, 4, 2, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    steps = Steps.of(W, held, gamma)
    for task in range(4):
        X, Y, before, C = held.X[task].numpy(), held.Y[task].numpy(), np.zeros((2, D)), np.eye(D)
        for layer in range(3):
            gradient = (Y - X @ before.T).T @ X @ C @ C / N
            np.testing.assert_allclose(steps.gradient[layer, task], gradient, rtol=1e-10, atol=1e-12)
            np.testing.assert_allclose(steps.change[layer, task], W[layer, task].numpy() - before, rtol=1e-12)
            before, C = W[layer, task].numpy(), C - gamma * C @ C @ C @ X.T @ X


def test_norms_losses_and_linearity(read: Callable[..., Any]) -> None:
    found = read(gd_transformer(N, 3.0, D, n_layers=2))
    recipe = found.findings.recipes["evaluation"]
    tasks = LinearRegression(**recipe.settings).sample(recipe.n, recipe.seed)
    tokens, targets = tasks.inputs.double().numpy(), tasks.targets.double().numpy()[:, 0]
    X, y, query = tokens[:, :-1, :D], tokens[:, :-1, D], tokens[:, -1, :D]
    W, least = (
        np.zeros((len(X), D)),
        np.stack([np.linalg.lstsq(*pair, rcond=None)[0] for pair in zip(X, y, strict=True)]),
    )
    for layer in range(2):
        W = W + 3.0 / N * np.einsum("tni,tn->ti", X, y - np.einsum("tni,ti->tn", X, W))
        np.testing.assert_allclose(found.arrays["weights"][:, layer, 0], W[:100], rtol=1e-6, atol=1e-9)
        norm = np.sqrt(np.square(W).sum() / np.square(least).sum())
        assert found["weight_norm"].values[layer] == pytest.approx(norm, rel=1e-6)
        apart = np.sqrt(np.square(W - least).sum() / np.square(W).sum())
        assert found["weight_distance_min_norm"].values[layer] == pytest.approx(apart, rel=1e-6)
        loss = 0.5 * np.square(np.einsum("ti,ti->t", W, query) - targets).mean()
        assert found["loss"].values[layer] == pytest.approx(loss, rel=1e-6)


def test_places_that_are_evenly_spread() -> None:
    assert spread(0, 3) == []
    assert spread(2, 3) == [0, 1]
    assert spread(16, 3) == [0, 8, 15]
    assert spread(5, 1) == [0]


def test_several_labels_have_a_matrix(
    read: Callable[..., Any], random_module: Callable[..., RegressionTransformer]
) -> None:
    found = read(random_module(d_out=2, n_layers=2, tied=False, n_heads=2))
    assert found.arrays["weights"].shape == (60, 2, 2, D)
    assert found.arrays["weights_gd"].shape == (3, 2, 2, D)
