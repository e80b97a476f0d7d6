"""Files in the authors' parameter names, as large as a test needs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import load_all

D, K = 5, 3  # token width, head width
Arrays = dict[str, np.ndarray]
Loops = Callable[..., np.ndarray]


def block(prefix: str, rng: np.random.Generator, n_heads: int = 1, dtype: str = "f8") -> Arrays:
    shapes = {"query": (D, n_heads * K), "key": (D, n_heads * K), "value": (D, n_heads * K), "linear": (n_heads * K, D)}
    return {f"{prefix}/{role}/w": (rng.normal(size=shape) * 0.4).astype(dtype) for role, shape in shapes.items()}


def norm(prefix: str, rng: np.random.Generator) -> Arrays:
    return {f"{prefix}/scale": 1 + 0.3 * rng.normal(size=D), f"{prefix}/offset": 0.3 * rng.normal(size=D)}


def mlp(prefix: str, rng: np.random.Generator, width: int = D, biases: bool = False) -> Arrays:
    """One hidden layer, four times as wide."""
    arrays = {
        f"{prefix}/linear/w": rng.normal(size=(width, 4 * width)) * 0.4,
        f"{prefix}/linear_1/w": rng.normal(size=(4 * width, width)) * 0.4,
    }
    if biases:
        arrays |= {f"{prefix}/linear/b": rng.normal(size=4 * width), f"{prefix}/linear_1/b": rng.normal(size=width)}
    return arrays


def embedding(rng: np.random.Generator, width: int) -> Arrays:
    """Of tokens that are so wide, into the residual stream."""
    return {"transformer/emb/w": rng.normal(size=(width, D))} | mlp("transformer/input_mlp", rng, biases=True)


TIED = "transformer/multi_head_attention"
UNTIED = "transformer/~trans_block/layer_{}"


def tied(rng: np.random.Generator, **options: Any) -> Arrays:
    return block(TIED, rng, **options)


def untied(rng: np.random.Generator, layers: int = 3, **options: Any) -> Arrays:
    arrays: Arrays = {}
    for layer in range(layers):
        arrays |= block(UNTIED.format(layer), rng, **options)
    return arrays


def write(folder: Path, arrays: Arrays, name: str = "theirs.npz") -> Path:
    np.savez(folder / name, **arrays)
    return folder / name


def refusal(path: Path, error: type[Exception] = CheckpointRefused, **model_args: Any) -> str:
    with pytest.raises(error) as caught:
        load_all(path, model_args=model_args)
    message = str(caught.value)
    assert type(caught.value) is error
    assert "\n" not in message
    assert error is UsageError or path.name in message
    return message
