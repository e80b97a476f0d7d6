"""Sensitivities: by complex steps of a layer in NumPy, to 1e-12, and in closed form of the written one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionTransformer
from mesascope.models.constructed.copied_labels import copying_transformer
from mesascope.probes.label_copying.first_layer import as_function, first_layer
from mesascope.probes.label_copying.sensitivity import Sensitivity, sensitivity

N, D = 5, 3
KINDS = ("own", "next", "other", "other_without_next")
Random = Callable[..., RegressionTransformer]


def found(module: RegressionTransformer, inputs: torch.Tensor, batch: int = 100) -> Sensitivity:
    layer = first_layer(module)
    pairs = [as_function(layer, part) for part in inputs.split(batch)]
    return sensitivity([function for function, _ in pairs], [tokens for _, tokens in pairs])


def tasks(n: int = 6, d_in: int = D, d_out: int = 1) -> torch.Tensor:
    return LinearRegression(n_context=N, d_in=d_in, d_out=d_out).sample(n, 0).inputs.double()


def layer_in_numpy(module: RegressionTransformer, tokens: np.ndarray) -> np.ndarray:
    """Tokens of one task, with sinusoidal codes behind them, after a softmax layer of several heads."""
    config = module.config
    codes = np.zeros((len(tokens), config.d_position))
    for position in range(len(tokens)):
        for pair in range(config.d_position // 2):
            angle = position / 10_000 ** (2 * pair / config.d_position)
            codes[position, 2 * pair : 2 * pair + 2] = np.sin(angle), np.cos(angle)
    h = np.concatenate([tokens, codes], axis=1)
    after = h.copy()
    for head in range(config.n_heads):
        q, k, v, o = (module.get_parameter(f"W_{role}")[0, head].numpy() for role in "QKVO")
        for query in range(len(h)):
            keys = range(len(h) if config.query_in_context else len(h) - 1)
            scores = np.array([(h[query] @ q) @ (h[key] @ k) / np.sqrt(config.d_head) for key in keys])
            weights = np.exp(scores) / np.exp(scores).sum()
            after[query] += sum(weight * (h[key] @ v) for weight, key in zip(weights, keys, strict=True)) @ o
    return after


@pytest.mark.parametrize("settings", [{}, {"token_order": "separate"}, {"query_in_context": True, "n_heads": 1}])
def test_they_are_those_of_complex_steps(settings: dict[str, Any], random_model: Random) -> None:
    module, inputs, step = random_model(**settings), tasks(), 1e-30
    tokens = module.config.layout.arrange(inputs).numpy()
    n_tasks, n_tokens, width = tokens.shape
    gradients = np.zeros((n_tasks, n_tokens - 2, n_tokens, width))
    for task, token, entry in np.ndindex(n_tasks, n_tokens, width):
        moved = tokens[task].astype(complex)
        moved[token, entry] += step * 1j
        gradients[task, :, token, entry] = layer_in_numpy(module, moved).sum(axis=1)[: n_tokens - 2].imag / step
    norms = np.linalg.norm(gradients.mean(axis=0), axis=2)
    held = found(module, inputs)
    np.testing.assert_allclose(held.norms, norms, rtol=1e-12, atol=1e-12)
    read, rest = range(n_tokens - 2), n_tokens - 2
    by_kind = {
        "own": np.mean([norms[k, k] for k in read]),
        "next": np.mean([norms[k, k + 1] for k in read]),
        "other": np.mean([sum(norms[k, i] for i in range(n_tokens) if i != k) / rest for k in read]),
        "other_without_next": np.mean(
            [np.mean([norms[k, i] for i in range(n_tokens) if i not in (k, k + 1)]) for k in read]
        ),
    }
    for place, kind in enumerate(KINDS):
        assert held.samples[:, place].mean() == pytest.approx(by_kind[kind], rel=1e-12), kind
        assert held.by_kind[place] == pytest.approx(by_kind[kind], rel=1e-12), kind


@pytest.mark.parametrize(("d_in", "d_out"), [(3, 1), (4, 2)])
def test_of_the_written_layer_they_are_known(d_in: int, d_out: int) -> None:
    """Every coordinate of a token stays, and the next token's label is added."""
    held = found(copying_transformer(N, 2.0, d_in, d_out), tasks(4, d_in, d_out))
    expected = np.sqrt(d_in + d_out), np.sqrt(d_out), np.sqrt(d_out) / (2 * N - 1), 0.0
    np.testing.assert_allclose(held.samples, np.tile(expected, (4, 1)), rtol=1e-12, atol=1e-14)


def test_batches_do_not_matter(random_model: Random) -> None:
    one, other = (found(random_model(), tasks(), batch) for batch in (100, 4))
    np.testing.assert_allclose(one.norms, other.norms, rtol=1e-12)
    np.testing.assert_allclose(one.samples, other.samples, rtol=1e-12)


def test_samples_are_not_taken_where_nobody_asks(random_model: Random) -> None:
    function, tokens = as_function(first_layer(random_model()), tasks())
    held = sensitivity([function], [tokens], sampled=False)
    assert held.samples.shape == (0, 4)
    np.testing.assert_array_equal(held.norms, found(random_model(), tasks()).norms)


def test_what_changes_sign_from_task_to_task_cancels() -> None:
    """A token that is its square after the layer, at inputs of both signs."""
    tokens = torch.tensor([1.0, -1.0]).double()[:, None, None].expand(2, 3, 2)
    held = sensitivity([lambda held: held**2], [tokens])
    assert np.abs(held.norms).max() == 0
    assert np.isfinite(held.samples).all()


def test_a_layer_that_does_nothing_leaves_tokens_sensitive_to_themselves_alone(random_model: Random) -> None:
    module = random_model()
    with torch.no_grad():
        module.W_O[0] = 0
    held = found(module, tasks())
    np.testing.assert_allclose(held.norms, np.sqrt(D) * np.eye(2 * N + 1)[: 2 * N - 1], atol=1e-14)
