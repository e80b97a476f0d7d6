"""Measures strength by strength: response, loss and unexplained share along each shift."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..comparing.by_candidate import CANDIDATE, MODEL
from ..measure import Measure, along, missing
from ..statistics.bootstrap import percentile_interval
from .battery import Along, Battery
from .names import RULES, UNTRAINED, Shift
from .ratios import Means, Ratios, plain, ratios

SHARE, SLOPE, OF_LABELS = "share of the model's variance", "slope", "share of the labels' square"
NO_MODEL = "this number does not depend on the model"
NO_ARCHITECTURE = "a wrapped predictor has no untrained models"
ONE_STRENGTH = "these tasks cannot be shifted so"
NOT_FINITE = "NaN where an answer is not finite, or too large to be squared"
NO_VARIATION = "NaN where the model's answers do not vary or are not finite, or a rule's are too large to be squared"


@dataclass(frozen=True)
class Shown:
    """One shift of one model: its statistics, those of resamples, and those of null models."""

    along: Along
    own: Ratios
    resampled: Ratios
    nulls: Sequence[Ratios]

    @classmethod
    def of(cls, name: str, held: Along, nulls: Sequence[Battery], seed: int) -> Shown:
        own, resampled = ratios(held, seed)
        return cls(held, own, resampled, [plain(null.along[name]) for null in nulls])

    @property
    def shifted(self) -> np.ndarray:
        """Which strengths are not that of training."""
        return np.array(self.along.strengths) != self.along.training

    @property
    def refused(self) -> str:
        """The lengths that the model does not take, in words."""
        pairs = ", ".join(f"{strength:g}" for strength in self.along.refused)
        reason = next(iter(self.along.refused.values()), "").replace(";", ",")
        return f"the model refuses contexts of {pairs} pairs ({reason})" if pairs else ""

    @property
    def infinite(self) -> str:
        """The strengths at which the model's answers are not finite, in words."""
        held = zip(self.along.strengths, self.own.answered, strict=True)
        places = ", ".join(f"{strength:g}" for strength, some in held if not some)
        return f"the model's answers are not finite at {places}" if places else ""


Of = Callable[[Ratios], Means]


def of_shift(shift: Shift, shown: Shown) -> dict[str, Measure]:
    """`response`, `loss` and `unexplained` along one shift."""
    if not shown.shifted.any():
        return no_shift(shown.refused or ONE_STRENGTH)
    everyone = (MODEL, *(name for name in RULES if name in shown.along.rules))

    def each(made: Callable[[str], Measure], names: Sequence[str]) -> Measure:
        return along(CANDIDATE, {name: made(name) for name in names})

    def response(name: str) -> Measure:
        return _measure(shift, shown, lambda one: one.response(name), SLOPE, NOT_FINITE, of_model=name == MODEL)

    def loss(name: str) -> Measure:
        return _measure(shift, shown, lambda one: one.loss(name), OF_LABELS, NOT_FINITE, of_model=name == MODEL)

    def unexplained(name: str) -> Measure:
        return _measure(shift, shown, lambda one: one.unexplained(name), SHARE, NO_VARIATION)

    return {
        "response": each(response, everyone),
        "loss": each(loss, everyone),
        "unexplained": each(unexplained, everyone[1:]),
    }


def no_shift(reason: str) -> dict[str, Measure]:
    """Why there is none of them."""
    units = {"response": SLOPE, "loss": OF_LABELS, "unexplained": SHARE}
    return {metric: missing(unit, "not applicable", reason) for metric, unit in units.items()}


def _measure(shift: Shift, shown: Shown, of: Of, unit: str, absent: str, of_model: bool = True) -> Measure:
    """One number a strength. Of several replicates, those that have one."""
    values = _finite(of(shown.own))
    if not np.isfinite(values).any():
        return missing(unit, "undefined", absent)
    low, high = (np.where(np.isfinite(values), end, np.nan) for end in percentile_interval(of(shown.resampled)))
    messages = [absent] * bool(np.isnan(values).any()) + [text for text in (shown.infinite, shown.refused) if text]
    nulls = as_nulls([_finite(of(one)) for one in shown.nulls]) if of_model else {}
    return Measure(
        values,
        unit,
        (low, high),
        replicate="task",
        n=len(shown.along.model),
        axes=(shift.axis,),
        coords={shift.axis: shown.along.strengths},
        nulls=nulls,
        no_nulls="" if nulls else NO_ARCHITECTURE if of_model else NO_MODEL,
        higher_is_better=None if unit == SLOPE else False,
        message="; ".join(messages),
    )


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def as_nulls(samples: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """One value a null model; none where there are no such models."""
    return {UNTRAINED: np.stack(samples)} if samples else {}
