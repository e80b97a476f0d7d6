"""The linear read-out: known answers, scikit-free cross-validation by hand, and what cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.sine import SineRegression
from mesascope.probes.deep_features.read_out import PENALTIES, Linear, query_states

RNG = np.random.default_rng(0)


def test_a_linear_label_is_read_exactly() -> None:
    states = RNG.normal(size=(200, 5))
    W = RNG.normal(size=(5, 2))
    labels = states @ W + [1.0, -2.0]
    fresh = RNG.normal(size=(50, 5))
    np.testing.assert_allclose(Linear.fitted(states, labels)(fresh), fresh @ W + [1.0, -2.0], rtol=1e-8)


def test_noise_is_not_read() -> None:
    states, labels = RNG.normal(size=(60, 40)), RNG.normal(size=(60, 1))
    fresh, wanted = RNG.normal(size=(4000, 40)), RNG.normal(size=(4000, 1))
    error = np.square(wanted - Linear.fitted(states, labels)(fresh)).mean()
    assert error < 1.25 * np.square(wanted - labels.mean()).mean()  # least squares on 60 tasks has 3 times as much


def test_the_penalty_is_that_of_generalised_cross_validation() -> None:
    """By the hat matrix of every penalty."""
    states = RNG.normal(size=(30, 6))
    labels = states[:, :1] + RNG.normal(size=(30, 1))
    X, y = states - states.mean(axis=0), labels - labels.mean(axis=0)
    largest, scores = np.linalg.eigvalsh(X.T @ X)[-1], []
    for penalty in PENALTIES * largest:
        H = X @ np.linalg.inv(X.T @ X + penalty * np.eye(6)) @ X.T
        scores.append(np.square(y - H @ y).sum() / (29 - np.trace(H)) ** 2)
    best = PENALTIES[int(np.argmin(scores))] * largest
    expected = np.linalg.solve(X.T @ X + best * np.eye(6), X.T @ y)
    np.testing.assert_allclose(Linear.fitted(states, labels).weights, expected, rtol=1e-8)


def test_the_mean_counts_as_a_parameter_of_cross_validation() -> None:
    """Four tasks, two orthogonal directions of equal size; with K kept of each, free = 3 - 2 K and the score is least
    at 1 - K = 2 r / a for a squared along them and r outside: a half here, a third if the mean were free.
    """
    along, other, outside = np.array([[1.0, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]])
    labels = (5 + 0.6 * along + 0.8 * other + 0.5 * outside)[:, None]
    found = Linear.fitted(np.stack([along, other], axis=1), labels)
    np.testing.assert_allclose(found.weights, [[0.3], [0.4]], rtol=1e-12)


def test_states_without_spread_read_the_mean() -> None:
    labels = RNG.normal(size=(20, 1))
    np.testing.assert_allclose(Linear.fitted(np.ones((20, 3)), labels)(np.ones((4, 3))), labels.mean(), rtol=1e-12)


def test_states_are_the_query_before_attention_and_after_each_layer(planted: Callable[..., Any]) -> None:
    module, tasks = planted(n_layers=2, rate=0.2), SineRegression(n_context=5).sample(6, 1)
    states = query_states(module, tasks.inputs, 4)
    assert states.shape == (3, 6, module.config.d_model)
    np.testing.assert_allclose(states[0], module.embedded(tasks.inputs)[:, -1])
    np.testing.assert_allclose(-states[1:, :, -1:], module.predict_layers(tasks.inputs))


def test_what_is_read_is_measured(planted: Callable[..., Any], probed: Callable[..., Any]) -> None:
    """A slot that holds labels alone: the mean label times the query's features is there to be read."""
    found = probed(planted())["linear_readout"]
    assert found.labels("layer") == ("embedding", 0)
    assert set(found.nulls) == {"untrained", "shuffled labels"}
    assert (found.values <= 1).all()


def test_a_model_that_knows_the_answer_is_read_whole(planted: Callable[..., Any], probed: Callable[..., Any]) -> None:
    """Linear tasks of one input and one pair without noise: y_q = y x_q / x, which no linear read-out has of the query
    alone; labels that are a number of the query are read before attention."""
    module = planted(d_in=3)
    tasks = {"n_context": 5, "d_in": 3, "weight_scale": 1e-9}
    found = probed(module, tasks=tasks)
    assert found["linear_readout"].values[0] == pytest.approx(0.0, abs=0.3)
    with torch.no_grad():
        module.W_O.fill_(torch.nan)
    assert probed(module, tasks=tasks)["linear_readout"].values[0] == found["linear_readout"].values[0]
