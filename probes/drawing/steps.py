"""The axis of training steps: the one on which most of what happens takes most of the width."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib import rcParams
from matplotlib.font_manager import FontProperties
from matplotlib.scale import FuncScale
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

from . import scales

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..measure import Measure

Kind = Literal["linear", "logarithmic", "even"]
"""even: measured steps stand at equal distances, and lines between them are straight."""
BETTER = 0.1
"""Of the width: by so much better an axis has to be, to be chosen before a simpler one."""
_LABEL = 2.7  # times the size of the font: between the middles of two tick labels


def kind_of(measures: Iterable[Measure]) -> Kind:
    """The axis whose width goes best with the change, on average over these measures: see `_agreement`.

    measures: with `step` as their first axis; the cells of one change together
    """
    held = [measure for measure in measures if len(measure.values) > 2 and _changes(measure).any()]
    kinds: tuple[Kind, ...] = ("linear", "logarithmic", "even")
    best: Kind = "linear"
    found = {kind: np.mean([_agreement(kind, measure) for measure in held]) for kind in kinds} if held else {}
    for kind in kinds[1:]:
        if found and found[kind] > found[best] + BETTER:
            best = kind
    return best


def _changes(measure: Measure) -> Float[np.ndarray, " interval"]:
    """How much the cells of a measure change from step to step."""
    return np.nansum(np.abs(np.diff(measure.values, axis=0)).reshape(len(measure.values) - 1, -1), axis=1)


def _agreement(kind: Kind, measure: Measure) -> float:
    """The share of the axis that would not have to move, were every interval between steps as wide as its share of the
    change; 1 where it is.
    """
    changes = _changes(measure)
    return float(np.minimum(_widths(kind, measure.labels("step")), changes / changes.sum()).sum())


def _widths(kind: Kind, steps: Sequence[float]) -> Float[np.ndarray, " interval"]:
    """The share of the axis that lies between each two steps."""
    places = {"linear": np.asarray(steps, float), "logarithmic": _logarithms(steps), "even": np.arange(len(steps))}
    gaps = np.diff(places[kind]).astype(float)
    return gaps / gaps.sum()


def _first(steps: Sequence[float]) -> float:
    """The first step after 0, up to which a logarithmic axis is linear."""
    return min(step for step in steps if step > 0)


def _logarithms(steps: Sequence[float]) -> np.ndarray:
    """Where matplotlib's symmetric logarithmic axis puts the steps, in decades."""
    first = _first(steps)
    linear = 10 / 9  # decades that lie between 0 and the first step
    return np.array([linear + math.log10(step / first) if step >= first else linear * step / first for step in steps])


def set_axis(ax: Axes, steps: Sequence[float], kind: Kind) -> None:
    """The x axis of a panel over these steps."""
    ax.set_xlabel("training step")
    if kind == "logarithmic":
        _logarithmic(ax, steps)
    elif kind == "even":
        _even(ax, np.asarray(steps, float))


class Labelled(FixedLocator):
    """The ends of these steps, and of those between as many as have room for a label when the axis is drawn."""

    def __init__(self, ax: Axes, steps: Sequence[float]) -> None:
        super().__init__(steps)
        self._ax, self._steps = ax, np.asarray(steps, dtype=float)

    def tick_values(self, vmin: float | None, vmax: float | None) -> Sequence[float]:
        figure = self._ax.get_figure(root=True)
        assert figure is not None
        ends = self._ax.get_xaxis_transform().transform(np.stack([self._steps, 0 * self._steps], axis=1))
        x, last = ends[:, 0] / figure.dpi, len(self._steps) - 1
        apart = _LABEL * _font_size(self._ax) / 72
        shown = [0]
        for place in range(1, last):
            if x[place] - x[shown[-1]] >= apart and x[last] - x[place] >= apart:
                shown.append(place)
        return self._steps[[*shown, last]].tolist()


def _font_size(ax: Axes) -> float:
    """Points, of tick labels, whatever they are set to."""
    size = ax.xaxis.get_tick_params().get("labelsize", rcParams["xtick.labelsize"])
    return FontProperties(size=size).get_size_in_points()


def _label(ax: Axes, steps: Sequence[float]) -> None:
    ax.xaxis.set_major_locator(Labelled(ax, steps))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda step, _: _step_label(step)))


def _step_label(step: float) -> str:
    """A power of ten is written as one where it is long; 143000 is none."""
    power = step > 0 and math.log10(step).is_integer()
    return scales.tick_label(step) if power else f"{step:.12g}"


def _logarithmic(ax: Axes, steps: Sequence[float]) -> None:
    first, last = _first(steps), max(steps)
    ax.set_xscale("symlog", linthresh=first)
    decades = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    _label(ax, sorted({*([0.0] if min(steps) == 0 else []), *decades, float(last)}))
    ax.set_xlim(-0.4 * first if min(steps) == 0 else 0.7 * first, 1.5 * last)


def _even(ax: Axes, steps: Float[np.ndarray, " step"]) -> None:
    """Every measured step has a tick, and as many have a label as there is room for."""
    places = np.arange(len(steps), dtype=float)
    beyond = steps[0] - (steps[1] - steps[0]), steps[-1] + (steps[-1] - steps[-2])
    at = np.concatenate([[beyond[0]], steps, [beyond[1]]])
    to = np.concatenate([[-1.0], places, [len(steps)]])

    def place(step: Any) -> Any:
        return np.interp(step, at, to)

    def step_at(place: Any) -> Any:
        return np.interp(place, to, at)

    ax.set_xscale(FuncScale(ax.xaxis, (place, step_at)))
    ax.set_xlim(step_at(-0.3), step_at(len(steps) - 0.7))
    _label(ax, steps.tolist())
    ax.xaxis.set_minor_locator(FixedLocator(list(steps)))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xlabel("step (not to scale)")
