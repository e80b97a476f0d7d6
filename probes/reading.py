"""Probes that read a text, and the one pass in which several of them read it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float, Int
from torch import Tensor

from ..data.corpus import Corpus, Windows
from ..models.language_model import LanguageModel
from ..models.subject import Reduce, Site, Subject
from .findings import Findings
from .parts import Parts
from .probe import Probe, Progress, silent
from .streaming import Watcher, stream, together

WINDOW = 512
"""Tokens of a window where nobody asks for another length, and the model reads as many."""
WINDOWS_A_PASS = 8
"""Windows in a forward pass where nobody asks for another number."""
_OTHER_WAYS: tuple[Site, ...] = ("attention", "pattern")
"""Sites for which a model may compute attention by another kernel, whose last digits differ."""


@dataclass(frozen=True, eq=False)
class Reading:
    """A text that a model is to read, and who watches.

    batch_size:  windows in a forward pass
    watchers:    gives them, once. They edit nothing, and look at the output only where they ask for logits
    found:       what comes of it, once everything is read: a part of the measurement, see `Parts`
    begin:       told which windows come next
    attended:    which of `attention` and `pattern` are watched. Only readings that agree in it share a pass
    """

    corpus: Corpus
    batch_size: int
    watchers: Callable[[], Sequence[Watcher]]
    found: Callable[[], Any]
    begin: Callable[[Windows], None] = lambda some: None
    attended: frozenset[Site] = frozenset({"attention"})

    def __post_init__(self) -> None:
        if not self.attended <= {*_OTHER_WAYS}:
            raise ValueError(f"attended = {sorted(self.attended)}; expected some of {', '.join(_OTHER_WAYS)}")

    @property
    def same_pass(self) -> tuple[Any, ...]:
        """What two readings have in common where one pass does for both, and each finds what it finds alone."""
        corpus = self.corpus
        return corpus.length, corpus.bos, corpus.recipe.sha256, self.batch_size, self.attended


def read(subject: LanguageModel, readings: Sequence[Reading], progress: Progress = silent) -> None:
    """One pass over a text for all these readings, which have the same one: see `Reading.same_pass`."""
    first, *others = readings
    assert all(other.same_pass == first.same_pass for other in others), "these readings need a pass each"
    n = sum(1 for _ in first.corpus.batches(first.batch_size))
    stage = f"reading the text with {subject.source.name}"
    stream(subject, _batches(readings), list(map(_Everybody, readings)), progress=progress, stage=stage, total=n)


def read_alone(subject: LanguageModel, reading: Reading, progress: Progress = silent) -> Any:
    """What is found in a text that one probe reads by itself."""
    read(subject, [reading], progress)
    return reading.found()


def _batches(readings: Sequence[Reading]) -> Iterator[Int[Tensor, "batch pos"]]:
    for some in readings[0].corpus.batches(readings[0].batch_size):
        for reading in readings:
            reading.begin(some)
        yield some.tokens


class _Everybody(Watcher):
    """All the watchers of a reading. They see the same whoever else reads along."""

    def __init__(self, reading: Reading) -> None:
        self._watchers, self._said = reading.watchers(), reading.attended
        self.logits = any(watcher.logits for watcher in self._watchers)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        watched = together([watcher.watch(tokens) for watcher in self._watchers])
        if (found := {site for site in _OTHER_WAYS if site in watched}) != self._said:
            raise ValueError(f"a reading watches {sorted(found)}, but its attended is {sorted(self._said)}")
        return watched

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        for watcher in self._watchers:
            watcher.take(tokens, output)


@dataclass(frozen=True)
class Reader(Probe):
    """A probe that reads a text. In a run of several probes those that read the same windows share the pass.

    What is found in the text is one part of the measurement. The run may have put it there, and else the probe reads by
    itself: `kept.made(self.text_part, lambda: read_alone(subject, reading))`.
    """

    text_part: ClassVar[str] = "text"
    """The name of the part that is made of the text."""

    @abstractmethod
    def reading(self, subject: Subject, seed: int, batch_size: int) -> Reading | None:
        """The text, and fresh watchers; None where these settings have nothing read."""

    def reading_memory(self, subject: Subject) -> int | None:
        """About how many bytes reading the text takes at its peak, as `memory`: what a shared pass adds up."""
        return self.memory(subject)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        return self.measure_in_parts(subject, seed, batch_size, Parts(), progress)

    @abstractmethod
    def measure_in_parts(
        self, subject: Subject, seed: int, batch_size: int, kept: Parts, progress: Progress = silent
    ) -> Findings: ...
