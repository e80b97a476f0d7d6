"""Fresh regression tasks at every training step, in float32, for several seeds at once.

The distribution is that of `LinearRegression`; the random numbers differ from those of `LinearRegression.sample`.
Evaluation needs float64 and a digest. Training needs millions of tasks, and drawing them takes much of its time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from .batch import generator
from .recipe import named_seed
from .regression import LinearRegression


def draw_step(
    tasks: LinearRegression, n: int, seeds: Sequence[int], step: int
) -> tuple[Float[Tensor, "seed task token feature"], Float[Tensor, "seed task d_out"]]:
    """`n` tasks for each seed: tokens and query labels.

    A pure function of its arguments: a seed's batch at one step does not depend on the other seeds or on interruptions.
    Stored as [seed, token, feature, task], the fastest order for `models.own.merged`.
    """
    d_in, d_out, n_context = tasks.d_in, tasks.d_out, tasks.n_context
    tokens = torch.empty(len(seeds), n_context + 1, d_in + d_out, n)
    for row, seed in zip(tokens, seeds, strict=True):
        rng = np.random.Generator(np.random.SFC64([named_seed(seed, "training tasks"), step]))
        x, y = row[:, :d_in], row[:, d_in:]
        # a 32-bit integer over 2^32 is uniform on ±1/2, with half the random bits of a float64
        torch.mul(_int32(rng, x.numel()).view(x.shape), tasks.input_range / 2**32, out=x)
        w = _normal(rng, (d_in, d_out, n)) * tasks.weight_scale
        for output in range(d_out):
            torch.sum(x * w[:, output], dim=1, out=y[:, output])
        context = rearrange(y[:-1], "token d_out task -> task token d_out")
        tasks.corrupt_labels(context, generator(seed, "training labels", step))
    targets = tokens[:, -1, d_in:].clone()
    tokens[:, -1, d_in:] = 0.0
    return (
        rearrange(tokens, "seed token feature task -> seed task token feature"),
        rearrange(targets, "seed d_out task -> seed task d_out"),
    )


def _int32(rng: np.random.Generator, n: int) -> Tensor:
    """`n` integers uniform over all of int32, two from each 64-bit draw."""
    low, high = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    words = rng.integers(low, high, size=(n + 1) // 2, dtype=np.int64, endpoint=True)
    return torch.from_numpy(words.view(np.int32)[:n])


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
