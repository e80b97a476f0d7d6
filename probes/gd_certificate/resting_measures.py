"""Measures of several steps: the plateaus of the expected loss, level by level."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from ..measure import Measure, missing, without_interval
from ..statistics.bootstrap import t_interval
from ..statistics.plateaus import BOUND as SLOPE
from ..statistics.plateaus import SHORTEST, Plateau, dwell
from .names import BOUND, FIRST, LAST, LEVEL
from .optimum_measures import SQUARED
from .resting import AT, Run

NEAR = 1 / 8
"""Of the least gap between two levels: so near a loss is at a level."""
MOVED = "half a gap away"
UNITS = {
    "plateau_loss": SQUARED,
    "plateau_difference": "relative difference",
    "plateau_steps": "training step",
    "plateau_decades": "decades of steps",
    "level_decades": "decades of steps",
    "levels_reached": "levels",
}
NO_NULLS = "a plateau is told by its slope; level_decades has nulls, of levels that are moved"


def no_plateaus(why: str) -> dict[str, Measure]:
    return {name: missing(unit, "not applicable", why) for name, unit in UNITS.items()}


def plateau_measures(runs: Sequence[Run]) -> dict[str, Measure]:
    """Means over runs, each run's own number kept as a point."""

    def of(name: str, number: Callable[[Run, int, Plateau], float]) -> Measure:
        return _over(runs, name, np.array([_by_level(run, number) for run in runs]), (LEVEL,))

    steps = [_by_level(run, lambda _, __, one, end=end: getattr(one, end)) for run in runs for end in (FIRST, LAST)]
    both = np.array(steps).reshape(len(runs), 2, -1).swapaxes(1, 2)
    at, moved = zip(*map(_dwell, runs), strict=True)
    reached = np.array([float(len(run.rests)) for run in runs])
    return {
        "plateau_loss": of("plateau_loss", lambda _, __, one: one.loss),
        "plateau_difference": of("plateau_difference", lambda run, level, one: run.off(level, one)),
        "plateau_steps": _over(runs, "plateau_steps", both, (LEVEL, BOUND)),
        "plateau_decades": of("plateau_decades", lambda _, __, one: one.decades),
        "level_decades": _over(runs, "level_decades", np.array(at), (LEVEL,), {MOVED: np.concatenate(moved)}),
        "levels_reached": _over(runs, "levels_reached", reached, ()),
    }


def _by_level(run: Run, number: Callable[[Run, int, Plateau], float]) -> list[float]:
    """A number of the plateau at each level; NaN where there is none."""
    held = [(level, run.at(level)) for level in range(len(run.levels))]
    return [np.nan if one is None else float(number(run, level, one)) for level, one in held]


def _dwell(run: Run) -> tuple[Float[np.ndarray, " level"], Float[np.ndarray, "moved level"]]:
    """Decades that a run is near each level, and near the middle between it and the next, above and below."""
    near = NEAR * float(np.abs(np.diff(run.levels)).min())
    at = np.array([dwell(run.steps, run.losses, level, near) for level in run.levels])
    middles = (run.levels[1:] + run.levels[:-1]) / 2
    between = np.array([dwell(run.steps, run.losses, level, near) for level in middles])
    return at, np.array([[np.nan, *between], [*between, np.nan]])


def _over(
    runs: Sequence[Run],
    name: str,
    points: Float[np.ndarray, "run *axes"],
    axes: tuple[str, ...],
    nulls: dict[str, np.ndarray] | None = None,
) -> Measure:
    """The mean over the runs that have a number, place by place; of a single run its own."""
    coords = {BOUND: (FIRST, LAST)} if BOUND in axes else {}
    counts = np.asarray(np.isfinite(points).sum(axis=0))
    if len(runs) == 1 or not counts.any():
        message = _said(runs, counts, "one training has no interval" if len(runs) == 1 else "")
        return without_interval(
            np.asarray(points[0]), UNITS[name], axes, coords, message=message, no_nulls=NO_NULLS, nulls=nulls
        )
    values, low, high = (np.full(counts.shape, np.nan) for _ in range(3))
    for place in np.ndindex(counts.shape):
        held = points[(slice(None), *place)]
        held = held[np.isfinite(held)]
        if len(held):
            values[place] = held.mean()
            low[place], high[place] = t_interval(held)
    return Measure(
        values,
        UNITS[name],
        (low, high),
        "seed",
        len(runs),
        axes,
        coords,
        nulls or {},
        "" if nulls else NO_NULLS,
        points,
        message=_said(runs, counts, ""),
    )


def _said(runs: Sequence[Run], counts: np.ndarray, first: str) -> str:
    """What a plateau is, and at which levels there is none."""
    by_level = counts.reshape(len(counts), -1).min(axis=1) if counts.ndim else np.array([])
    n, lacking = len(runs), {level: int(count) for level, count in enumerate(by_level) if count < len(runs)}
    numbers = [f"level {level}: a plateau in {count} of {n} trainings" for level, count in lacking.items()]
    how = (
        f"plateaus: the loss falls by at most {SLOPE:.0%} of its whole fall a decade, over {SHORTEST:g} decades or"
        f" more; one is at a level if it is within {AT:.0%}; true to the distance between checkpoints"
    )
    return "; ".join(filter(None, (first, how, *numbers)))
