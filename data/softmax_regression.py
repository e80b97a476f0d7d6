"""Softmax regression: the tasks of Li et al. 2023 (arXiv 2304.13276).

A task is a document A of n tokens, each d wide, and targets b = softmax(A x*), a probability for each token. Each task
draws its own A and its own x*. The paper does not print its distributions: these are ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor

from .batch import Batch, generator, tensors_sha256
from .errors import TaskError
from .recipe import Recipe
from .settings import check_settings
from .task_arrays import first_tasks, read_arrays

Tasks = tuple[Float[Tensor, "task token d_in"], Float[Tensor, "task token"]]
"""A and b."""
SUM_TOLERANCE = 1e-5
"""By so much a row of a user's b may miss 1: sums of float32 numbers do."""


@dataclass(frozen=True)
class SoftmaxRegression:
    """A_ij ~ N(0, input_scale² / d_in), x* ~ N(0, weight_scale²), b = softmax(A x* + N(0, noise²)).

    n_tokens:      tokens of a task, n
    d_in:          width of a token, d
    input_scale:   about the length of a token
    weight_scale:  standard deviation of each entry of x*
    noise:         standard deviation of what is added to A x*, so that b stays a probability vector
    """

    family: ClassVar[str] = "softmax-regression"

    n_tokens: Annotated[int, Ge(2)] = 25
    d_in: Annotated[int, Ge(1)] = 20
    input_scale: Annotated[float, Gt(0)] = 2.0
    weight_scale: Annotated[float, Ge(0)] = 2.0
    noise: Annotated[float, Ge(0)] = 0.0

    def __post_init__(self) -> None:
        check_settings(self, "tasks: ", TaskError)

    def sample(self, n: int, seed: int) -> Batch:
        """`n` tasks in float64 on the CPU: inputs A [task, token, d_in], targets b [task, token]."""
        if n < 1:
            raise TaskError(f"n = {n} tasks; expected at least 1")
        A, b = self.draw(n, generator(seed, self.family), torch.float64)
        return Batch(A, b, Recipe(self.family, asdict(self), seed, n, tensors_sha256(A, b)))

    def draw(self, n: int, rng: torch.Generator, dtype: torch.dtype) -> Tasks:
        """A first, then x*, then noise."""
        A = torch.randn(n, self.n_tokens, self.d_in, generator=rng, dtype=dtype)
        A *= self.input_scale / self.d_in**0.5
        x = self.weight_scale * torch.randn(n, self.d_in, 1, generator=rng, dtype=dtype)
        scores = (A @ x)[..., 0]
        if self.noise:
            scores += self.noise * torch.randn(scores.shape, generator=rng, dtype=dtype)
        return A, scores.softmax(dim=-1)


def load_softmax_tasks(path: str | Path, limit: int | None = None) -> Batch:
    """Read a user's own `A` [task, n, d] and `b` [task, n] from an `.npz`. Each row of b is a probability vector.

    `limit` keeps the first `limit` tasks; the recipe's digest is of those.
    """
    path = Path(path)
    A, b = first_tasks(limit, *read_arrays(path, "A", "b"))
    if A.ndim != 3 or 0 in A.shape or A.shape[1] < 2:
        raise TaskError(
            f"{path.name}: A has shape {list(A.shape)}; expected [task, n, d] with at least one task and two tokens:"
            " the softmax over one token is 1, whatever x is"
        )
    if b.shape != A.shape[:2]:
        raise TaskError(
            f"{path.name}: b has shape {list(b.shape)}; expected {list(A.shape[:2])}, a number for each token"
        )
    _check_probabilities(path, b)
    inputs, targets = torch.from_numpy(A.copy()), torch.from_numpy(b.copy())
    recipe = Recipe("file", {"file": path.name, "limit": limit}, None, len(A), tensors_sha256(inputs, targets))
    return Batch(inputs, targets, recipe)


def _check_probabilities(path: Path, b: Float[np.ndarray, "task token"]) -> None:
    if (b < 0).any():
        task, token = (int(i) for i in np.argwhere(b < 0)[0])
        raise TaskError(f"{path.name}: b holds {b[task, token]:g} at [{task}, {token}]; expected probabilities")
    sums = b.sum(axis=1)
    if (wrong := np.abs(sums - 1) > SUM_TOLERANCE).any():
        task = int(np.argmax(wrong))
        raise TaskError(
            f"{path.name}: b of task {task} sums to {sums[task]:.6g}; expected probability vectors, which sum to 1;"
            " divide each row by its sum"
        )
