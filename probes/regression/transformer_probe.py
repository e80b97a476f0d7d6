"""A probe that looks inside of regression models: transformers, whose layers it knows, and no wrapped predictors."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from ...models.regressors import TransformerRegressor
from ...models.subject import Subject
from ..probe import Cost
from .probe import RegressionProbe


@dataclass(frozen=True)
class TransformerProbe(RegressionProbe):
    """Settings of the tasks and of how the model is read: those of `RegressionProbe`."""

    @staticmethod
    @abstractmethod
    def memory_in_bytes(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> int:
        """At the peak, beside Python, its libraries and the model."""

    @staticmethod
    @abstractmethod
    def work(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
        """About what measuring takes."""

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, TransformerRegressor):
            return None
        return self.memory_in_bytes(subject, self._tasks_in_bytes(subject), self._n_context(subject), self.batch_size)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, TransformerRegressor):
            return None
        return self.work(subject, self._tasks_in_bytes(subject), self._n_context(subject), batch_size)
