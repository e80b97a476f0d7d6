"""How far back does each attention head look, on tokens that mean nothing?

On random tokens no token is worth more attention than another, so what is left is a head's habit: its own place, the
token before, the start of the sequence, or nothing at all. Clark et al. (2019, arXiv 1906.04341) describe such habits.
A reach below that of even attention says that a head looks near, above it that it looks far.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from mesascope.data import UsageError
from mesascope.models import LanguageModel, NotApplicable, Source, Subject
from mesascope.probes import Claim, Findings, Measure, Probe
from mesascope.probes.measure import along
from mesascope.probes.probe import Progress, silent

from .claim import reach_claim
from .inputs import random_tokens
from .reach_measures import AXES, reach_measures, verdicts

FirstToken = Literal["kept", "dropped"]


@dataclass(frozen=True)
class HeadReach(Probe):
    """Settings of the probe.

    n_sequences:  random sequences of each length, at least 2
    lengths:      tokens in a sequence, one number or several, each at least 4
    first_token:  "kept", or "dropped": attention to the first token does not count
    """

    name: ClassVar[str] = "head-reach"
    version: ClassVar[str] = "1"
    batch_size: ClassVar[int] = 16

    n_sequences: int = 32
    lengths: tuple[int, ...] = (16, 32)
    first_token: FirstToken = "kept"

    def __post_init__(self) -> None:
        if self.n_sequences < 2:
            raise UsageError(f"n_sequences = {self.n_sequences}: expected at least 2, an interval needs two")
        if not self.lengths or min(self.lengths) < 4:
            raise UsageError(f"lengths = {list(self.lengths)}: expected one or more, each at least 4")
        if self.first_token not in get_args(FirstToken):
            raise UsageError(f"first_token = {self.first_token!r}: expected kept or dropped")

    def applies(self, subject: Subject) -> NotApplicable | None:
        if not isinstance(subject, LanguageModel):
            return NotApplicable("this model reads no tokens. head-reach measures language models.")
        if not subject.shape.causal:
            return NotApplicable("this model's attention is bidirectional. head-reach measures how far back it goes.")
        return None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if not isinstance(subject, LanguageModel):
            raise UsageError("head-reach needs a language model; ask applies() first")
        first = int(self.first_token == "dropped")
        parts, arrays, recipes = {}, {}, {}
        for done, length in enumerate(self.lengths):
            progress(f"{length} tokens", done / len(self.lengths))
            batch = random_tokens(subject.shape.d_vocab, subject.bos, length, self.n_sequences, seed)
            parts[length], arrays[f"reach_{length}"] = reach_measures(subject, batch, first, seed, batch_size)
            recipes[f"{length} tokens"] = batch.recipe
        measures = {name: along("length", {length: part[name] for length, part in parts.items()}) for name in AXES}
        return Findings(measures, arrays, recipes)

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return verdicts(measures)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return reach_claim(measures, self.heads(measures), self.first_token)
