"""Several reports of one probe as a table: a row a measure, a column a model. Markdown and LaTeX write it down.

Each number has its interval, and below it the mean and the standard deviation of each null model. Whatever a number
does not say by itself stands in a note: why there is none, what its interval is over, where it has no null model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ...data.setting_text import written
from ...probes.measure import Measure
from ..reports.headline import badge, covers
from ..reports.record import Record
from ..runs.comparing import names_of
from .choosing import Row, rows

NOWHERE = "not in this report."
ABSENT = {"not applicable": "n/a"}
"""Stands in place of a number that is not there for this reason; for another reason it is a dash."""
Replicates = tuple[int, str]


@dataclass(frozen=True)
class Cell:
    """One number of one report; NaN where there is none.

    low, high:  its interval
    spread:     a standard deviation in place of an interval
    absent:     what stands there where it is NaN
    notes:      what has to be said of it
    """

    value: float
    low: float = np.nan
    high: float = np.nan
    spread: float = np.nan
    absent: str = "–"
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """A measure, or below it one of its null models.

    notes:  what has to be said of every number of the line
    """

    name: str
    unit: str
    cells: tuple[Cell, ...]
    notes: tuple[str, ...] = ()
    is_null: bool = False

    @property
    def has_number(self) -> bool:
        return any(np.isfinite(cell.value) for cell in self.cells)


@dataclass(frozen=True)
class Table:
    """Reports of one probe.

    models:       what the columns are called
    reading:      sentences on how to read the numbers
    sources:      a sentence a column: what that report found, over what, and which report it is
    differences:  sentences on settings that are not those of every report
    """

    probe: str
    models: tuple[str, ...]
    lines: tuple[Line, ...]
    reading: tuple[str, ...]
    sources: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def caption(self) -> tuple[str, ...]:
        return (*self.reading, *self.sources, *self.differences)

    def columns(self, chosen: slice) -> Table:
        """The table of some of the models, without null models that none of them has."""
        lines = [replace(line, cells=line.cells[chosen]) for line in self.lines]
        kept = tuple(line for line in lines if not line.is_null or line.has_number)
        return replace(self, models=self.models[chosen], sources=self.sources[chosen], lines=kept)

    @cached_property
    def marks(self) -> Mapping[str, str]:
        """The letter of each note, in the order in which one meets them."""
        notes = (note for line in self.lines for note in (*line.notes, *(n for cell in line.cells for n in cell.notes)))
        return {note: _letters(n) for n, note in enumerate(dict.fromkeys(notes))}

    def marked(self, notes: Sequence[str]) -> str:
        """`a,c`; nothing where there are no notes."""
        return ",".join(self.marks[note] for note in notes)


def table(reports: Sequence[Record], asked: Sequence[str]) -> Table | None:
    """Reports of one probe side by side; None where they have nothing of what is asked for."""
    found = rows(reports, asked)
    if not found:
        return None
    usual = [_usual(found, column) for column in range(len(reports))]
    lines = tuple(line for row in found for line in _lines(row, usual))
    names = names_of(reports)
    caption = _reading(reports[0].probe, lines), _sources(reports, names, usual), _differences(reports, names)
    return Table(reports[0].probe, tuple(names), lines, *map(tuple, caption))


def _letters(n: int) -> str:
    """a, b, …, z, aa, ab, …"""
    return (_letters(n // 26 - 1) if n >= 26 else "") + chr(ord("a") + n % 26)


# -- lines ------------------------------------------------------------------------------------------------------------


def _lines(row: Row, usual: Sequence[Replicates | None]) -> Iterator[Line]:
    """A measure, and its null models."""
    notes = [_notes(measure, of) for measure, of in zip(row.of_each, usual, strict=True)]
    shared = tuple(note for note in notes[0] if all(note in others for others in notes))
    cells = [
        _cell(measure, tuple(note for note in own if note not in shared))
        for measure, own in zip(row.of_each, notes, strict=True)
    ]
    yield Line(row.name, row.unit, tuple(cells), shared)
    nulls = dict.fromkeys(null for measure in row.of_each if measure is not None for null in measure.nulls)
    for null in nulls:
        yield Line(null, row.unit, tuple(_null_cell(measure, null) for measure in row.of_each), is_null=True)


def _cell(measure: Measure | None, notes: tuple[str, ...]) -> Cell:
    if measure is None:
        return Cell(np.nan, notes=notes)
    low, high = (float(bound) for bound in measure.interval)
    return Cell(measure.estimate, low, high, absent=ABSENT.get(measure.status, "–"), notes=notes)


def _null_cell(measure: Measure | None, null: str) -> Cell:
    """The mean over a null model's samples, and their standard deviation."""
    samples = np.full(1, np.nan) if measure is None else measure.nulls.get(null, np.full(1, np.nan))
    known = samples[np.isfinite(samples)]
    if not known.size:
        return Cell(np.nan, absent="")
    return Cell(float(known.mean()), spread=float(known.std(ddof=1)) if known.size > 1 else np.nan)


def _notes(measure: Measure | None, usual: Replicates | None) -> list[str]:
    if measure is None:
        return [NOWHERE]
    if measure.status != "ok":
        return [_sentence(f"{measure.status}: {measure.message}")]
    notes = [_sentence(measure.message)] if measure.message else []
    if _has_interval(measure) and (measure.n, measure.replicate) != usual:
        notes.append(f"interval over {_replicates((measure.n, measure.replicate))}.")
    return [*notes, *([] if measure.nulls else [_sentence(f"no null model: {measure.no_nulls}")])]


def _sentence(text: str) -> str:
    """`text` with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _has_interval(measure: Measure) -> bool:
    return bool(np.isfinite(measure.interval[0]))


# -- the caption ------------------------------------------------------------------------------------------------------


def _usual(found: Sequence[Row], column: int) -> Replicates | None:
    """What most intervals of a column are over; None where it has none."""
    measures = [row.of_each[column] for row in found]
    counts = Counter((m.n, m.replicate) for m in measures if m is not None and _has_interval(m))
    return counts.most_common(1)[0][0] if counts else None


def _replicates(of: Replicates) -> str:
    return f"{of[0]:,} × {of[1]}"


def _reading(probe: str, lines: Sequence[Line]) -> Iterator[str]:
    """What the numbers are."""
    some = any(np.isfinite(cell.low) for line in lines for cell in line.cells)
    yield f"{probe}: estimates{' [95 % confidence intervals]' if some else ''}."
    if any(line.is_null for line in lines):
        yield "Below a measure, its null models: mean ± standard deviation."


def _sources(reports: Sequence[Record], names: Sequence[str], usual: Sequence[Replicates | None]) -> Iterator[str]:
    """What each report found, what its intervals are over, and where its numbers come from."""
    for report, name, of in zip(reports, names, usual, strict=True):
        over = f"intervals over {_replicates(of)}" if of else "no intervals"
        edited = ", changed after mesascope wrote it" if report.edited else ""
        yield f"{name} ({covers(report)}; {over}; report {report.key}{edited}): {_sentence(badge(report))}"


def _differences(reports: Sequence[Record], names: Sequence[str]) -> Iterator[str]:
    """Settings in which the reports differ: their numbers need not be comparable."""
    settings = [{**report.settings, "seed": report.seed, "probe version": report.probe_version} for report in reports]
    for setting in dict.fromkeys(setting for of in settings for setting in of):
        having: dict[str, list[str]] = {}
        for of, name in zip(settings, names, strict=True):
            having.setdefault(written(of.get(setting)), []).append(name)
        if len(having) > 1:
            each = (f"{value} ({', '.join(of)})" for value, of in having.items())
            yield f"The setting {setting} differs: {', '.join(each)}."
