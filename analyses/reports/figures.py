"""Figures of a report: those of its probe, saved with a CSV of exactly what is drawn, and with their caption.

The figures of a probe are found, by name, in the module `figures` of its package, or in the module that an entry point
of the group `mesascope.figures` gives for it. `FIGURES` there maps a name to `build(findings, page)`; its docstring is
the caption. The first of `FIGURES` that has something to draw is the main one: a member of a family gets no other. A
probe without such a module gets its single numbers as dots with intervals.
"""

from __future__ import annotations

import gc
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...data.errors import UsageError, nearest
from ...probes.drawing import page, single_numbers
from . import latex
from .escaping import csv_cell, slug
from .parts import part
from .record import Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
TRAJECTORY = "trajectory"
"""How the names of figures begin that show training; the others of a report over steps show the last one."""


def draw(
    report: Record,
    folder: str | Path,
    formats: Sequence[str] = FORMATS,
    style: str = "neurips",
    main_only: bool = False,
    only: Sequence[str] = (),
    panel: str | None = None,
    width: float | None = None,
) -> list[Path]:
    """Every figure of a report as `folder/figures/NAME.{pdf,svg,png}`, and as `NAME.csv` exactly what is drawn. The
    caption is `NAME.txt`, and with the figure around it `NAME.tex`.

    main_only:  the first figure that has something to draw, and no other
    only:       the figures of these names, and no others
    panel:      of one figure, one panel: its title or its number from 1
    width:      inches, in place of those of the style
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"figure format {wanted!r} is not known; {nearest(wanted, FORMATS)}")
    if panel is not None and len(only) != 1:
        raise UsageError(f"panel {panel!r} of {len(only) or 'all'} figures; expected one, by its name (--only)")
    sizes, names = page.style_of(style, width), [known(report, name) for name in only] or _main_first(report)
    target = Path(folder) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in names:
        with _collected_afterwards():
            written += _draw_one(report, name, target, formats, sizes, panel)
        if main_only and written:
            break
    if only and not written:
        raise UsageError(f"{', '.join(only)}: this report has nothing to draw there")
    return written


def known(report: Record, name: str) -> str:
    """The name of one of the report's figures. UsageError with all of them for another."""
    names = list(figures_of(report.probe))
    if name not in names:
        raise UsageError(f"figure {name!r} is not known; expected one of {', '.join(names)}")
    return name


def _draw_one(
    report: Record, name: str, target: Path, formats: Sequence[str], style: page.Style, panel: str | None
) -> list[Path]:
    drawn = page.render(figures_of(report.probe)[name], report.findings, style, panel)
    if drawn is None:
        return []
    figure, table = drawn
    stem = target / (name if panel is None else slug(f"{name}-{panel}"))
    return [
        *page.save(figure, stem, formats),
        _save_table(table, stem.with_suffix(".csv")),
        *_save_caption(caption(report, name), stem),
    ]


def render(report: Record, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    """One figure, laid out and not yet saved, and the table of what is drawn; None where there is nothing to draw."""
    return page.render(figures_of(report.probe)[known(report, name)], report.findings, page.style_of(style))


def caption(report: Record, name: str) -> str:
    """What a figure shows, in words: the docstring of its builder, whose numbers these are, and at which step."""
    words = " ".join((inspect.getdoc(figures_of(report.probe)[name]) or "").split())
    return f"{words} {_whose(report, name)}"


def _whose(report: Record, name: str) -> str:
    steps = _steps(report)
    if steps and not name.startswith(TRAJECTORY):
        return f"{report.label}, at step {steps[-1]}, the last of {len(steps)}."
    known = {source.get("step") for source in report.sources} - {None}
    if steps or len(known) != 1:
        return f"{report.label}."
    return f"{report.label}, at step {known.pop()}."


def _steps(report: Record) -> tuple[Any, ...]:
    """The steps of a report over several."""
    return next((measure.labels("step") for measure in report.measures.values() if "step" in measure.axes), ())


def _save_caption(words: str, stem: Path) -> list[Path]:
    """As text, and as a LaTeX figure that shows the PDF."""
    text, tex = stem.with_suffix(".txt"), stem.with_suffix(".tex")
    text.write_text(f"{words}\n", encoding="utf-8")
    tex.write_text(latex.figure(stem.name, words), encoding="utf-8")
    return [text, tex]


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


def _save_table(table: pd.DataFrame, path: Path) -> Path:
    table.map(csv_cell).to_csv(path, index=False, lineterminator="\n")
    return path


def plot(
    report: Record, name: str | None = None, ax: Axes | None = None, panel: str | int | None = None
) -> pd.DataFrame:
    """One panel of a figure on the caller's axes (default: pyplot's current ones); returns what is drawn."""
    names = [known(report, name)] if name is not None else _main_first(report)
    if ax is None:
        ax = current_axes()
    for tried in names:
        build = figures_of(report.probe)[tried]
        table = page.draw_on(build, report.findings, ax, None if panel is None else str(panel))
        if table is not None:
            return table
    raise UsageError(f"{', '.join(names)}: this report has nothing to draw there")


def _main_first(report: Record) -> list[str]:
    """Figures in the order in which they stand for the report."""
    names = list(figures_of(report.probe))
    return sorted(names, key=lambda name: not name.startswith(TRAJECTORY)) if _steps(report) else names


def current_axes() -> Axes:
    """Of a figure of pyplot's; a new one makes room for what stands beside its axes."""
    from matplotlib import pyplot

    if not pyplot.get_fignums():
        pyplot.figure(layout="constrained")
    return pyplot.gca()


def figures_of(probe: str) -> Mapping[str, page.Build]:
    """The figures of a probe, by name; the main one, which says most, comes first."""
    return _module(probe).FIGURES


def _module(probe: str) -> Any:
    """The module that holds the figures of a probe; one that is not installed here has those of single numbers."""
    return part(probe, "figures") or single_numbers
