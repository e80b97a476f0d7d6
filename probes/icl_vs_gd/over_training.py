"""When in-context learning appears along a training: demonstrations raise accuracy, and their labels must be right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..measure import Measure, without_interval
from ..probe import OverTraining
from ..statistics.onset import Onset, onset_of
from .names import GAIN, GAIN_BY_LABELS, ONSET
from .verdicts import LEAST_GAIN

BOUNDS = ("not at", "from")
_SAID = (
    "the last step at which demonstrations do not clearly raise accuracy above zero-shot and above shuffled labels, and"
    " the first from which on they do at every measured step"
)
_UNKNOWN = "when it began cannot be told"


def over_training(by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
    """Nothing where no step has an interval."""
    steps = sorted(by_step)
    learned = np.array([_learned(by_step[step]) for step in steps])
    found = onset_of(np.array(steps), learned)
    return OverTraining() if found is None else OverTraining({ONSET: _measure(found)}, _sentence(found))


def _learned(measures: Mapping[str, Measure]) -> float:
    """1 where both gains are clearly above 0, 0 where one is not, NaN where they have no interval."""
    lows = [float(measures[name].interval[0]) for name in (GAIN, GAIN_BY_LABELS)]
    return float(np.min(lows) > LEAST_GAIN) if np.isfinite(lows).all() else np.nan


def _sentence(onset: Onset) -> str:
    if onset.by is None:
        return f"In-context learning of the rule has not begun by step {onset.after}."
    if onset.after is None:
        return "The first checkpoint learns in context already."
    alone = "" if onset.later else ", seen at the last step only"
    return f"In-context learning of the rule begins between steps {onset.after} and {onset.by}{alone}."


def _measure(onset: Onset) -> Measure:
    bounds = [np.nan if step is None else float(step) for step in (onset.after, onset.by)]
    why = _UNKNOWN if onset.after is None else "it has not begun by the last step" if onset.by is None else ""
    return without_interval(
        np.array(bounds), "training step", ("bound",), {"bound": BOUNDS},
        message="; ".join(filter(None, (_SAID, why))), no_nulls="the gains it is read off have controls of their own",
    )  # fmt: skip
