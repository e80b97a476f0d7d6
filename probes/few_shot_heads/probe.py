"""Which attention heads carry few-shot learning? (Todd et al. 2024, arXiv 2310.15213)

Function-vector heads carry a task: put the mean of such a head's output over prompts of the task into a prompt whose
labels carry no rule, and the model answers more queries of the task rightly. Yin & Steinhardt 2025 (arXiv 2502.14010)
find that these heads, not induction heads, carry few-shot learning in larger models.

Data runs one way: tasks -> `shown` (halves, prompts) -> `patching` (indirect effects, on one half) -> `choosing` ->
`ablating` (sets of heads, on the other half) -> measures -> verdicts and claim.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from ...data.errors import UsageError
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..few_shot.probe import FewShotProbe
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Cost, Progress, silent
from .claim import few_shot_claim
from .given import given_digest, given_heads
from .how import How
from .measuring import few_shot_findings
from .memory import cost_of, memory_of
from .verdicts import head_verdicts

_NO_TOKENS = "this is no language model; few-shot-heads measures language models, on examples of inputs and labels"
_BIDIRECTIONAL = "this model's attention is bidirectional; few-shot learning is measured on the next token"
_NO_Z = "the output of single heads is not shown: "


@dataclass(frozen=True)
class FewShotHeads(FewShotProbe):
    """Settings of the heads.

    n_tasks:      how many tasks are measured; half of them choose the heads, the other half judge them
    given_heads:  heads to compare with: names such as L1H0,L1H2, or a report of induction-heads (folder or
                  report.json), whose induction heads are taken
    n_heads:      heads of a set of the strongest; by default at most 10, and at most a sixth of all
    random_sets:  random sets of heads that are ablated beside each set
    level:        false discovery rate over heads below which a head is called
    """

    name: ClassVar[str] = "few-shot-heads"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    batch_size: ClassVar[int] = 64

    n_tasks: Annotated[int, Ge(4)] = 64
    given_heads: str | None = None
    n_heads: Annotated[int, Ge(1)] | None = None
    random_sets: Annotated[int, Ge(1)] = 20
    level: Annotated[float, Gt(0), Lt(1)] = 0.05

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable(_NO_TOKENS)
        if not subject.shape.causal:
            return NotApplicable(_BIDIRECTIONAL)
        if (reason := subject.not_shown.get("z")) is not None:
            return NotApplicable(_NO_Z + reason)
        return subject.no_edits() or subject.no_token_logits()

    def fingerprint(self) -> dict[str, str]:
        return super().fingerprint() | ({} if self.given_heads is None else given_digest(self.given_heads))

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError(f"{self.name} measures other models; applies() says which")
        tasks = self.tasks(subject, seed, self.n_tasks)
        return few_shot_findings(
            subject, tasks, lambda some: self.prompts(subject, some), self._how, seed, batch_size, progress
        )

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return few_shot_claim(measures, sources, self.level)

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return head_verdicts(measures, self.level)

    def memory(self, subject: Subject) -> int | None:
        return memory_of(self, subject, self._how, self.batch_size) if isinstance(subject, LanguageModel) else None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        return cost_of(self, subject, self._how, batch_size) if isinstance(subject, LanguageModel) else None

    @property
    def _how(self) -> How:
        given = None if self.given_heads is None else given_heads(self.given_heads)
        return How(given, self.n_heads, self.random_sets, self.level)
