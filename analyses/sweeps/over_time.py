"""The timelines of a sweep: what is finished, failed or missing at each step, as points of curves. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ...data.errors import UsageError
from ...models.opening.hub_cache import step_of
from ..reports.overview import head_of
from ..timelines.making import timelines
from ..timelines.points import Point, model_of, points_in
from .items import Item
from .state import PLAN, Reports, Row, SweepFolder, status


def timelines_of(out: Path, say: Callable[[str], None]) -> list[Path]:
    """Make the timelines of an output folder, and return theirs: one for each architecture that was measured at two
    steps or more, with all that sweeps into this folder have asked for.

    say:  is told why there is none, where two reports claim one place on the axis
    """
    try:
        return timelines(points_of(out, status(out)), out)
    except UsageError as error:
        say(f"no timeline: {error}")
        return []


def timeline(folder: str | Path) -> list[Path]:
    """Put the finished reports of a folder on one time axis: for each architecture a folder `timeline/NAME` in it, with
    a page, a figure and everything in `timeline.json`. Of a sweep's output folder, what failed or is missing is in it.

    Returns these folders; none where no probe measured two steps. UsageError for a folder without reports.
    """
    folder = Path(folder)
    if (SweepFolder(folder).folder / PLAN).exists():
        return timelines(points_of(folder, status(folder)), folder)
    return timelines(points_in(folder), folder)


def points_of(out: Path, rows: Sequence[Row]) -> list[Point]:
    """Every probe of a sweep at every checkpoint whose step is known."""
    of_item = {row.item: row.reports for row in rows}
    probes = dict.fromkeys(name for row in rows for name in row.reports)
    found = []
    for row in rows:
        reports = row.reports or (of_item.get(row.same_as, {}) if row.same_as else {})
        seed, step = _place(out, row, reports)
        if step is not None:
            model = model_of(row.item.model, row.item.revision, seed)
            found += [Point(probe, model, seed, step, *what) for probe, what in _of(out, row, reports, probes)]
    return found


def _of(
    out: Path, row: Row, reports: Reports, probes: Mapping[str, None]
) -> Iterator[tuple[str, tuple[Path | None, str, bool]]]:
    """For each probe its report's folder, or why there is none, and whether it has failed."""
    for probe in probes:
        place = reports.get(probe)
        if place is not None:
            yield probe, (out / place, "", False)
        elif probe in reports:
            yield probe, (None, "the probe does not apply", False)
        elif row.failure is not None:
            yield probe, (None, row.failure.sentence, True)
        else:
            yield probe, (None, "not measured yet", False)


def _place(out: Path, row: Row, reports: Reports) -> tuple[int | None, int | None]:
    """Seed and step of a checkpoint: as its revision says, or else as its own report does."""
    seed, step = seed_of(row.item), step_of(row.item.revision)
    place = next((place for place in reports.values() if place), None)
    if step is not None or place is None or row.same_as is not None:
        return seed, step
    (source,) = head_of(out / place)[0]["sources"]
    return source["seed"], source["step"]


def seed_of(item: Item) -> int | None:
    """The seed of a family's member, which its revision begins with."""
    found = re.match(r"seed([0-9]{1,9})(?:-|$)", item.revision or "")
    return int(found[1]) if found else None
