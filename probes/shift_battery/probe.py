"""Which rule does this model follow on other tasks than those of its training? A battery of shifts

On tasks as in training gradient descent, least squares and a memorised prior may all answer alike. Elsewhere they part:
with inputs c times as large, one step of gradient descent answers c² times too much, and least squares does not care
(the laws of Zhang, Frei & Bartlett 2024, arXiv 2306.09927). So rules are fitted to the model's predictions on tasks as
in training, kept as they are, and asked with the model about tasks that were shifted, little by little: scale of the
inputs, length of the context, noise of the labels, covariance, scale of the query, mean of the teachers, order of the
pairs.

The line of a measurement: `tasks` (one draw, every strength) and `rules` (fitted, then frozen) -> `battery` (what all
answer) -> `ratios` -> `strength_measures`, `measures`, `setting_measures` -> `standing` -> `claim` and `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...models.subject import Regressor, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Progress, silent
from ..regression.probe import RegressionProbe
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from ..regression.splits import EVALUATION_TASKS
from .battery import hold
from .claim import battery_claim
from .measures import battery_measures
from .memory import cost, memory_in_bytes
from .names import UNTRAINED
from .setting_measures import setting_measures


@dataclass(frozen=True)
class ShiftBattery(RegressionProbe):
    """Those of the tasks, and of how the model is read, stand in `RegressionProbe`; there is no other."""

    name: ClassVar[str] = "shift-battery"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, Regressor):
            return None
        return memory_in_bytes(self._tasks_in_bytes(subject), self.limit or EVALUATION_TASKS)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        return cost(subject, self.limit or EVALUATION_TASKS, self._n_context(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        battery, nulls, recipe = hold(examined, lambda stage, done: progress(stage, 0.05 + 0.85 * done))
        progress("resampling", 0.9)
        measures = battery_measures(battery, nulls, seed) | setting_measures(battery.frozen)
        signs = {UNTRAINED: [null.sign for null in nulls]} if nulls else {}
        measures["readout_sign"] = sign_measure(examined.sign, signs, given=self.sign is not None)
        measures |= reading_measures(examined.reading, {}, examined.requested_layout is not None, seed)
        arrays = {
            f"{kind}_{name}": held.numpy()
            for name, along in battery.along.items()
            for kind, held in (("answer", along.model), ("label", along.targets))
        }
        progress("done", 1.0)
        recipes = {**examined.splits.recipes, "evaluation": recipe}
        return Findings(measures, arrays | {"orders": battery.orders.movedim(0, 1).numpy()}, recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return battery_claim(measures, sources, self.tasks, self.sign)
