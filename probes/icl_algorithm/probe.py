"""Which algorithm does this model run in context? A contest of named ones (Akyürek et al. 2023; Fu et al. 2024)

"Gradient descent" is a claim about an inner model, its loss, a rule and a number of steps. A cosine of .9 with gradient
descent is about what a model scores that solves least squares. So every family of algorithms is fitted to the model's
own predictions on tuning tasks, the strongest form of its claim, and all are judged on tasks that nothing was fitted
on. Among those that are equally close the one with the fewest fitted settings is named, and "not separated" is an
answer.

The line of a measurement: `search` (one family's best member) -> `contest` -> `measures`, `setting_measures`, `order`
-> `standing` -> `claim` and `figures`. The families themselves are in the room `probes/algorithms`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...data.recipe import file_sha256
from ...models.subject import Regressor, Source, Subject
from ..algorithms.families import Family
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Progress, silent
from ..regression.probe import RegressionProbe
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from .claim import contest_claim
from .contest import hold
from .measures import behaviour_measures
from .memory import cost, memory_in_bytes
from .names import FAMILIES
from .order import order_answers, order_share
from .setting_measures import setting_measures
from .task_set import task_set_family


@dataclass(frozen=True)
class ICLAlgorithm(RegressionProbe):
    """Settings of the contest; those of the tasks and of how the model is read stand in `RegressionProbe`.

    task_set:  a `.npz` with `weights` [member, d_out, d_in] or [member, d_in]: every task that there can be. Bayes'
               rule over them then takes part
    """

    name: ClassVar[str] = "icl-algorithm"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    task_set: str | None = None

    def fingerprint(self) -> dict[str, str]:
        own = {} if self.task_set is None else {"task_set_sha256": file_sha256(self.task_set)}
        return super().fingerprint() | own

    def memory(self, subject: Subject) -> int | None:
        return memory_in_bytes(self._tasks_in_bytes(subject)) if isinstance(subject, Regressor) else None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        return cost(subject, self._tasks_in_bytes(subject), self._n_context(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        contest = hold(examined, self._families(examined.subject), lambda done: progress("fitting rules", 0.7 * done))
        progress("comparing", 0.9)
        measures, arrays = behaviour_measures(contest, seed)
        measures |= setting_measures(contest.entries)
        measures["order_share"] = order_share(order_answers(examined), seed)
        signs = {null: [one.sign for one in drawn] for null, drawn in contest.nulls.items()}
        measures["readout_sign"] = sign_measure(examined.sign, signs, given=self.sign is not None)
        readings = {null: [one.reading for one in drawn] for null, drawn in contest.nulls.items()}
        measures |= reading_measures(examined.reading, readings, examined.requested_layout is not None, seed)
        progress("done", 1.0)
        return Findings(measures, arrays, examined.splits.recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return contest_claim(measures, sources, self.tasks, self.sign)

    def _families(self, subject: Regressor) -> tuple[Family, ...]:
        if self.task_set is None:
            return FAMILIES
        return (*FAMILIES, task_set_family(self.task_set, subject))
