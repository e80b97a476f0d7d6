"""A page to draw one figure on: a venue's widths, settings that nobody else sees, and the same bytes each time.

No pyplot, no torch: a figure is drawn from findings anywhere, and nobody's backend or settings change.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from ...data.errors import UsageError, nearest
from ..findings import Findings
from . import legends

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
LEAST_WIDTH, MOST_WIDTH = 3.0, 30.0
LEAST_PANEL = 1.45
LEAST_AXES = (1.5, 1.0)
"""Inches: of a figure, of a panel with its labels, and of somebody's own axes, from left to right and from the bottom
to the top."""
_LETTERS_PER_INCH = 15
_WIDE_BAR = 1.5  # inches from which a bar of colours has room for five numbers
_ABOVE_BAR = 0.15  # inches between maps and the bar of their colours, at most
_LINE = 0.14  # inches that a line of text takes from the bottom to the top
AnyPanel = TypeVar("AnyPanel")

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
    """Room for one figure in a venue's widths, or for one of its panels.

    panel:  the one that is drawn, by its title or its number from 1; None: all of them
    ax:     somebody's own axes, which that panel is drawn on; None: axes of a figure of ours
    """

    style: Style
    figure: Figure
    panel: str | None = None
    ax: Axes | None = None

    def chosen(self, panels: Mapping[str, AnyPanel]) -> dict[str, AnyPanel]:
        """Of the panels of a figure, by title, those that are drawn. UsageError where the one asked for is not there.

        A builder asks before it draws anything, so that legend, colours and table are those of what is drawn.
        """
        numbered = {str(number): title for number, title in enumerate(panels, 1)}
        wanted = "1" if self.panel is None and self.ax is not None else self.panel
        if wanted is None:
            return dict(panels)
        title = wanted if wanted in panels else numbered.get(wanted)
        if title is None:
            held = ", ".join(f"{number}: {title}" for number, title in numbered.items())
            raise UsageError(f"panel {wanted!r} is not there; expected a number or a title of these: {held}")
        return {title: panels[title]}

    def grid(
        self,
        n: int,
        columns: int,
        height: float | Sequence[float],
        *,
        widths: Sequence[float] = (),
        width: float | None = None,
        least: float = LEAST_PANEL,
        square: bool = False,
        **keywords: Any,
    ) -> list[Axes]:
        """Axes for n panels, in as many columns as the page has room for, `columns` at most.

        height:  inches of a panel with its title and labels, or of each panel
        widths:  shares of the width that panels get which all stand in one row
        width:   of the figure, in inches; None: of the page, and of a column for one panel
        least:   inches that a panel takes from left to right
        square:  whether panels keep the shape of their maps, whatever room there is
        """
        if self.ax is not None:
            return [self.ax]
        if square:
            self.figure.set_layout_engine("compressed")
        if width is None:
            width = self.style.column if n == 1 else self.style.page
        columns = max(1, min(columns, n, int(width / least)))
        heights = np.broadcast_to(np.asarray(height, dtype=float), (n,))
        rows = [heights[start : start + columns].max() for start in range(0, n, columns)]
        self.figure.set_size_inches(width, sum(rows))
        ratios = {"width_ratios": widths} if len(widths) == columns == n else {}
        axes = self.figure.subplots(len(rows), columns, squeeze=False, height_ratios=rows, **ratios, **keywords)
        for unused in axes.flat[n:]:
            unused.remove()
        return list(axes.flat[:n])

    def legend(self, handles: Sequence[Artist]) -> None:
        """One legend for all panels: below them, or beside somebody's own axes, where it covers nothing."""
        if self.ax is None:
            self._taller(legends.legend_below(self.figure, handles))
        elif handles:
            self.ax.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), fontsize="small")

    def color_bar(self, axes: Sequence[Axes], label: str) -> None:
        """The colours of maps that share them, below them; nothing where no map was drawn."""
        drawn = [image for ax in axes for image in ax.images]
        if drawn:
            boxes = [ax.get_position() for ax in axes]
            wide = max(box.x1 for box in boxes) - min(box.x0 for box in boxes)
            high = max(box.y1 for box in boxes) - min(box.y0 for box in boxes)
            bins = 4 if wide * self.figure.get_figwidth() > _WIDE_BAR else 2
            pad = min(0.05, _ABOVE_BAR / (high * self.figure.get_figheight()))  # a share of what the maps take
            self.figure.colorbar(
                drawn[0], ax=list(axes), location="bottom", aspect=25 * min(len(axes), 2), pad=pad, label=label,
                ticks=MaxNLocator(bins),
            )  # fmt: skip

    def heading(self, text: str) -> None:
        """A line above all panels; somebody's own figure gets none."""
        if text and self.ax is None:
            lines = textwrap.wrap(text, int(_LETTERS_PER_INCH * self.figure.get_figwidth()))
            self.figure.suptitle("\n".join(lines), fontsize=8)
            self._taller(_LINE * len(lines))

    def _taller(self, inches: float) -> None:
        self.figure.set_figheight(self.figure.get_figheight() + inches)


Build = Callable[[Findings, Page], "pd.DataFrame | None"]
"""Draws a figure on a page and returns the table of what it drew; None where there is nothing to draw. Its docstring is
the caption."""


def style_of(name: str, width: float | None = None) -> Style:
    """The widths of a venue; or of a column and a page that are both `width` inches wide.

    UsageError for a venue that is not known, and for widths that no figure of ours is legible at.
    """
    if name not in STYLES:
        raise UsageError(f"figure style {name!r} is not known; {nearest(name, STYLES)}")
    if width is None:
        return STYLES[name]
    if not LEAST_WIDTH <= width <= MOST_WIDTH:
        raise UsageError(f"width = {width:g}: expected {LEAST_WIDTH:g} to {MOST_WIDTH:g} inches")
    return Style(width, width)


def compose(
    build: Build, findings: Findings, style: Style = STYLES["neurips"], panel: str | None = None
) -> tuple[Figure, pd.DataFrame] | None:
    """One figure or one panel of it, not yet laid out, and the table of what is drawn; None where there is nothing."""
    with settings():
        figure = Figure(layout="constrained")
        FigureCanvasAgg(figure)  # one renderer measures all text: it remembers how wide each is
        table = build(findings, Page(style, figure, panel))
    return None if table is None else (figure, table)


def render(
    build: Build, findings: Findings, style: Style = STYLES["neurips"], panel: str | None = None
) -> tuple[Figure, pd.DataFrame] | None:
    """One figure, laid out and not yet saved, and the table of what is drawn; None where there is nothing to draw."""
    composed = compose(build, findings, style, panel)
    if composed is not None:
        figure, _ = composed
        engine = figure.get_layout_engine()
        assert engine is not None
        with settings():
            engine.execute(figure)
            if _fold(figure):
                engine.execute(figure)
        figure.set_layout_engine("none")  # laid out once, for all formats
    return composed


def _fold(figure: Figure) -> bool:
    """Break titles and labels that reach beyond their panels, and make the figure as much higher; whether there were
    any.
    """
    longer: dict[tuple[int, str], int] = {}
    for ax in figure.axes:
        room = ax.bbox.width + 0.1 * figure.dpi
        for kind, text in (("title", ax.title), ("label", ax.xaxis.label)):
            words, width = text.get_text(), text.get_window_extent().width
            if "\n" not in words and width > room:
                lines = textwrap.wrap(words, int(len(words) * room / width), break_long_words=False)
                text.set_text("\n".join(lines))
                spec = ax.get_subplotspec()
                row = (0 if spec is None else spec.rowspan.start, kind)
                longer[row] = max(longer.get(row, 0), len(lines) - 1)
    added = sum(longer.values())
    figure.set_figheight(figure.get_figheight() + _LINE * added)
    return added > 0


def draw_on(build: Build, findings: Findings, ax: Axes, panel: str | None = None) -> pd.DataFrame | None:
    """One panel (default: the first) on somebody's own axes, in their settings. UsageError where these are too small to
    read anything on.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
    if box.width < LEAST_AXES[0] or box.height < LEAST_AXES[1]:
        raise UsageError(
            f"the axes are {box.width:.2g} x {box.height:.2g} inches, too small to read; expected at least"
            f" {LEAST_AXES[0]:g} x {LEAST_AXES[1]:g}: make the figure larger, or give it fewer axes"
        )
    return build(findings, Page(Style(box.width, box.width), figure, panel, ax))


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
