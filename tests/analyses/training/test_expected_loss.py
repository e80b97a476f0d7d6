"""The expected loss over all Gaussian tasks: drawn tasks, another closed form, finite differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.training.expected_loss import Moments, expected_loss_and_gradient
from mesascope.data.regression import GaussianRegression
from mesascope.models import RegressionConfig, RegressionTransformer
from mesascope.probes.gd_certificate import optimum
from mesascope.probes.gd_certificate.layer import layers_of, step_matrix
from mesascope.probes.gd_certificate.other_entries import other_loss
from mesascope.probes.regression.products import module_products

LAWS = {
    "plain": GaussianRegression(n_context=31, d_in=4, input_variances=(0.4, 0.3, 0.2, 0.1)),
    "all settings": GaussianRegression(
        n_context=3, d_in=2, input_variances=(0.7, 1.5), input_range=1.2, weight_scale=0.8, noise=0.6
    ),
}
MODELS: dict[str, dict[str, Any]] = {
    "rank one": {"n_heads": 4, "d_head": 1, "dampening": 0.2},
    "one wide head": {"n_heads": 1, "d_head": 7},
    "negative": {"n_heads": 2, "d_head": 3, "dampening": -0.5},
}
each_law = pytest.mark.parametrize("tasks", LAWS.values(), ids=LAWS)
each_model = pytest.mark.parametrize("settings", MODELS.values(), ids=MODELS)


def random_weights(config: RegressionConfig, seeds: int = 2) -> dict[str, np.ndarray]:
    """All entries, those that no theory has, too: [seed, head, …]."""
    rng = np.random.default_rng(1)
    return {name: 0.6 * rng.normal(size=(seeds, *shape[1:])) for name, shape in config.shapes.items()}


def module_of(config: RegressionConfig, weights: dict[str, np.ndarray], seed: int) -> RegressionTransformer:
    return RegressionTransformer(config, {name: torch.from_numpy(held[seed][None]) for name, held in weights.items()})


@each_model
@each_law
def test_the_loss_is_that_of_gd_certificate(tasks: GaussianRegression, settings: dict[str, Any]) -> None:
    """Which takes a layer's step and its other entries apart, and is half as large."""
    config = RegressionConfig(d_in=tasks.d_in, **settings)
    weights = random_weights(config)
    losses, _ = expected_loss_and_gradient(config, Moments.of(tasks), weights)
    law = optimum.Law(
        torch.diag(torch.tensor(tasks.variances, dtype=torch.float64)), tasks.n_context, 0.0, tasks.weight_scale**2,
        tasks.noise**2,
    )  # fmt: skip
    for seed, loss in enumerate(losses):
        (layer,) = layers_of(module_products(module_of(config, weights, seed)))
        assert loss == pytest.approx(2 * (optimum.expected_loss(step_matrix(layer), law) + other_loss(layer, law)))


def test_the_loss_is_the_mean_over_drawn_tasks() -> None:
    """With NumPy, as the paper writes attention: every query, key and value."""
    tasks, config = LAWS["all settings"], RegressionConfig(d_in=2, n_heads=2, d_head=2, dampening=0.1)
    weights = random_weights(config, 1)
    rng = np.random.default_rng(5)
    x = 1.2 * np.sqrt([0.7, 1.5]) * rng.normal(size=(400_000, 4, 2))
    w = 0.8 * rng.normal(size=(400_000, 2))
    y = np.einsum("tni,ti->tn", x, w)
    label, y[:, -1] = y[:, -1].copy(), 0.0
    y[:, :-1] += 0.6 * rng.normal(size=(400_000, 3))
    tokens = np.concatenate([x, y[..., None]], axis=2)
    answer = np.zeros(len(x))
    for W_Q, W_K, W_V, W_O in zip(*(weights[name][0] for name in ("W_Q", "W_K", "W_V", "W_O")), strict=True):
        scores = np.einsum("ta,tna->tn", tokens[:, -1] @ W_Q, tokens[:, :-1] @ W_K)
        answer -= 0.1 * (np.einsum("tn,tna->ta", scores, tokens[:, :-1] @ W_V) @ W_O)[:, -1]
    errors = (label - answer) ** 2
    (loss,), _ = expected_loss_and_gradient(config, Moments.of(tasks), weights)
    assert loss == pytest.approx(errors.mean(), abs=4 * errors.std() / len(x) ** 0.5)
    assert errors.std() / len(x) ** 0.5 < 0.01 * loss


@each_model
@each_law
def test_the_gradient_is_the_loss_difference(tasks: GaussianRegression, settings: dict[str, Any]) -> None:
    config, step = RegressionConfig(d_in=tasks.d_in, **settings), 1e-5
    weights, moments = random_weights(config), Moments.of(tasks)
    _, gradient = expected_loss_and_gradient(config, moments, weights)
    for name, matrices in weights.items():
        for place in np.ndindex(matrices.shape):
            losses = []
            for shift in (step, -step):
                moved = {**weights, name: matrices.copy()}
                moved[name][place] += shift
                losses.append(expected_loss_and_gradient(config, moments, moved)[0])
            expected = (losses[0] - losses[1]) / (2 * step)
            scale = np.abs(gradient[name]).max()
            assert gradient[name][place] == pytest.approx(expected[place[0]], rel=1e-5, abs=1e-6 * scale)
            assert expected[1 - place[0]] == pytest.approx(0.0, abs=1e-9)  # the other seed's weights


def test_answering_0_loses_the_variance_of_the_label() -> None:
    config = RegressionConfig(d_in=4, d_head=1)
    weights = {name: np.zeros((1, *shape[1:])) for name, shape in config.shapes.items()}
    (loss,), gradient = expected_loss_and_gradient(config, Moments.of(LAWS["plain"]), weights)
    assert loss == pytest.approx(1.0)
    assert not any(found.any() for found in gradient.values())
