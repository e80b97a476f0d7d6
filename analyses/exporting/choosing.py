"""Which numbers of several reports of one probe stand in a table: those that are asked for, or that its probe names.

A probe names the measures of a table for a paper in the module `paper_table` of its package, as `MEASURES`. Of another
probe it is the first single numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...data.errors import UsageError, nearest
from ...probes.measure import Measure, flat, last_step
from ..reports.parts import part
from ..reports.record import Record
from .numbers import cells, number, parsed

MOST_ROWS = 30
"""Numbers of each report in one table: more do not fit on a page."""
FIRST = 10
"""Numbers of each report where neither the caller nor the probe names any."""
OfEach = Sequence[Measure | None]


@dataclass(frozen=True)
class Row:
    """One number of each report: a measure without axes, or None where a report has none of that name and unit."""

    name: str
    unit: str
    of_each: tuple[Measure | None, ...]

    @property
    def has_number(self) -> bool:
        return any(measure is not None and measure.has_number for measure in self.of_each)


def rows(reports: Sequence[Record], asked: Sequence[str]) -> list[Row]:
    """The rows of a table, each once, those of one unit together. Without `asked`, those that have a number somewhere.

    UsageError for more than fit on a page.
    """
    found = [row for name in asked for row in _rows(reports, name)] if asked else _by_default(reports)
    once = list({(row.name, row.unit): row for row in found}.values())
    if len(once) > MOST_ROWS:
        raise UsageError(
            f"{reports[0].probe}: {len(once):,} numbers of each report; expected at most {MOST_ROWS} in one table. Name"
            f" fewer, or single ones such as {once[0].name}"
        )
    units = list(dict.fromkeys(row.unit for row in once))
    return sorted(once, key=lambda row: units.index(row.unit))


def unknown(reports: Sequence[Record], name: str) -> str:
    """What to say of a measure that no report has."""
    whole, labels = parsed(name)
    known: Iterable[str] = (measure for report in reports for measure in flat(report.measures))
    found = [flat({whole: report.measures[whole]}) for report in reports if whole in report.measures]
    if labels and found:
        known = (cell for parts in found for name, measure in parts.items() for cell in cells(name, measure))
    return f"measure {name!r} is in no report; {nearest(name, set(known))}"


def _by_default(reports: Sequence[Record]) -> list[Row]:
    """Those that the probe names; where they have no number, the first single numbers."""
    single = (name for r in reports for name, m in last_step(flat(r.measures)).items() if m.has_number and not m.axes)
    named = getattr(part(reports[0].probe, "paper_table"), "MEASURES", ())
    for names in (named, list(dict.fromkeys(single))[:FIRST]):
        few = [name for name in names if _is_short(reports, name)]
        if found := [row for name in few for row in _rows(reports, name) if row.has_number]:
            return found
    known = dict.fromkeys(name for report in reports for name, measure in report.measures.items() if measure.has_number)
    raise UsageError(
        f"{reports[0].probe}: these reports have no single numbers; name what stands in the table:"
        f" {', '.join(list(known)[:FIRST])}"
    )


def _is_short(reports: Sequence[Record], name: str) -> bool:
    """Whether a measure has few numbers in each report: of a language model it may have one a head."""
    measures = [report.measures[name] for report in reports if name in report.measures]
    return all(sum(len(cells(name, m)) for m in flat({name: measure}).values()) <= FIRST for measure in measures)


def _rows(reports: Sequence[Record], name: str) -> list[Row]:
    """The rows of one name: of a measure with axes one a cell, of one with candidates those of each candidate."""
    whole, labels = (name, {}) if any(name in report.measures for report in reports) else parsed(name)
    of_each = [flat({whole: report.measures[whole]}) if whole in report.measures else {} for report in reports]
    names = dict.fromkeys(found for measures in of_each for found in measures)
    return [row for one in names for row in _rows_of_one(one, labels, [measures.get(one) for measures in of_each])]


def _rows_of_one(name: str, labels: Mapping[str, str], measures: OfEach) -> list[Row]:
    """The rows of one measure. A report in which it is not applicable says so in every row that others have."""
    absent = [m.at(**dict.fromkeys(m.axes, -1)) if m is not None and m.status != "ok" else None for m in measures]
    places = [cells(name, m, labels) if m is not None and m.status == "ok" else {} for m in measures]
    names = list(dict.fromkeys(place for found in places for place in found))
    if not names and not labels and any(absent):
        names = [name]
    if len(names) > MOST_ROWS:
        raise UsageError(
            f"measure {name!r}: {len(names):,} numbers of each report; expected at most {MOST_ROWS} in one table. Name"
            f" single ones, such as {names[0]}"
        )
    found = []
    for place in names:
        each = zip(measures, places, absent, strict=True)
        found += _by_unit(
            place, [number(m, of[place]) if m is not None and place in of else gone for m, of, gone in each]
        )
    return found


def _by_unit(name: str, of_each: OfEach) -> list[Row]:
    units = dict.fromkeys(measure.unit for measure in of_each if measure is not None)
    return [Row(name, unit, tuple(m if m is not None and m.unit == unit else None for m in of_each)) for unit in units]
