"""Axes: logarithmic ones with plain numbers, on one side of 0 or on both, one for cosines, and one that starts at 0."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from matplotlib.scale import FuncScale
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator

from .minor_ticks import MinorTicks

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def spans_decades(values: Iterable[float]) -> bool:
    """Whether positive numbers need a logarithmic axis to be told apart; one that is a rounding error is just 0."""
    found = np.array([value for value in values if np.isfinite(value)])
    return bool(len(found) and found.min() > 0 and 20 < found.max() / found.min() < 1e6)


def log_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers at its ticks, as few as its range needs."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}scale": "log"})
    low, high = sorted(axis.get_view_interval())
    ratio = high / low
    digits = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 5 else (1, 2, 5) if ratio < 50 else (1, 3) if ratio < 300 else (1,)
    axis.set_major_locator(LogLocator(subs=digits, numticks=_most_ticks(ax, which)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_label(value)))
    MinorTicks(ax, which)


def _most_ticks(ax: Axes, which: Literal["x", "y"]) -> int:
    """As many labels as have room on an axis, which has a little less of it than before the layout."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    box = ax.get_position()
    inches = box.width * figure.get_figwidth() / 0.45 if which == "x" else box.height * figure.get_figheight() / 0.2
    return int(np.clip(inches, 3, 6))


def signed_log_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """An axis for numbers of several sizes on both sides of 0: linear up to 1, logarithmic beyond."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = sorted(axis.get_view_interval())
    if max(-low, high) < 4:  # linear as it is
        return
    ax.set(**{f"{which}scale": FuncScale(axis, (np.arcsinh, np.sinh)), f"{which}lim": (low, high)})
    sizes = [size * 10**decade for decade in range(6) for size in (1, 3)]
    ticks = [*(-size for size in reversed(sizes)), 0, *sizes]
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "−")))


def tick_label(value: float) -> str:
    """A number as a tick label."""
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:g}"
    exponent = round(math.log10(abs(value)))
    return f"$10^{{{exponent}}}$"


def from_zero(ax: Axes, which: Literal["x", "y"]) -> None:
    """An axis from 0 on, where marks at 0 are seen whole."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}lim": (-0.03 * max(axis.get_view_interval()), None)})


def cosine_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """An axis for cosines on which each further nine (.9, .99, .999) has the same room, since they part near 1."""
    tiny = 1e-5  # a cosine of exactly 1 lies at .99999, where the axis ends
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = (ax.dataLim.intervalx if which == "x" else ax.dataLim.intervaly) if ax.has_data() else (0.0, 1.0)
    low, high = max(min(low, 0.0), -1.0), min(max(high, 0.9), 1.0)

    def spread(cosine: Any) -> Any:
        return -np.log10(np.maximum(1 + tiny - np.asarray(cosine), tiny / 10))

    def gather(place: Any) -> Any:
        return 1 + tiny - 10.0 ** -np.asarray(place)

    ax.set(**{f"{which}scale": FuncScale(axis, (spread, gather))})
    room = 0.06 * (spread(high) - spread(low))
    ends = gather(spread(low) - room), gather(spread(high) + room)
    ax.set(**{f"{which}lim": ends})
    shown = [0.0, 0.9, 0.99, 0.999]
    shown += [-1.0] if low < -0.7 else []
    shown += [0.5] if high < 0.99 else []
    shown += [1.0] if high > 0.9999 else []
    axis.set_major_locator(FixedLocator([cosine for cosine in shown if ends[0] <= cosine <= ends[1]]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("0.", ".")))
