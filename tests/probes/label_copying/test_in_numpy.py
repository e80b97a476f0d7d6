"""Losses and attention of a whole report, to 1e-12, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..in_numpy import InNumpy

N, D, TASKS = 5, 3, 20
SETTINGS: dict[str, dict[str, Any]] = {
    "softmax, then linear": {},
    "linear, separate": {"softmax": False, "linear_from": None, "token_order": "separate"},
    "two labels, dampened": {"token_order": "separate", "d_out": 2, "dampening": 0.75},
    "the query a key": {"query_in_context": True, "n_heads": 1},
    "a clip": {"activation_clip": 0.9},
    "MLPs and layer norm": {"mlp": "own", "layer_norm": True},
    "one-hot positions": {"d_position": 11, "one_hot_positions": True},
}


def attention(model: InNumpy, tokens: np.ndarray, head: int) -> np.ndarray:
    """Of the first layer, query by key."""
    h, config = model.read_in(tokens), model.config
    q, k = h @ model.at["W_Q"][0, head], h @ model.at["W_K"][0, head]
    scores = q @ k[: len(h) if config.query_in_context else len(h) - 1].T
    if config.softmax:
        scores = np.exp(scores / np.sqrt(config.d_head))
        scores = scores / scores.sum(axis=1, keepdims=True)
    return scores


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_and_attention(
    name: str, random_model: Callable[..., Any], copied: Callable[..., Any], tmp_path: Path
) -> None:
    module = random_model(scale=0.3, **SETTINGS[name])
    model, config, rng = InNumpy.of(module), module.config, np.random.default_rng(2)
    x = rng.uniform(-1, 1, size=(TASKS, N + 1, D))
    y = x @ rng.normal(size=(TASKS, D, config.d_out))
    targets = y[:, -1].copy()
    y[:, -1] = 0
    inputs = np.concatenate([x, y], axis=2)
    np.savez(tmp_path / "t.npz", inputs=inputs, targets=targets if config.d_out > 1 else targets[:, 0])
    found = copied(module, TASKS, tasks=str(tmp_path / "t.npz"), sign=1, batch_size=5)
    silent = replace(model, at={**model.at, "W_O": model.at["W_O"] * np.array([0, 1])[:, None, None, None]})
    for candidate, ours in (("model", model), ("ablated", silent)):
        answers = np.array([ours(tokens) for tokens in inputs])
        loss = np.mean(((targets - answers) ** 2).sum(axis=1)) / 2
        np.testing.assert_allclose(found.loss(candidate), loss, rtol=1e-12, err_msg=candidate)
    for head in range(config.n_heads):
        read, shares = [], []
        for tokens in inputs:
            pattern = attention(model, tokens, head)
            read.append(np.mean([pattern[2 * i, 2 * i + 1] for i in range(N)]))
            paid = [abs(pattern[2 * i, 2 * i + 1]) / np.abs(pattern[2 * i]).sum() for i in range(N)]
            shares.append(np.mean(paid))
        for measure, expected in {"next_attention": read, "prefix_matching_score": shares}.items():
            values = found[measure].values[0, head]
            np.testing.assert_allclose(values, np.mean(expected), rtol=1e-12, atol=1e-14, err_msg=measure)
