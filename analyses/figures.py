"""Figures of a report, fit for a paper: a venue's widths, the same bytes each time, and a CSV of exactly what is drawn.

A probe's figures live in a module of their own, listed in `_HOMES`. Its `FIGURES` maps a name to `build(report, page)`,
which draws on `page.grid(...)` and returns the table of what it drew, or None where there is nothing to draw; its
docstring is the caption. Its `headline(report, ax)` draws the one figure that says most on anybody's axes. A probe
without such a module gets its single numbers as dots with intervals.

No pyplot, no torch: a figure can be drawn from a saved report anywhere, and nobody's backend or settings change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ..data.errors import UsageError, nearest
from . import marks
from .inert import csv_cell
from .report import Report

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..probes.measure import Measure


@dataclass(frozen=True)
class Style:
    """Widths of a venue in inches: of one column, and of the whole page."""

    column: float
    page: float


STYLES = {
    "neurips": Style(5.5, 5.5),
    "iclr": Style(5.5, 5.5),
    "icml": Style(3.25, 6.75),
    "acl": Style(3.03, 6.3),
}
FORMATS = ("pdf", "svg", "png")

_HOMES = {"gd-alignment": "gd_figures", "induction-heads": "induction_figures", "token-norms": "norm_figures"}
_DPI = 300
_SETTINGS: dict[Any, Any] = {
    "pdf.fonttype": 42,  # TrueType: conference systems refuse Type 3
    "svg.fonttype": "path",  # text has the same shape where the font is not installed
    "svg.hashsalt": "mesascope",
    "figure.dpi": _DPI,  # the layout is measured at the resolution it is saved in
    "font.family": "STIXGeneral",  # comes with matplotlib, and goes with the Times of these venues
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.titlepad": 4,
    "axes.labelpad": 2.5,
    "lines.linewidth": 1.1,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.05,
}


@contextmanager
def settings() -> Iterator[None]:
    """Our settings on top of matplotlib's own defaults, whatever the caller set; all as before afterwards."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield


@dataclass
class Page:
    """Room for one figure in a venue's widths."""

    style: Style
    figure: Figure

    def grid(self, rows: int, columns: int, height: float, width: float | None = None, **keywords: Any) -> list[Axes]:
        """Axes for rows x columns panels on a figure `height` inches high and as wide as the page, if not said."""
        self.figure.set_size_inches(self.style.page if width is None else width, height)
        return list(self.figure.subplots(rows, columns, squeeze=False, **keywords).flat)

    def legend(self, handles: Sequence[Artist]) -> None:
        """One legend for all panels, below them."""
        marks.legend_below(self.figure, handles)


Build = Callable[[Report, Page], "pd.DataFrame | None"]


def draw(report: Report, folder: str | Path, formats: Sequence[str] = FORMATS, style: str = "neurips") -> list[Path]:
    """Every figure of a report as `folder/figures/NAME.{pdf,svg,png}`, and as `NAME.csv` exactly what is drawn."""
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"unknown figure format {wanted!r}: {nearest(wanted, FORMATS)}")
    _check_style(style)
    target = Path(folder) / "figures"
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name in figures_of(report.probe):
        drawn = render(report, name, style)
        if drawn is not None:
            written += save(*drawn, target / name, formats)
    return written


def _check_style(style: str) -> None:
    if style not in STYLES:
        raise UsageError(f"unknown figure style {style!r}: {nearest(style, STYLES)}")


def figures_of(probe: str) -> Mapping[str, Build]:
    """The figures of a probe, by name."""
    if probe not in _HOMES:
        return {"measures": measures_figure}
    return import_module(f".{_HOMES[probe]}", __package__).FIGURES


def render(report: Report, name: str, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    """One figure, laid out and not yet saved, and the table of what is drawn; None where there is nothing to draw."""
    _check_style(style)
    with settings():
        page = Page(STYLES[style], Figure(layout="constrained"))
        table = figures_of(report.probe)[name](report, page)
        if table is None:
            return None
        engine = page.figure.get_layout_engine()
        assert engine is not None
        engine.execute(page.figure)
        page.figure.set_layout_engine("none")  # laid out once, for all formats
    return page.figure, table


def save(figure: Figure, table: pd.DataFrame, stem: Path, formats: Sequence[str] = FORMATS) -> list[Path]:
    """One figure in each format, and its table."""
    paths = [stem.with_name(f"{stem.name}.{wanted}") for wanted in formats]
    with settings():
        for path, wanted in zip(paths, formats, strict=True):
            _print(figure, path, wanted)
    csv = stem.with_name(f"{stem.name}.csv")
    table.map(csv_cell).to_csv(csv, index=False, lineterminator="\n")
    return [*paths, csv]


def _print(figure: Figure, path: Path, wanted: str) -> None:
    """What `savefig` does, in half the time: it draws everything twice, for layouts that ours no longer needs."""
    dpi = figure.dpi
    try:
        if wanted == "pdf":
            FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})
        elif wanted == "svg":
            FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})
        else:
            FigureCanvasAgg(figure).print_png(path)
    finally:
        figure.dpi = dpi


def plot(report: Report, ax: Axes | None = None) -> pd.DataFrame:
    """The figure that says most, on the caller's axes (default: pyplot's current ones); returns what is drawn."""
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.gca()
    if report.probe in _HOMES:
        return import_module(f".{_HOMES[report.probe]}", __package__).headline(report, ax)
    return marks.together(plot_measures(unit, found, ax) for unit, found in list(_by_unit(report).items())[:1])


# -- the figure of a probe that has none of its own --------------------------------------------------------------------


def _by_unit(report: Report) -> dict[str, dict[str, Measure]]:
    units: dict[str, dict[str, Measure]] = {}
    for name, measure in marks.last_step(report.measures).items():
        if not measure.axes:
            units.setdefault(measure.unit, {})[name] = measure
    return units


def plot_measures(unit: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """Measures of one unit as dots with intervals and nulls, one a row."""
    table = marks.rows([(marks.Look(name), measure) for name, measure in measures.items()], ax, panel=unit)
    ax.set_xlabel(unit)
    return table


def measures_figure(report: Report, page: Page) -> pd.DataFrame | None:
    """Every measure that is a single number, with its 95 % interval and its nulls; one panel a unit."""
    units = _by_unit(report)
    if not units:
        return None
    heights = [len(found) + 1.5 for found in units.values()]
    axes = page.grid(len(units), 1, 0.3 + 0.2 * sum(heights), page.style.column, height_ratios=heights)
    tables = [plot_measures(unit, found, ax) for (unit, found), ax in zip(units.items(), axes, strict=True)]
    page.legend(marks.keys(measure for found in units.values() for measure in found.values()))
    return marks.together(tables)
