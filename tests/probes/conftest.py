"""What every figure of every probe owes its readers, measured on the canvas: see `faults`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.path import Path
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

LEAST_CONTRAST = 3.0


@pytest.fixture(scope="session")
def faults() -> Callable[..., list[str]]:
    """What is wrong with a figure, in words: texts that are cut off or run into another, marks that are too pale, a
    legend that lies over a panel or shows a mark that is not drawn, panels without a title of their own; and with its
    table and caption, a series without its nulls or a word why, a null without a name, a dotted line nobody explains.
    """
    return faults_of


def faults_of(figure: Figure, table: pd.DataFrame | None = None, caption: str = "") -> list[str]:
    found = [*texts_that_clash(figure), *pale(figure), *legends_over_panels(figure), *keys_of_nothing(figure)]
    found += [*untitled(figure), *bars_over_texts(figure), *nulls_without_keys(figure)]
    if table is not None:
        found += [*without_nulls(table), *nameless_nulls(figure, table), *unexplained(figure, caption)]
    return found


# -- texts -------------------------------------------------------------------------------------------------------------


def drawn_texts(figure: Figure) -> list[tuple[str, Path]]:
    """Every text that reaches the canvas, with its outline in pixels, rotation included."""
    from mesascope.probes.drawing import page  # after the hook above

    canvas = FigureCanvasAgg(figure)
    texts: list[Text] = []
    with page.settings(), pytest.MonkeyPatch.context() as patch:
        for other in (Collection, AxesImage, Line2D, Patch):
            patch.setattr(other, "draw", lambda self, renderer: None)
        patch.setattr(Text, "draw", lambda self, renderer: texts.append(self) if self.get_visible() else None)
        figure.draw(canvas.get_renderer())
    return [(text.get_text(), outline(text)) for text in texts if text.get_text().strip()]


def outline(text: Text) -> Path:
    turn = text.get_rotation()
    if turn % 90 == 0:
        box = text.get_window_extent()
        return Path(box.corners()[[0, 1, 3, 2, 0]])
    assert text.get_rotation_mode() == "anchor"
    anchor = text.get_transform().transform(text.get_position())
    text.set_rotation(0)
    corners = text.get_window_extent().corners()[[0, 1, 3, 2, 0]]
    text.set_rotation(turn)
    return Path(Affine2D().rotate_deg_around(*anchor, turn).transform(corners))


def texts_that_clash(figure: Figure) -> list[str]:
    """Texts that leave the canvas or run into another."""
    texts = drawn_texts(figure)
    inside = figure.bbox.padded(0.5)
    cut = [f"{text!r} leaves the canvas" for text, path in texts if not inside.contains(*path.get_extents().min)
           or not inside.contains(*path.get_extents().max)]  # fmt: skip
    clashes = [f"{a!r} on {b!r}" for (a, p), (b, q) in combinations(texts, 2) if p.intersects_path(q, filled=True)]
    return cut + clashes


# -- marks and legends -------------------------------------------------------------------------------------------------


def panels_of(figure: Figure) -> list[Axes]:
    """Axes that are no colour bar."""
    return [ax for ax in figure.axes if not hasattr(ax, "_colorbar")]


def luminance(color: Any) -> float:
    """Relative luminance of an sRGB colour (WCAG 2)."""
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), channels))


def contrast(one: Any, other: Any) -> float:
    """Contrast ratio of two colours, 1 to 21 (WCAG 2)."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def on_paper(color: Any, alpha: float | None) -> np.ndarray:
    """What is seen of a colour that lets white through."""
    share = 1.0 if alpha is None else alpha
    return share * np.array(to_rgb(color)) + 1 - share


def pale(figure: Figure) -> Iterator[str]:
    """Lines and markers whose contrast with the white behind them is below 3:1. On the colours of a map nothing is seen
    but a mark with a black edge in a white ring, of which one always stands out.
    """
    for ax in panels_of(figure):
        for line in ax.lines:
            if line.get_path_effects():
                ring = to_rgb(line.get_path_effects()[0]._gc["foreground"])  # pyright: ignore
                if contrast(ring, line.get_markeredgecolor()) < 20:
                    yield f"a mark on {ax.get_title()!r} has an edge of {line.get_markeredgecolor()} in {ring}"
                continue
            colors = {line.get_color()} if line.get_linestyle() != "None" else {line.get_markeredgecolor()}
            if (
                ax.images
                or min(contrast(on_paper(color, line.get_alpha()), "white") for color in colors) < LEAST_CONTRAST
            ):
                yield f"{line.get_color()} on {ax.get_title()!r} is too pale"


def legends_of(figure: Figure) -> list[Legend]:
    return [*figure.legends, *(held for ax in figure.axes if (held := ax.get_legend()) is not None)]


def legends_over_panels(figure: Figure) -> Iterator[str]:
    for legend in legends_of(figure):
        for ax in figure.axes:
            if legend.get_window_extent().overlaps(ax.bbox):
                yield f"a legend lies over {ax.get_title()!r}"


def bars_over_texts(figure: Figure) -> Iterator[str]:
    """Bars of colours that lie over a title, a label or a tick label of a panel."""
    bars = [ax for ax in figure.axes if hasattr(ax, "_colorbar")]
    for ax in panels_of(figure):
        ticks = [*ax.get_xticklabels(), *ax.get_yticklabels()]
        texts = [text for text in (ax.title, ax.xaxis.label, ax.yaxis.label, *ticks) if text.get_text()]
        for bar in bars:
            yield from (
                f"a bar of colours lies over {text.get_text()!r}"
                for text in texts
                if text.get_window_extent().overlaps(bar.bbox)
            )


def looks_drawn(figure: Figure) -> set[tuple[float, ...]]:
    """The colours of everything that is drawn in the panels."""
    found: set[tuple[float, ...]] = set()
    for ax in figure.axes:
        found |= {to_rgb(line.get_color()) for line in ax.lines}
        for patches in ax.collections:
            found |= {tuple(color[:3]) for color in (*patches.get_facecolor(), *patches.get_edgecolor())}
        found |= {to_rgb(patch.get_facecolor()) for patch in ax.patches}
    return found


def keys_of_nothing(figure: Figure) -> Iterator[str]:
    """Keys of a legend in a colour that is drawn nowhere. Black ones stand for marks in several colours."""
    drawn = looks_drawn(figure)
    for legend in legends_of(figure):
        for handle, text in zip(legend.legend_handles, legend.get_texts(), strict=True):
            color = to_rgb(handle.get_color() if isinstance(handle, Line2D) else handle.get_facecolor())
            if color != (0, 0, 0) and color not in drawn and not _hatched(handle):
                yield f"the legend shows {text.get_text()!r}, which is not drawn"


def nulls_without_keys(figure: Figure) -> Iterator[str]:
    """Nulls that are drawn, in grey or hatched in their series' colour, without a key of their kind in the legend."""
    from mesascope.probes.drawing.marks import NULL_LOOKS, REFERENCE

    handles = [handle for legend in legends_of(figure) for handle in legend.legend_handles]
    colors = {to_rgb(h.get_color()) if isinstance(h, Line2D) else to_rgb(h.get_facecolor()) for h in handles}
    grey = {to_rgb(look[0]) for look in NULL_LOOKS}
    for ax in panels_of(figure):
        drawn = {to_rgb(line.get_color()) for line in ax.lines if line.get_linewidth() != REFERENCE["lw"]}
        yield from (f"the legend has no key for {color} on {ax.get_title()!r}" for color in (drawn & grey) - colors)
        if any(band.get_hatch() for band in ax.collections) and not any(map(_hatched, handles)):
            yield f"the legend does not explain the hatched bands on {ax.get_title()!r}"


def _hatched(handle: Any) -> bool:
    return isinstance(handle, Patch) and handle.get_hatch() is not None


def untitled(figure: Figure) -> Iterator[str]:
    """Of several panels each has a title, or names on its y axis and a label below it, and no two the same."""
    panels = panels_of(figure)
    titles = [ax.get_title() or f"{ax.get_xlabel()} {ax.get_ylabel()}".strip() for ax in panels]
    if len(panels) > 1:
        yield from (f"{title!r} is the title of several panels" for title in {*titles} if titles.count(title) > 1)
        yield from ("a panel has no title" for title in titles if not title)
    yield from (
        f"{ax.get_title()!r} is empty" for ax in panels if not (ax.lines or ax.images or ax.texts or ax.collections)
    )


# -- tables and captions -----------------------------------------------------------------------------------------------


def without_nulls(table: pd.DataFrame) -> Iterator[str]:
    """Series without a row of their own nulls, and without words on why there is none, their own or their panel's."""
    table = table.astype({"panel": object, "series": object, "message": object}).fillna(
        {"panel": "", "series": "", "message": ""}
    )
    for panel, rows in table.groupby("panel"):
        words = rows[(rows["kind"] == "words") & (rows["message"].str.len() > 0)]
        if (words["series"] == "").any():
            continue
        told = {*rows[rows["kind"].str.startswith("null: ")]["series"], *words["series"]}
        estimates = rows[rows["kind"].isin(["estimate", "minimum, median, maximum"])]
        yield from (
            f"{panel!r}: {series!r} has no null, and no word on why" for series in {*estimates["series"]} - told
        )


def nameless_nulls(figure: Figure, table: pd.DataFrame) -> Iterator[str]:
    names = {kind.removeprefix("null: ") for kind in table["kind"] if str(kind).startswith("null: ")}
    labels = " ".join(" ".join(text.get_text().split()) for legend in legends_of(figure) for text in legend.get_texts())
    yield from (f"the legend does not name the null {name!r}" for name in names if name not in labels)


def unexplained(figure: Figure, caption: str) -> Iterator[str]:
    """Dotted lines across a panel, and symbols, that neither a legend nor the caption tells of."""
    from mesascope.probes.drawing.marks import REFERENCE

    labels = " ".join(text.get_text() for legend in legends_of(figure) for text in legend.get_texts())
    keys = [handle for legend in legends_of(figure) for handle in legend.legend_handles]
    in_legend = any(isinstance(key, Line2D) and key.get_color() == REFERENCE["color"] and key.get_linewidth() == 0.6
                    for key in keys)  # fmt: skip
    dotted = any(
        line.get_color() == REFERENCE["color"] and line.get_linewidth() == REFERENCE["lw"]
        for ax in figure.axes for line in ax.lines
    )  # fmt: skip
    if dotted and "dotted" not in caption.lower() and not in_legend:
        yield "nobody explains the dotted line"
    if any("$S$" in ax.get_title() for ax in figure.axes) and " S" not in caption + labels:
        yield "nobody explains S"
