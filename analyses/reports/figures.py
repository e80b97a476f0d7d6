"""Figures of a report: those of its probe, saved with a CSV of exactly what is drawn.

The figures of a probe are found, by name, in the module `figures` of its package, or in the module that an entry point
of the group `mesascope.figures` gives for it. `FIGURES` there maps a name to `build(findings, page)`, and
`headline(findings, ax)` draws the one that says most on anybody's axes. The first of `FIGURES` is the main one: a
member of a family gets no other. A probe without such a module gets its single
numbers as dots with intervals.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
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


def draw(
    report: Record,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    style: str = "neurips",
    main_only: bool = False,
) -> list[Path]:
    """Every figure of a report as `folder/figures/NAME.{pdf,svg,png}`, and as `NAME.csv` exactly what is drawn.

    main_only:  the first figure that has something to draw, and no other
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"figure format {wanted!r} is not known; {nearest(wanted, FORMATS)}")
    page.check_style(style)
    target = Path(folder) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in figures_of(report.probe):
        with _collected_afterwards():
            written += _draw_one(report, name, target, formats, style)
        if main_only and written:
            break
    return written


def _draw_one(report: Record, name: str, target: Path, formats: Sequence[str], style: str) -> list[Path]:
    drawn = render(report, name, style)
    if drawn is None:
        return []
    figure, table = drawn
    return [*page.save(figure, target / name, formats), _save_table(table, target / f"{name}.csv")]


@contextmanager
def _collected_afterwards() -> Iterator[None]:
    """Without the garbage collector, which would walk through all of torch several times a figure, and in vain: what a
    figure's artists hold of each other goes with the figure.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


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
    """The figures of a probe, by name; the main one, which says most, comes first."""
    return _module(probe).FIGURES


@cache
def _module(probe: str) -> Any:
    """The module that holds the figures of a probe; one that is not installed here has those of single numbers.

    Found once: to read the entry points of everything that is installed takes as long as to compose a figure.
    """
    if points := entry_points(group=GROUP, name=probe):
        return next(iter(points)).load()
    package = registered().get(probe, "").partition(":")[0].rpartition(".")[0]
    if package and find_spec(f"{package}.figures") is not None:
        return import_module(f"{package}.figures")
    return single_numbers
