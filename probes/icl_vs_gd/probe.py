"""Does a language model learn in context as gradient descent on the same demonstrations would?

The same demonstrations once in the prompt, and once as steps of gradient descent on the model's own W_K and W_V (Dai et
al. 2023, arXiv 2212.10559; Deutch et al. 2023, arXiv 2311.07772; Shen et al. 2024, arXiv 2310.08540). Answers and
attention of both are compared, beside what has no mechanism and beside what is gradient descent.

Data runs one way: `given` -> `choosing`, with `tuning` -> `runs`, with `fine_tuned` and `seen` -> `inside`, `answered`
-> `inside_measures`, `behaviour_measures` -> `verdicts` -> `claim`. The order of work is in `measuring`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt

from ...data.errors import UsageError
from ...models.differentiable import Differentiable, Which, differentiable
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..few_shot.probe import FewShotProbe
from ..findings import Findings
from ..measure import Claim, Measure
from ..parts import Parts
from ..probe import Cost, OverTraining, Progress, silent
from .answered import Answered
from .choosing import Absent, Chosen
from .claim import icl_vs_gd_claim
from .cost import Sizes, cost_of, memory_of
from .facts import facts_of
from .fine_tuned import Stepped
from .given import Given
from .how import How
from .measuring import Work, findings
from .orders import in_orders
from .over_training import over_training
from .passes import Passes, counted
from .patches import patching
from .tuning import Cell, Tuned
from .untrained import Null

FEW = 8
"""Tasks by which the size of the others is judged."""


@dataclass(frozen=True)
class ICLvsGD(FewShotProbe):
    """Settings of the probe, beside those of the tasks.

    rules:         gradient descent on all demonstrations ("gd"), layer by layer ("lcgd"), or one at a time ("sgd")
    parameters:    what it changes: W_K and W_V of every layer ("attention"), or all parameters
    rates:         learning rates that are tried
    steps:         numbers of steps that are tried
    tuning_tasks:  tasks on which both are chosen, beside those that are measured
    orders:        orders of the demonstrations that are compared
    top:           most probable tokens that overlaps compare; by default 10, or an eighth of a small vocabulary
    untrained:     models of the same shape with fresh weights that are compared in the same way
    matching:      whether parameters are fitted to attention in context, too: what descent could do at best
    """

    name: ClassVar[str] = "icl-vs-gd"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    batch_size: ClassVar[int] = 64
    part_kinds: ClassVar[tuple[type, ...]] = (Absent, Answered, Cell, Chosen, Null, Passes, Stepped, Tuned)

    rules: tuple[Literal["gd", "lcgd", "sgd"], ...] = ("gd", "lcgd")
    parameters: Literal["attention", "all"] = "attention"
    rates: tuple[Annotated[float, Gt(0)], ...] = (0.03, 0.1, 0.3, 1.0, 3.0)
    steps: tuple[Annotated[int, Ge(1)], ...] = (1, 4, 16, 64)
    tuning_tasks: Annotated[int, Ge(1)] = 8
    orders: Annotated[int, Ge(2)] = 4
    top: Annotated[int, Ge(1)] | None = None
    untrained: Annotated[int, Ge(0)] = 2
    matching: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("rules", "rates", "steps"):
            given = getattr(self, name)
            if not given or len(set(given)) < len(given):
                raise UsageError(f"{self.name}: {name} = {list(given)}; expected at least one, and each once")

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable(
                "this is no language model. icl-vs-gd compares what a language model learns in context with what"
                " gradient descent does"
            )
        model = self._model(subject)
        if isinstance(model, NotApplicable):
            return model
        if reason := subject.not_shown.get("attn_out"):
            return NotApplicable(f"what the attention of this model writes cannot be watched: {reason}")
        return None

    def memory(self, subject: Subject) -> int | None:
        if not isinstance(subject, LanguageModel):
            return None
        return memory_of(subject, self._how, self._sizes(subject), self.batch_size)

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, LanguageModel):
            return None
        return cost_of(subject, self._how, self._sizes(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        return self.measure_in_parts(subject, seed, batch_size, Parts(), progress)

    def measure_in_parts(
        self, subject: Subject, seed: int, batch_size: int, kept: Parts, progress: Progress = silent
    ) -> Findings:
        if not isinstance(subject, LanguageModel) or isinstance(model := self._model(subject), NotApplicable):
            raise UsageError(f"{self.name} measures other models; applies() says which")
        passes = Passes()
        patches = patching(subject, _least(subject))
        read = partial(self.prompts, subject)
        given = Given.of(self.tasks(subject, seed, self.n_tasks + self.tuning_tasks), self.n_tasks, read, seed)
        work = Work(
            counted(model, batch_size, passes),
            patches if isinstance(patches, NotApplicable) else counted(patches, batch_size, passes),
            given,
            in_orders(given.tasks, self.orders, seed, read),
            self._how,
            facts_of(subject, given.tasks, self.few_shot is not None, self.parameters == "all"),
            seed,
            kept,
        )
        return findings(work, progress)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return icl_vs_gd_claim(measures, sources)

    def over_training(self, by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
        return over_training(by_step)

    @property
    def _how(self) -> How:
        return How(**{field.name: getattr(self, field.name) for field in fields(How)})

    def _sizes(self, subject: LanguageModel) -> Sizes:
        """As those of the first few tasks."""
        tasks = self.tasks(subject, 0, min(FEW, self.n_tasks)).tasks
        conflict, other = all(task.may_conflict for task in tasks), len({task.rule for task in tasks}) > 1
        return Sizes.of(self.prompts(subject, tasks), self.n_tasks, self.tuning_tasks, conflict, other)

    def _model(self, subject: LanguageModel) -> Differentiable | NotApplicable:
        which: Which = "all" if self.parameters == "all" else "keys and values"
        return differentiable(subject, which, _least(subject))


def _least(subject: LanguageModel) -> torch.dtype:
    """Steps of gradient descent end elsewhere in float32; some devices have nothing finer."""
    return torch.float32 if subject.device.type == "mps" else torch.float64
