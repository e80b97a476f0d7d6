"""Does attention shift the data as gradient descent shifts the weights? (Li et al. 2023, arXiv 2304.13276)

The paper puts two ways to change f(A, x) = softmax(A x) side by side: a gradient step on x, and a layer of attention
that changes A. Both amount to solving the problem with other targets, and both shifts of the targets are bounded by the
same kind of constant. That the shifts are equal is not said. Here both are measured, beside the bounds:

    of a model of softmax regression, on tasks: its layer against gradient descent and other solvers, and its weights
    of a language model, on text: what each layer's own write shifts in the attention of its heads

Data runs one way. Tasks: `splits` -> `fits` -> `behaviours`, `nulls` -> `measuring`, with `task_shifts` and `weights`.
Heads: `head_sequences` -> `written_states` -> `head_shifts` -> `head_measures`. The formulas of both are in
`formulas.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...data.softmax_regression import SoftmaxRegression, load_softmax_tasks
from ...models.language_model import LanguageModel
from ...models.softmax_regressors import SoftmaxRegressor
from ...models.subject import NotApplicable, Source, Subject
from ..comparing.memo import LastResult
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, OverTraining, Probe, Progress, silent
from .claim import task_claim
from .head_claim import head_claim
from .head_measures import head_findings
from .head_settings import HeadSettings
from .measuring import task_findings
from .memory import head_cost, head_memory, task_cost, task_memory
from .over_training import over_training
from .setup import Setup
from .splits import EVALUATION_TASKS, Splits, file_splits, generated_splits, recorded_law, task_file
from .written_states import no_head_shifts

OF_HEADS = ("text", "tokens", "n_sequences", "context", "queries", "untrained")


@dataclass(frozen=True)
class SoftmaxRegressionProbe(Probe):
    """Settings of the probe; None means: from the checkpoint's own record, or fitted.

    tasks:          a `.npz` of the user's own tasks, A [task, n, d] and b [task, n]; evaluated whole
    limit:          the first so many of them; without a file, how many tasks are generated; of a text or a file of
                    tokens nothing
    n_tokens, input_scale, weight_scale, noise:  the law of generated tasks, where it differs from the one recorded
    learning_rate:  of the one gradient step
    text:           for a language model: a file of text, read with the model's own tokenizer
    tokens:         a file of token ids in its place; without either, text of the shipped grammar
    n_sequences:    sequences that are read, at most; by default 16
    context:        tokens of a sequence, BOS included; by default the model's context, at most 128
    queries:        queries of a sequence that are looked at
    untrained:      language models of the same shape with fresh weights that read the same sequences
    """

    name: ClassVar[str] = "softmax-regression"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    batch_size: ClassVar[int] = 512

    tasks: str | None = None
    limit: Annotated[int, Ge(1)] | None = None
    n_tokens: Annotated[int, Ge(2)] | None = None
    input_scale: Annotated[float, Gt(0)] | None = None
    weight_scale: float | None = None
    noise: float | None = None
    learning_rate: Annotated[float, Gt(0)] | None = None
    text: str | None = None
    tokens: str | None = None
    n_sequences: Annotated[int, Ge(2)] | None = None
    context: Annotated[int, Ge(2)] | None = None
    queries: Annotated[int, Ge(1)] = 8
    untrained: Annotated[int, Ge(0)] = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tasks is not None and self._law:
            raise UsageError(
                f"{self.name}: {', '.join(self._law)} and tasks are given; a file of tasks leaves nothing to draw"
            )
        if self.text is not None and self.tokens is not None:
            raise UsageError(f"{self.name}: text and tokens are both given; expected one of them")

    @property
    def _law(self) -> dict[str, Any]:
        names = ("n_tokens", "input_scale", "weight_scale", "noise")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def applies(self, subject: Subject) -> NotApplicable | None:
        if isinstance(subject, SoftmaxRegressor):
            return self._unread(("text", "tokens"), "this model answers tasks and reads no tokens")
        if isinstance(subject, LanguageModel):
            return self._unread(("tasks",), "this model reads tokens and answers no tasks") or no_head_shifts(subject)
        return NotApplicable(
            "this model does not answer softmax-regression tasks, and is no language model. softmax-regression measures"
            " models of these two kinds"
        )

    def _unread(self, names: tuple[str, ...], why: str) -> NotApplicable | None:
        """A file was given that this model cannot read: who gave it expects to hear of it."""
        given = [name for name in names if getattr(self, name) is not None]
        return NotApplicable(f"{why}, but {' and '.join(given)} is given; leave it out") if given else None

    def fingerprint(self) -> dict[str, str]:
        given = {"tasks": self.tasks, "text": self.text, "tokens": self.tokens}
        return {f"{name}_sha256": file_sha256(path) for name, path in given.items() if path is not None}

    def memory(self, subject: Subject) -> int | None:
        if isinstance(subject, SoftmaxRegressor):
            return task_memory(*self._size_of_tasks(subject), subject.d_in)
        if isinstance(subject, LanguageModel):
            return head_memory(subject, self._head_settings, self.batch_size)
        return None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if isinstance(subject, SoftmaxRegressor):
            return task_cost(*self._size_of_tasks(subject), batch_size)
        return head_cost(subject, self._head_settings, batch_size) if isinstance(subject, LanguageModel) else None

    def _size_of_tasks(self, subject: SoftmaxRegressor) -> tuple[int, int]:
        """How many tasks are evaluated, of how many tokens."""
        if self.tasks is not None:
            inputs = load_softmax_tasks(self.tasks, self.limit).inputs
            return inputs.shape[0], inputs.shape[1]
        return self.limit or EVALUATION_TASKS, self._law_of(subject).n_tokens

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if isinstance(subject, SoftmaxRegressor):
            progress("drawing tasks", 0.0)
            return task_findings(self._setup(subject, seed, batch_size), progress)
        if isinstance(subject, LanguageModel):
            return head_findings(subject, self._head_settings, seed, batch_size, progress)
        raise UsageError(f"{self.name} measures other models; applies() says which")

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return task_claim(measures, sources, self.tasks) if "loss" in measures else head_claim(measures, sources)

    def over_training(self, by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
        return over_training(by_step)

    @property
    def _head_settings(self) -> HeadSettings:
        given = {name: getattr(self, name) for name in OF_HEADS}
        return HeadSettings(**{name: value for name, value in given.items() if value is not None})

    def _setup(self, subject: SoftmaxRegressor, seed: int, batch_size: int) -> Setup:
        return Setup(subject, self._splits(subject, seed), self.learning_rate, seed, batch_size)

    def _splits(self, subject: SoftmaxRegressor, seed: int) -> Splits:
        if self.tasks is not None:
            return self._drawn(file_splits, task_file(self.tasks, self.limit, subject.d_in))
        return self._drawn(generated_splits, self._law_of(subject), self.limit or EVALUATION_TASKS, seed)

    def _law_of(self, subject: SoftmaxRegressor) -> SoftmaxRegression:
        """The law that the checkpoint was trained on, changed where the user says so."""
        return SoftmaxRegression(**{**recorded_law(subject.source.record), "d_in": subject.d_in, **self._law})

    @cached_property
    def _drawn(self) -> LastResult:
        """The tasks drawn last. The seeds of a family share them, and all that is fitted on them."""
        return LastResult()
