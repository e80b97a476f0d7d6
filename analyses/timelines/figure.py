"""The figure of a timeline: courses one above the other, as SVG, PDF and PNG with the table of what they show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ...probes.drawing import page
from ...probes.drawing.page import Page, Style
from ...probes.drawing.timelines import Track, tracks_figure
from ...probes.findings import Findings
from ..reports.escaping import csv_cell
from .judging import Judged, Timeline

STEM = "timeline"
MOST_PANELS = 8
"""Of one figure; further series are in `timeline-2`, and so on."""
CAPTION = (
    "One panel for each measure, all over the same steps. Shaded: the onset of a {noun} lies here. Dashed, in the same"
    " colour: what the measure has to clear to have begun. {label}."
)


def draw(found: Timeline, folder: Path, formats: Sequence[str], style: Style = page.STYLES["neurips"]) -> list[Path]:
    """Write every figure into a folder; returns the files of pictures."""
    written = []
    for number, start in enumerate(range(0, len(found.judged), MOST_PANELS), 1):
        tracks = [track(one) for one in found.judged[start : start + MOST_PANELS]]
        figure, table = drawn(tracks, found.noun, style)
        stem = folder / (STEM if number == 1 else f"{STEM}-{number}")
        written += page.save(figure, stem, formats)
        table.map(csv_cell).to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
    return written


def drawn(tracks: Sequence[Track], noun: str, style: Style) -> tuple[page.Figure, pd.DataFrame]:
    """One figure, laid out, and the table of what it shows."""

    def build(_: Findings, sheet: Page) -> pd.DataFrame:
        return tracks_figure(tracks, noun, sheet)

    made = page.render(build, Findings({}, {}, {}), style)
    assert made is not None, "there are tracks"
    return made


def track(one: Judged) -> Track:
    """One panel. A place that all trainings share stands in its title."""
    places = {course.place for course in one.series.courses.values()} - {""}
    place = f" ({places.pop()})" if len(places) == 1 else ""
    return Track(f"{one.series.name}{place}", one.series.unit, one.series.courses, one.known)
