"""What differs between a recorded report and the same made again: each field, cell, tensor and file by name."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from ..reports.digests import ARRAYS, FIELD, REPORT
from ..reports.record import Record, read_json
from ..reports.saving import files_of

MOST_NAMED = 20
_DRAWN = re.compile(r"figures/.*\.(pdf|svg|png)|report\.html")
_ENVIRONMENT = re.compile(r"provenance\.environment\..*")
ERROR = re.compile(r"sources\[\d+\]\.opening_check\.parts\.[\w ]+\.error")
"""How far apart what the opening check compared is; whether it passed stands beside it, and is compared."""
_CODE = re.compile(r"key|members\[\d+\]\.key|probe_version|provenance\.code_sha256")
NOTHING = object()


@dataclass(frozen=True)
class Tolerance:
    """How far numbers may lie apart: |a - b| <= absolute + relative * max(|a|, |b|)."""

    relative: float
    absolute: float

    def holds(self, a: Any, b: Any) -> Any:
        with np.errstate(invalid="ignore"):
            near = np.abs(a - b) <= self.absolute + self.relative * np.maximum(np.abs(a), np.abs(b))
        # an infinity is infinitely far from any number, and from that bound it is not
        return near & np.isfinite(a) & np.isfinite(b)

    def __str__(self) -> str:
        return f"relative {self.relative:g}, absolute {self.absolute:g}"


@dataclass
class Found:
    """beyond: what cannot be excused; excused: other versions, and numbers within the tolerance.

    unnamed: how many more of either were counted without a line each (a million values may all have moved)
    """

    tolerance: Tolerance
    beyond: list[str] = field(default_factory=list)
    excused: list[str] = field(default_factory=list)
    unnamed: dict[bool, int] = field(default_factory=lambda: {False: 0, True: 0})

    def number(self, place: str, recorded: float, again: float) -> None:
        close = bool(self.tolerance.holds(recorded, again))
        self.add(place, recorded, again, close)

    def add(self, place: str, recorded: Any, again: Any, excused: bool = False) -> None:
        line = f"{place}: recorded {_word(recorded)}, made again {_word(again)}"
        (self.excused if excused else self.beyond).append(line)


def compare_folders(recorded: Path, again: Path, redraw: Callable[[], Path], tolerance: Tolerance) -> Found:
    """Compare every file but the timing.

    redraw:  writes the recorded report out again and returns the folder. Files that are drawn from report.json must be
             the bytes of the report made again or, where its numbers or versions differ, those the record gives.
    """
    found = Found(tolerance)
    report = Record.load(recorded)
    old, new = (_without_digests(read_json(folder / REPORT)) for folder in (recorded, again))
    found.beyond += [f"{name}: changed after mesascope wrote it; its SHA-256 does not fit" for name in report.edited]
    other_code = old["provenance"]["code_sha256"] != new["provenance"]["code_sha256"]
    for place, a, b in leaves(old, new):
        if ERROR.fullmatch(place):
            continue
        if _ENVIRONMENT.fullmatch(place) or (other_code and _CODE.fullmatch(place)):
            found.add(f"report.json: {place}", a, b, excused=True)
        elif _is_number(a) and _is_number(b):
            found.number(f"report.json: {place}", a, b)
        else:
            found.add(f"report.json: {place}", a, b)
    _compare_arrays(report.arrays, Record.load(again).arrays, found)
    compared = {REPORT, ARRAYS}
    names = [name for name in sorted({*files_of(recorded), *files_of(again)}) if name not in compared]
    unlike = [name for name in names if _bytes(recorded / name) != _bytes(again / name)]
    redrawn = redraw() if unlike else again
    drawn_by = [record["provenance"]["environment"]["packages"].get("matplotlib") for record in (old, new)]
    for name in unlike:
        if _bytes(recorded / name) == _bytes(redrawn / name):
            continue  # true to its record, whose own differences are named above
        if _DRAWN.fullmatch(name) and drawn_by[0] != drawn_by[1]:
            found.excused.append(
                f"{name}: drawn by matplotlib {drawn_by[0]}, here {drawn_by[1]}; mesascope does not compare them"
            )
        else:
            _compare_file(name, recorded / name, again / name, found)
    found.beyond = _fewer(found.beyond, found.unnamed[False])
    found.excused = _fewer(found.excused, found.unnamed[True])
    return found


def _without_digests(record: dict[str, Any]) -> dict[str, Any]:
    """Digests differ with anything; what differs is named by itself."""
    return {name: value for name, value in record.items() if name != FIELD}


def leaves(a: Any, b: Any, place: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every place where two JSON values differ, by its path."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from leaves(a.get(name, NOTHING), b.get(name, NOTHING), f"{place}.{name}" if place else name)
    elif isinstance(a, list) and isinstance(b, list):
        for index, (x, y) in enumerate(zip_longest(a, b, fillvalue=NOTHING)):
            yield from leaves(x, y, f"{place}[{index}]")
    elif type(a) is not type(b) or a != b:
        yield place, a, b


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(value: Any) -> str:
    return "nothing" if value is NOTHING else repr(value)


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _compare_arrays(old: Any, new: Any, found: Found) -> None:
    for name in sorted({*old, *new}):
        place = f"arrays.safetensors: {name}"
        shapes = [list(arrays[name].shape) if name in arrays else NOTHING for arrays in (old, new)]
        if shapes[0] != shapes[1]:
            found.add(f"{place}: shape", shapes[0], shapes[1])
            continue
        a, b = old[name], new[name]
        unlike = (a != b) & ~(np.isnan(a) & np.isnan(b))
        close = unlike & found.tolerance.holds(a, b)
        for excused, cells in ((False, np.argwhere(unlike & ~close)), (True, np.argwhere(close))):
            for cell in cells[:MOST_NAMED]:
                index = tuple(int(i) for i in cell)
                found.number(f"{place}{list(index)}", float(a[index]), float(b[index]))
            found.unnamed[excused] += len(cells[MOST_NAMED:])


def _compare_file(name: str, old: Path, new: Path, found: Found) -> None:
    if not old.is_file() or not new.is_file():
        words = ["a file" if path.is_file() else NOTHING for path in (old, new)]
        found.add(name, words[0], words[1])
    elif name.endswith(".csv"):
        _compare_csv(name, _cells(old), _cells(new), found)
    else:
        found.beyond.append(f"{name}: differs from what its report.json gives")


def _cells(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        return list(csv.reader(file))


def _compare_csv(name: str, old: list[list[str]], new: list[list[str]], found: Found) -> None:
    before = len(found.beyond) + len(found.excused)
    header = new[0] if new else []
    for line, (a, b) in enumerate(zip_longest(old, new, fillvalue=[]), start=1):
        for column, (x, y) in enumerate(zip_longest(a, b, fillvalue=NOTHING)):
            if x != y:
                title = header[column] if column < len(header) else column + 1
                _compare_cell(f"{name}: line {line}, {title}", x, y, found)
    if len(found.beyond) + len(found.excused) == before:
        found.beyond.append(f"{name}: the same values, written differently")


def _compare_cell(place: str, old: Any, new: Any, found: Found) -> None:
    try:
        found.number(place, float(old), float(new))
    except (TypeError, ValueError):
        found.add(place, old, new)


def _fewer(lines: list[str], unnamed: int) -> list[str]:
    """The first of many differences, and how many more there are."""
    more = len(lines) + unnamed - MOST_NAMED
    return lines if more <= 0 else [*lines[:MOST_NAMED], f"and {more} more"]
