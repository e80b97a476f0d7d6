"""How far back does each attention head look, on tokens that mean nothing?

On random tokens no token is worth more attention than another, so what is left is a head's habit: its own place, the
token before, the start of the sequence, or nothing at all. Clark et al. (2019, arXiv 1906.04341) describe such habits.
A reach below that of even attention says that a head looks near, above it that it looks far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge
from mesascope.data import UsageError
from mesascope.models import LanguageModel, NotApplicable, Source, Subject
from mesascope.probes import Claim, Findings, Measure, Probe
from mesascope.probes.measure import along
from mesascope.probes.probe import Progress, silent
from mesascope.probes.statistics.sample_measures import task_measures

from .claim import reach_claim
from .inputs import random_tokens, recipe
from .reach_measures import AXES, reach_metrics, verdicts


@dataclass(frozen=True)
class HeadReach(Probe):
    """Settings of the probe.

    n_sequences:  random sequences of each length
    lengths:      tokens in a sequence
    first_token:  "kept", or "dropped": attention to the first token does not count
    """

    name: ClassVar[str] = "head-reach"
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 16
    by_default: ClassVar[bool] = True

    n_sequences: Annotated[int, Ge(2)] = 32
    lengths: tuple[Annotated[int, Ge(4)], ...] = (16, 32)
    first_token: Literal["kept", "dropped"] = "kept"

    def __post_init__(self) -> None:
        super().__post_init__()  # types and limits, from the annotations above
        if not self.lengths:
            raise UsageError(f"{self.name}: lengths = []; expected at least one")

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable("this model predicts no next token. head-reach measures language models.")
        if not subject.shape.causal:
            return NotApplicable("this model's attention is bidirectional. head-reach measures how far back it goes.")
        return None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("head-reach needs a language model; ask applies() first")
        first = int(self.first_token == "dropped")
        d_vocab, bos = subject.shape.d_vocab, subject.bos
        batches = {n: random_tokens(d_vocab, bos, n, self.n_sequences, seed) for n in self.lengths}
        measured, arrays = {}, {}
        for done, (n, tokens) in enumerate(batches.items()):
            progress(f"{n} tokens", done / len(batches))
            metrics = reach_metrics(subject, tokens, first, seed, batch_size)
            measured[n] = task_measures(metrics, seed)
            arrays |= {f"{name}_{n}": metric.samples for name, metric in metrics.items()}
        measures = {name: along("length", {n: found[name] for n, found in measured.items()}) for name in AXES}
        return Findings(measures, arrays, {"evaluation": recipe(batches, d_vocab, bos, seed)})

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return verdicts(measures)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return reach_claim(measures, self.heads(measures), self.first_token)
