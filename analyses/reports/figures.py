"""Figures of a report: those of its probe, saved with a CSV of exactly what is drawn.

The figures of a probe are found, by name, in the module `figures` of its package, or in the module that an entry point
of the group `mesascope.figures` gives for it. `FIGURES` there maps a name to `build(findings, page)`, and
`headline(findings, ax)` draws the one that says most on anybody's axes. A probe without such a module gets its single
numbers as dots with intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...data.errors import UsageError, nearest
from ...probes import registered
from ...probes.drawing import page, single_numbers
from .escaping import csv_cell
from .record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
GROUP = "mesascope.figures"


def draw(report: Record, folder: str | Path, formats: Sequence[str] = FORMATS, style: str = "neurips") -> list[Path]:
    """Every figure of a report as `folder/figures/NAME.{pdf,svg,png}`, and as `NAME.csv` exactly what is drawn."""
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"figure format {wanted!r} is not known; {nearest(wanted, FORMATS)}")
    page.check_style(style)
    target = Path(folder) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in figures_of(report.probe):
        drawn = render(report, name, style)
        if drawn is not None:
            figure, table = drawn
            written += page.save(figure, target / name, formats)
            written.append(_save_table(table, target / f"{name}.csv"))
    return written


def render(report: Record, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    """One figure, laid out and not yet saved, and the table of what is drawn; None where there is nothing to draw."""
    return page.render(figures_of(report.probe)[name], report.findings, style)


def _save_table(table: pd.DataFrame, path: Path) -> Path:
    table.map(csv_cell).to_csv(path, index=False, lineterminator="\n")
    return path


def plot(report: Record, ax: Axes | None = None) -> pd.DataFrame:
    """The figure that says most, on the caller's axes (default: pyplot's current ones); returns what is drawn."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.gca()
    return _module(report.probe).headline(report.findings, ax)


def figures_of(probe: str) -> Mapping[str, page.Build]:
    """The figures of a probe, by name."""
    return _module(probe).FIGURES


def _module(probe: str) -> Any:
    """The module that holds the figures of a probe; one that is not installed here has those of single numbers."""
    if points := entry_points(group=GROUP, name=probe):
        return next(iter(points)).load()
    package = registered().get(probe, "").partition(":")[0].rpartition(".")[0]
    if package and find_spec(f"{package}.figures") is not None:
        return import_module(f"{package}.figures")
    return single_numbers
