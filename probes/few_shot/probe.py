"""What every probe of few-shot tasks asks its user, and the tasks that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from ...data.errors import UsageError
from ...data.few_shot.drawn import draw_tasks
from ...data.few_shot.examples import Examples
from ...data.few_shot.generated import generated_tasks
from ...data.few_shot.reading import read_examples
from ...data.few_shot.tasks import FewShotTask, FewShotTasks
from ...data.mapping import LabelMapping
from ...models.language_model import LanguageModel
from ..probe import Probe
from .prompts import Prompts, prompts_of
from .template import TEMPLATE

COLUMNS = ("input", "output")


@dataclass(frozen=True)
class FewShotProbe(Probe):
    """Settings of the tasks.

    few_shot:   a file of examples, each an input with its output; without one, tasks are generated
    columns:    what the file calls input and output, where it has other names: text,label
    template:   how an example of text is written, with {input} and {output} in it
    task:       which tasks are generated: "label-mapping", classes with labels to learn, or "recall", pairs to say
                again; by default what the model was trained on, else recall
    k:          demonstrations of each class
    n_queries:  of each class, at most
    n_tasks:    how many tasks are measured
    """

    few_shot: str | None = None
    columns: tuple[str, str] | None = None
    template: str | None = None
    task: Literal["label-mapping", "recall"] | None = None
    k: Annotated[int, Ge(1)] = 4
    n_queries: Annotated[int, Ge(1)] = 4
    n_tasks: Annotated[int, Ge(2)] = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.few_shot is not None and self.task is not None:
            raise UsageError(f"{self.name}: few_shot and task are both given; expected a file, or a kind of tasks")
        for name in ("columns", "template"):
            if self.few_shot is None and getattr(self, name) is not None:
                raise UsageError(f"{self.name}: {name} is given without few_shot; it says how a file is read")

    def fingerprint(self) -> dict[str, str]:
        return {} if self.few_shot is None else {"few_shot_sha256": self._examples(self.few_shot).sha256}

    def tasks(self, subject: LanguageModel, seed: int, n: int) -> FewShotTasks:
        """So many tasks; a larger number only adds some."""
        if self.few_shot is not None:
            return draw_tasks(self._examples(self.few_shot), n, self.k, self.n_queries, seed)
        own = LabelMapping.recorded(subject.source.record, subject.shape.d_vocab)
        vocabulary = [token for token in range(subject.shape.d_vocab) if token != subject.bos]
        return generated_tasks(self.task, vocabulary, n, self.k, self.n_queries, seed, own)

    def prompts(self, subject: LanguageModel, tasks: Sequence[FewShotTask]) -> list[Prompts]:
        """Tasks as the model reads them."""
        return prompts_of(subject, tasks, TEMPLATE if self.template is None else self.template)

    def _examples(self, path: str) -> Examples:
        return read_examples(path, self.columns or COLUMNS)
