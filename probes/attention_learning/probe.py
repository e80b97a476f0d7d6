"""How does attention learn? (Snell, Zhong, Klein & Steinhardt 2021, arXiv 2103.07601)

Their account has two stages. At first attention is all but uniform, and the model learns which words are translations
of which from their occurring together: KTIW, knowledge to translate individual words. Then attention moves to words
that it knows how to translate. Where co-occurrence says nothing, attention fails to be learned.

    of a copy model: whether it copies, attends to the right places and knows words; at several steps, in which order
    of a language model: whether each head attends to the tokens that say most about the next one

Where the account holds: attention agrees with beta of the same model and with beta of a twin whose attention was held
uniform; the twin knows words nonetheless; with beta frozen attention does not form.

Data runs one way. Copy models: `copy_reading` -> `copy_measures`, with `odds`, `proxy`, `agreement`. Heads:
`head_reading` -> `head_measures`. Several checkpoints: `training_runs` -> `push_measures`, `run_measures` ->
`over_words`. The smallest model in which attention waits for words is `toy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from ...data.errors import UsageError
from ...data.recipe import file_sha256
from ...models.copy_models import CopyModel
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Checkpoint, Cost, OverTraining, Probe, Progress, silent
from .copy_claim import copy_claim
from .copy_cost import copy_cost, copy_memory
from .copy_measures import CopySettings, copy_findings
from .head_claim import head_claim
from .head_measures import head_findings
from .head_reading import no_heads
from .head_settings import HeadHow
from .head_verdicts import head_verdicts
from .memory import head_cost, head_memory
from .names import ATTENTION
from .over_checkpoints import over_checkpoints
from .twin import twin_digests, twin_of


@dataclass(frozen=True)
class AttentionLearning(Probe):
    """Settings of the probe.

    n_sequences:  sources of a copy model (default 64), or sequences of a language model (default 32)
    uniform:      a checkpoint of the same model trained with uniform attention: a shipped name or a file; by default
                  the one that ships with a shipped copy model
    learned:      a copy model has learned if it gets at least this share of its words right
    text:         for a language model: a file of text, read with the model's own tokenizer
    tokens:       a file of token ids in its place; without either, text of the shipped grammar
    context:      tokens of a sequence, BOS included; by default the model's context, at most 128
    queries:      queries that are looked at in all sequences together
    saliency:     those of a sequence whose saliency is measured; 0: none
    """

    name: ClassVar[str] = "attention-learning"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    batch_size: ClassVar[int] = 32

    n_sequences: Annotated[int, Ge(2)] | None = None
    uniform: str | None = None
    learned: Annotated[float, Gt(0), Le(1)] = 0.95
    text: str | None = None
    tokens: str | None = None
    context: Annotated[int, Ge(3)] | None = None
    queries: Annotated[int, Ge(1)] = 2048
    saliency: Annotated[int, Ge(0)] = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text is not None and self.tokens is not None:
            raise UsageError(f"{self.name}: text and tokens are both given; expected one of them")

    def applies(self, subject: Subject) -> NotApplicable | None:
        if isinstance(subject, CopyModel):
            given = [name for name in ("text", "tokens", "context") if getattr(self, name) is not None]
            if given:
                return NotApplicable(
                    f"this model copies words and reads no text, but {given[0]} is given; leave it out"
                )
            return None
        if isinstance(subject, LanguageModel):
            return no_heads(subject)
        return NotApplicable(
            "this model answers tasks of numbers: no head of it attends to a word. attention-learning measures copy"
            " models and language models"
        )

    def fingerprint(self) -> dict[str, str]:
        given = {"text": self.text, "tokens": self.tokens}
        files = {f"{name}_sha256": file_sha256(path) for name, path in given.items() if path is not None}
        return files | twin_digests(self.uniform)

    def memory(self, subject: Subject) -> int | None:
        if isinstance(subject, CopyModel):
            return copy_memory(subject, self._of_copies, self.batch_size)
        return head_memory(subject, self._of_heads, self.batch_size) if isinstance(subject, LanguageModel) else None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if isinstance(subject, CopyModel):
            return copy_cost(subject, self._of_copies, batch_size)
        return head_cost(subject, self._of_heads, batch_size) if isinstance(subject, LanguageModel) else None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if isinstance(subject, CopyModel):
            twin = twin_of(subject, self.uniform)
            return copy_findings(subject, self._of_copies, twin, seed, batch_size, progress)
        if isinstance(subject, LanguageModel):
            twin = twin_of(subject, self.uniform)
            return head_findings(subject, self._of_heads, twin, seed, batch_size, progress)
        raise UsageError(f"{self.name} measures other models; applies() says which")

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        if measures[f"{ATTENTION}_accuracy"].status == "ok":
            return copy_claim(measures, sources, self.learned)
        return head_claim(measures, sources)

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return head_verdicts(measures)

    def over_checkpoints(self, checkpoints: tuple[Checkpoint, ...]) -> OverTraining:
        return over_checkpoints(checkpoints, self.learned)

    @property
    def _of_copies(self) -> CopySettings:
        return CopySettings() if self.n_sequences is None else CopySettings(self.n_sequences)

    @property
    def _of_heads(self) -> HeadHow:
        given = {field.name: getattr(self, field.name) for field in fields(HeadHow)}
        return HeadHow(**{name: value for name, value in given.items() if value is not None})
