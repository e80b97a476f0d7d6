"""Several probes on the same checkpoints: a text that more than one of them reads is read in one pass.

What a probe finds in a text is a part of its measurement, see `Reader`. Before the first of them measures, the text is
read with all their watchers, and each probe's part is put where it will ask for it. It is the same, bit for bit, as
when a probe reads alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from ...models.language_model import LanguageModel
from ...models.subject import Subject
from ...probes.parts import Parts
from ...probes.probe import Probe, Progress, silent
from ...probes.reading import Reader, Reading, read
from .running import checked_batch_size

FIRST_HALF = 0.5
"""A shared pass is told as this share of the measurement that begins with it: nobody knows how long the rest takes."""
Open = Callable[[Probe, Subject], Parts | None]
"""The parts of a measurement; None where it is not to be made: it is finished, say."""


@dataclass(eq=False)
class _Waiting:
    """A measurement that has not begun. Its parts are open once the text is read for it, or cannot be."""

    probe: Probe
    subject: Subject
    parts: Parts | None = None


class Measurements:
    """The measurements of a run, which begin one after the other, in whatever order.

    wanted:      all of them, as far as they are known; of any other nothing is shared
    opened:      gives the parts of one
    batch_size:  as for `run`
    memory:      bytes that a shared pass may take; None: as many as it needs
    """

    def __init__(
        self,
        wanted: Iterable[tuple[Probe, Subject]],
        opened: Open,
        seed: int = 0,
        batch_size: int | None = None,
        memory: int | None = None,
    ) -> None:
        self._waiting = [_Waiting(probe, subject) for probe, subject in wanted]
        self._opened, self._seed, self._batch_size, self._memory = opened, seed, batch_size, memory

    def begin(self, probe: Probe, subject: Subject, progress: Progress = silent) -> Parts:
        """The parts of a measurement that are there as it begins. First the text is read for all who read the same."""
        same = [one for one in self._waiting if one.subject is subject]
        mine = next((one for one in same if one.probe is probe), None)
        if mine is None:
            return self._opened(probe, subject) or Parts()
        self._waiting.remove(mine)
        if mine.parts is None and (parts := self._opened(probe, subject)) is not None:
            mine.parts = parts
            self._read(mine, [one for one in same if one.parts is None], progress)
        return mine.parts or Parts()

    def _read(self, mine: _Waiting, others: Sequence[_Waiting], progress: Progress) -> None:
        if not isinstance(mine.probe, Reader) or not isinstance(mine.subject, LanguageModel):
            return
        readers = [one for one in others if isinstance(one.probe, Reader)]
        for one in readers:
            one.parts = self._opened(one.probe, one.subject)
        found = [(one.probe, one.parts) for one in (mine, *readers) if one.parts is not None]
        first_half: Progress = lambda stage, done: progress(stage, FIRST_HALF * done)  # noqa: E731
        read_together(mine.subject, found, self._seed, self._batch_size, self._memory, first_half)


Sharing = list[tuple[Reader, Reading]]
"""Several probes, and what each reads in the pass that they share."""


def shared_passes(subject: Subject, probes: Iterable[Probe], seed: int, batch_size: int | None) -> list[Sharing]:
    """Which of these probes read the same text, and can do so in one pass. Nothing is read yet.

    One that fails takes no part: its own measurement will fail, and say so.
    """
    passes: dict[tuple[object, ...], Sharing] = {}
    for probe in probes:
        with suppress(Exception):
            if isinstance(probe, Reader) and probe.applies(subject) is None:
                reading = probe.reading(subject, seed, checked_batch_size(probe, seed, batch_size))
                if reading is not None:
                    passes.setdefault(reading.same_pass, []).append((probe, reading))
    return [sharing for sharing in passes.values() if len(sharing) > 1]


def memory_together(subject: Subject, sharing: Sharing) -> int:
    """About how many bytes a shared pass takes; a probe that does not know counts for nothing."""
    return sum(probe.reading_memory(subject) or 0 for probe, _ in sharing)


def read_together(
    subject: LanguageModel,
    wanted: Iterable[tuple[Probe, Parts]],
    seed: int,
    batch_size: int | None,
    memory: int | None = None,
    progress: Progress = silent,
) -> None:
    """Put into the parts of each probe what it finds in its text, where another one reads the same.

    memory:  bytes that a pass may take; None: as many as it needs
    """
    lacking = {id(probe): (probe, parts) for probe, parts in wanted if _is_to_read(probe, parts)}
    for sharing in shared_passes(subject, (probe for probe, _ in lacking.values()), seed, batch_size):
        if memory is not None and memory_together(subject, sharing) > memory:
            continue
        try:
            read(subject, [reading for _, reading in sharing], progress)
        except Exception:  # each reads alone then, and says itself what is wrong
            continue
        for probe, reading in sharing:
            _put(lacking[id(probe)][1], probe, reading)


def _is_to_read(probe: Probe, parts: Parts) -> bool:
    return isinstance(probe, Reader) and not parts.holds(probe.text_part)


def _put(parts: Parts, probe: Reader, reading: Reading) -> None:
    try:
        found = reading.found()
    except Exception:  # as above
        return
    parts.put(probe.text_part, found)
