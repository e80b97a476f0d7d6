"""The figures of a reproduction: panels of curves and of matrices, in the looks of all other figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ....probes.drawing import page
from ....probes.findings import Findings
from ...reports.escaping import csv_cell
from ..panels import Panel
from .composing import panels_figure

FORMATS = ("pdf", "svg", "png")
PAGE, COLUMN = page.Style(3.25, 6.75), page.Style(3.25, 3.25)
"""Inches: of a column and a page of the paper's venue, and of a column alone."""


def draw(
    panels: Sequence[Panel],
    stem: Path,
    reduced: str = "",
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write a figure as `stem.{pdf,svg,png}`, for a column as `stem-column.pdf`, and what is drawn as `stem.csv`;
    returns the files.

    reduced:  what is less than the full size, in words; "" where nothing is
    """
    figure, table = drawn(panels, reduced)
    written = page.save(figure, stem, formats)
    if len(panels) > 1:  # a single panel has the width of a column as it is
        narrow, _ = drawn(panels, reduced, COLUMN)
        written += page.save(narrow, stem.with_name(f"{stem.name}-column"), ("pdf",))
    table.map(csv_cell).to_csv(stem.with_suffix(".csv"), index=False, lineterminator="\n")
    return [*written, stem.with_suffix(".csv")]


def drawn(panels: Sequence[Panel], reduced: str = "", style: page.Style = PAGE) -> tuple[page.Figure, pd.DataFrame]:
    """A figure, laid out and not yet saved, and the table of what it shows."""

    def build(_: Findings, sheet: page.Page) -> pd.DataFrame:
        return panels_figure(panels, reduced, sheet)

    made = page.render(build, Findings({}, {}, {}), style)
    assert made is not None, "there are panels"
    return made
