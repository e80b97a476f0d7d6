"""Fresh regression tasks at every training step, in float32.

The distribution is that of the family; the random numbers differ from those of its `sample`.
Evaluation needs float64 and a digest. Training needs millions of tasks, and drawing them takes much of its time.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from jaxtyping import Float

from .batch import generator
from .recipe import named_seed
from .regression import GaussianRegression, LinearRegression
from .sine import SineRegression

TOKENS_AT_ONCE = 4  # their random bits stay in the cache; an even number, because a 64-bit draw is for two inputs

Streamed = LinearRegression | SineRegression


def draw_into(
    tokens: Float[np.ndarray, "feature token task"],
    targets: Float[np.ndarray, "d_out task"],
    tasks: Streamed,
    seed: int,
    step: int,
) -> None:
    """Overwrite tokens and query labels with one seed's tasks, which depend on its number and the step alone.

    In this order sums over features or tokens run along rows of tasks, and contexts are one matrix with a row for each
    feature.
    """
    x, y = tokens[: tasks.d_in], tokens[tasks.d_in :]
    rng = np.random.Generator(np.random.SFC64([_task_seed(seed), step]))
    if isinstance(tasks, SineRegression):
        _fill_uniform(x, tasks.input_range, rng)
        u = rng.random((1, 1, targets.shape[1]), dtype=np.float32)
        y[:] = tasks.labels(*map(torch.from_numpy, (x, u))).numpy()
    else:
        _fill_linear(x, y, tasks, seed, step, rng)
    targets[:] = y[:, -1]
    y[:, -1] = 0.0


def _fill_linear(
    x: Float[np.ndarray, "d_in token task"],
    y: Float[np.ndarray, "d_out token task"],
    tasks: LinearRegression,
    seed: int,
    step: int,
    rng: np.random.Generator,
) -> None:
    """Inputs, and the labels of a teacher for each task."""
    if isinstance(tasks, GaussianRegression):
        rng.standard_normal(out=x, dtype=np.float32)
        x *= np.sqrt(tasks.variances, dtype=np.float32)[:, None, None]
    else:
        _fill_uniform(x, tasks.input_range, rng)
    w = rng.standard_normal((tasks.d_in, tasks.d_out, x.shape[2]), dtype=np.float32)
    w *= np.float32(tasks.weight_scale)
    np.einsum("itn,ion->otn", x, w, out=y)
    if tasks.corrupts_labels:
        context = torch.from_numpy(y[:, :-1]).permute(2, 1, 0)
        tasks.corrupt_labels(context, generator(seed, "training labels", step))


@cache
def _task_seed(seed: int) -> int:
    return named_seed(seed, "training tasks")


def _fill_uniform(x: Float[np.ndarray, "d_in token task"], width: float, rng: np.random.Generator) -> None:
    """Inputs uniform on ±width/2. A 32-bit integer over 2^32 is uniform on ±1/2, with half the bits of a float64.

    Token after token is drawn. The top bit of each draw is turned over, as `rng.integers` does for all of int64.
    """
    d_in, n_tokens, n = x.shape
    for first in range(0, n_tokens, TOKENS_AT_ONCE):
        part = x[:, first : first + TOKENS_AT_ONCE]
        draws = rng.bit_generator.random_raw((part.size + 1) // 2)
        draws ^= np.uint64(1 << 63)
        part[:] = draws.view(np.int32)[: part.size].reshape(-1, d_in, n).swapaxes(0, 1)
        part *= np.float32(width / 2**32)
