"""Which measures a reader follows along a training, what each has to clear to have begun, and its course over steps.

A probe says so in the module `followed` of its package, as `FOLLOWED`: one to three measures. NumPy alone, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from .findings import head_name
from .measure import Measure

Place = Mapping[str, int]
"""A place along each of some axes, counted from 0: {"layer": 1, "head": 0}."""


@dataclass(frozen=True)
class Followed:
    """One number of a checkpoint, which begins to differ from a null at some step.

    measure:  of what
    words:    what it is called in sentences and figures: "the in-context learning score"
    labels:   one label along some of its axes: {"candidate": "gd"}. Along the others, heads or layers say, the place is
              followed at which the measure is largest at the last step (smallest, if it falls)
    nulls:    the null models that count; none named: all that the measure has
    against:  a number in the place of nulls: chance, or 0 of a difference. Beside nulls that are named, such as a size
              from which on the probe calls it one, the farther counts
    above:    whether it rises above its null as the model learns; False: it falls below
    """

    measure: str
    words: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    nulls: tuple[str, ...] = ()
    against: float | None = None
    above: bool = True

    @property
    def end(self) -> str:
        """What the place that is followed is at the last step."""
        return "largest" if self.above else "smallest"


@dataclass(frozen=True)
class Course:
    """One number over the steps of one training.

    steps:     that were asked for, rising
    estimate, low, high:  the number and its 95 % interval; of a function of the weights, the number three times
    null:      what it has to clear: the largest sample of a step's nulls (the smallest, if it falls), or a constant
    why:       of steps without a number: why; else empty
    copied:    steps whose weights are those of an earlier step: no measurement of their own
    failed:    steps whose measurement was tried and has failed
    unit:      of the number; empty where there is none
    place:     in words, where the place was chosen at the last step: "head L1H0"
    """

    steps: tuple[int, ...]
    estimate: Float[np.ndarray, " step"]
    low: Float[np.ndarray, " step"]
    high: Float[np.ndarray, " step"]
    null: Float[np.ndarray, " step"]
    why: tuple[str, ...]
    copied: Bool[np.ndarray, " step"]
    failed: Bool[np.ndarray, " step"]
    unit: str = ""
    place: str = ""

    @property
    def measured(self) -> Bool[np.ndarray, " step"]:
        """The steps that count: with a number of their own."""
        return np.isfinite(self.estimate) & ~self.copied


@dataclass(frozen=True)
class Step:
    """One step of a training, as it was asked for.

    measures:  that were found there; None: there is no report
    why:       of no report, the reason; of a copy, which step has the same weights
    """

    measures: Mapping[str, Measure] | None
    why: str = ""
    copied: bool = False
    failed: bool = False


def course_of(followed: Followed, steps: Mapping[int, Step]) -> Course:
    """The course of what is followed over all steps of one training, whatever their order."""
    ordered = dict(sorted(steps.items()))
    parts = {step: _part(followed, of.measures) for step, of in ordered.items()}
    place = _place(followed, parts, ordered)
    numbers = np.full((4, len(ordered)), np.nan)
    why, unit = [], ""
    for column, (step, of) in enumerate(ordered.items()):
        part = parts[step]
        cell = _cell(part, place) if isinstance(part, Measure) else part
        if isinstance(cell, Measure):
            numbers[:, column], unit = (*_with_interval(cell), _null(followed, cell)), cell.unit
        why.append(of.why or (cell if isinstance(cell, str) else _lacking(numbers[:, column], cell)))
    copied, failed = (np.array([getattr(of, name) for of in ordered.values()], bool) for name in ("copied", "failed"))
    estimate, low, high, null = numbers
    words = _in_words(place, parts)
    return Course(tuple(ordered), estimate, low, high, null, tuple(why), copied, failed, unit, words)


def _part(followed: Followed, measures: Mapping[str, Measure] | None) -> Measure | str:
    """The measure at the labels that are followed; or why it is not there."""
    if measures is None:
        return "no report"
    measure = measures.get(followed.measure)
    if measure is None:
        return f"the report has no {followed.measure}"
    try:
        part = measure.sel(**{axis: label for axis, label in followed.labels.items() if axis in measure.axes})
    except ValueError as error:
        return f"{followed.measure}: {error}"
    return part if part.has_number else part.message or part.status


def _place(followed: Followed, parts: Mapping[int, Measure | str], steps: Mapping[int, Step]) -> Place:
    """Where the measure is farthest at the last step that has a number."""
    there = [part for step, part in parts.items() if isinstance(part, Measure) and not steps[step].copied]
    if not there or not there[-1].axes:
        return {}
    last = there[-1]
    flat = np.nanargmax(last.values) if followed.above else np.nanargmin(last.values)
    found = np.unravel_index(int(flat), last.values.shape)
    return dict(zip(last.axes, map(int, found), strict=True))


def _cell(part: Measure, place: Place) -> Measure | str:
    if set(part.axes) != set(place) or any(place[a] >= n for a, n in zip(part.axes, part.values.shape, strict=True)):
        return "its axes differ from those of the last step"
    return part.at(**place)


def _with_interval(cell: Measure) -> tuple[float, float, float]:
    """The number and its interval, which of a function of the weights is the number itself."""
    low, high = (float(bound) for bound in cell.interval)
    exact = cell.replicate == "none" and np.isnan(low) and np.isnan(high)
    return (cell.estimate, cell.estimate, cell.estimate) if exact else (cell.estimate, low, high)


def _null(followed: Followed, cell: Measure) -> float:
    names = followed.nulls or (tuple(cell.nulls) if followed.against is None else ())
    samples = [float(one) for name in names if name in cell.nulls for one in cell.nulls[name] if np.isfinite(one)]
    if not samples and (names or followed.against is None):
        return np.nan
    numbers = [*samples, *([] if followed.against is None else [followed.against])]
    return max(numbers) if followed.above else min(numbers)


def _lacking(numbers: Float[np.ndarray, "4"], cell: Measure) -> str:
    """Why a cell does not count though there is a report; empty where it does."""
    estimate, low, high, null = numbers
    if np.isnan(estimate):
        return cell.message or "undefined"
    if np.isnan(low) or np.isnan(high):
        return "it has no interval"
    return "its null has no sample" if np.isnan(null) else ""


def _in_words(place: Place, parts: Mapping[int, Measure | str]) -> str:
    """`head L1H0`, or `layer 2`; nothing where there was no choice."""
    like = [part for part in parts.values() if isinstance(part, Measure) and set(part.axes) == set(place)]
    if not place or like[-1].values.size == 1:
        return ""
    if set(place) == {"layer", "head"}:
        return f"head {head_name((place['layer'], place['head']))}"
    return ", ".join(f"{axis} {like[-1].labels(axis)[at]}" for axis, at in place.items())
