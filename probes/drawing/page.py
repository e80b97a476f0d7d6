"""A page to draw one figure on: a venue's widths, settings that nobody else sees, and the same bytes each time.

No pyplot, no torch: a figure is drawn from findings anywhere, and nobody's backend or settings change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from ...data.errors import UsageError, nearest
from ..findings import Findings
from . import marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes


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
    "axes.titley": 1.0,  # nothing stands above any panel: without, each draw and layout looks for it
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


Build = Callable[[Findings, Page], "pd.DataFrame | None"]
"""Draws a figure on a page and returns the table of what it drew; None where there is nothing to draw. Its docstring is
the caption."""


def check_style(style: str) -> None:
    if style not in STYLES:
        raise UsageError(f"figure style {style!r} is not known; {nearest(style, STYLES)}")


def compose(build: Build, findings: Findings, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    """One figure, not yet laid out, and the table of what is drawn; None where there is nothing to draw."""
    check_style(style)
    with settings():
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)  # one renderer measures all text: it remembers how wide each is
        table = build(findings, Page(STYLES[style], figure))
    return None if table is None else (figure, table)


def render(build: Build, findings: Findings, style: str = "neurips") -> tuple[Figure, pd.DataFrame] | None:
    """One figure, laid out and not yet saved, and the table of what is drawn; None where there is nothing to draw."""
    composed = compose(build, findings, style)
    if composed is not None:
        figure, _ = composed
        engine = figure.get_layout_engine()
        assert engine is not None
        with settings():
            engine.execute(figure)
        figure.set_layout_engine("none")  # laid out once, for all formats
    return composed


def save(figure: Figure, stem: Path, formats: Sequence[str]) -> list[Path]:
    """One figure in each format."""
    paths = [stem.with_name(f"{stem.name}.{wanted}") for wanted in formats]
    with settings():
        for path, wanted in zip(paths, formats, strict=True):
            with _as_it_was(figure):
                _PRINT[wanted](figure, path)
    return paths


@contextmanager
def _as_it_was(figure: Figure) -> Iterator[None]:
    """Formats draw on canvases of their own, at a resolution of their own."""
    dpi, canvas = figure.dpi, figure.canvas
    try:
        yield
    finally:
        figure.dpi = dpi
        figure.set_canvas(canvas)


# What `savefig` does, in half the time: it draws everything twice, for layouts that ours no longer needs.


def _print_pdf(figure: Figure, path: Path) -> None:
    FigureCanvasPdf(figure).print_pdf(path, metadata={"CreationDate": None})


def _print_svg(figure: Figure, path: Path) -> None:
    FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


def _print_png(figure: Figure, path: Path) -> None:
    """Without the alpha channel, which is opaque everywhere and takes a third of the time to compress."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    opaque = np.asarray(canvas.buffer_rgba())[..., :3]
    Image.fromarray(opaque).save(path, dpi=(figure.dpi, figure.dpi), compress_level=3)


_PRINT = {"pdf": _print_pdf, "svg": _print_svg, "png": _print_png}
