"""Setup: one subject, the tasks it is examined on, and the candidates' settings that were fitted on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ...data.batch import Batch
from ...models.softmax_regressors import SoftmaxRegressor
from ..comparing.behaviour import Behaviour, Compared
from .behaviours import behaviour, smoother_behaviour, solver_behaviours
from .fits import Settings, Smoother, fit_settings, fit_smoother
from .names import CANDIDATES, SMOOTHER
from .splits import Splits


@dataclass(frozen=True)
class Fitted:
    """What one fold's evaluation tasks are answered with."""

    settings: Settings
    smoother: Smoother


@dataclass(frozen=True)
class Setup:
    """One subject's measurement.

    learning_rate:  of the one gradient step; None: fitted
    seed:           of nulls and resamples
    batch_size:     tasks in one forward pass
    """

    subject: SoftmaxRegressor
    splits: Splits
    learning_rate: float | None
    seed: int
    batch_size: int

    def fitted(self) -> tuple[Fitted, ...]:
        """One a fold, on its tuning tasks."""
        return tuple(
            Fitted(
                fit_settings(fold.tuning, self.learning_rate),
                fit_smoother(fold.tuning, self.behaviour(fold.tuning).prediction),
            )
            for fold in self.splits.folds
        )

    def behaviour(self, tasks: Batch, subject: SoftmaxRegressor | None = None) -> Behaviour:
        """Of the subject, or of another model in its place, at its own precision."""
        subject = subject or self.subject
        given = tasks.to(subject.device, subject.dtype)
        return behaviour(subject.predict, given.inputs, given.targets, self.batch_size)

    def candidates(self, tasks: Batch, fitted: Fitted) -> dict[str, Behaviour]:
        """By name, in the order of figures."""
        found = dict(solver_behaviours(tasks, fitted.settings, self.batch_size))
        found[SMOOTHER.name] = smoother_behaviour(tasks, fitted.smoother, self.batch_size)
        return {name: found[name] for name in CANDIDATES}

    def evaluation(self, fitted: Sequence[Fitted]) -> Compared:
        """All evaluation tasks, in their order; a fold's are answered with what was fitted on its tuning tasks."""
        folds = [fold.evaluation for fold in self.splits.folds]
        candidates = [self.candidates(tasks, one) for tasks, one in zip(folds, fitted, strict=True)]
        return Compared(
            _concatenated([self.behaviour(tasks) for tasks in folds]),
            {name: _concatenated([fold[name] for fold in candidates]) for name in CANDIDATES},
            self.splits.evaluation.targets,
        )


def _concatenated(folds: Sequence[Behaviour]) -> Behaviour:
    return Behaviour(torch.cat([f.prediction for f in folds]), torch.cat([f.sensitivity for f in folds]))
