"""One step of gradient descent from 0 on the same pairs, with the learning rate that suits the labels best.

ŷ = (η / N) Σ_i y_i <x_i, x_q>,    η = Σ <p, y> / Σ <p, p> over tuning tasks, p the answers at η = 1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ..algorithms.contexts import Contexts
from ..comparing.folds import Fold


def unit_step(tasks: Batch, d_in: int) -> Float[Tensor, "task d_out"]:
    """The answers at a learning rate of 1."""
    held = Contexts.of(tasks.inputs, d_in)
    return (
        einsum(held.Y, held.X, held.query, "task pair d_out, task pair d_in, task d_in -> task d_out") / held.n_context
    )


@dataclass(frozen=True)
class TunedStep:
    """products: <p, y> and <p, p> of every tuning task"""

    products: Float[np.ndarray, "task two"]

    @classmethod
    def on(cls, tuning: Batch, d_in: int) -> TunedStep:
        answers, labels = unit_step(tuning, d_in), tuning.targets.cpu().double()
        return cls(np.stack([(answers * other).sum(dim=1).numpy() for other in (labels, answers)], axis=1))

    @property
    def rate(self) -> float:
        """η; 0 where no pair says anything of the query."""
        py, pp = self.products.sum(axis=0)
        return float(py / pp) if pp > 0 else 0.0


def pooled(steps: Sequence[TunedStep]) -> TunedStep:
    """On the tuning tasks of all folds."""
    return TunedStep(np.concatenate([step.products for step in steps]))


def step_answers(folds: Sequence[Fold], steps: Sequence[TunedStep], d_in: int) -> Float[Tensor, "task d_out"]:
    """Of every task that is evaluated, at the rate of its own tuning tasks."""
    pairs = zip(folds, steps, strict=True)
    return torch.cat([step.rate * unit_step(fold.evaluation, d_in) for fold, step in pairs])
