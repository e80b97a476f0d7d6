"""Many marks as few artists: matplotlib spends most of a figure's time on the number of its artists."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Strokes:
    """Lines and markers, collected and then drawn as one artist for all that look the same.

    Within one look there is a gap after each mark. Between looks `zorder` says what lies above what.
    """

    def __init__(self) -> None:
        self._by_style: dict[tuple[tuple[str, Any], ...], tuple[list[float], list[float]]] = {}

    def add(self, x: Iterable[float], y: Iterable[float], **style: Any) -> None:
        """A line or markers through these points; the style is that of `Axes.plot`."""
        xs, ys = self._by_style.setdefault(tuple(style.items()), ([], []))
        xs += [*x, math.nan]
        ys += [*y, math.nan]

    def draw(self, ax: Axes) -> None:
        for style, (xs, ys) in self._by_style.items():
            ax.plot(xs, ys, **dict(style))
