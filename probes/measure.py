"""Measure: a number that knows what it is; Claim: what it says in words. Both are NumPy and text, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

Status = Literal["ok", "not applicable", "undefined"]


@dataclass(frozen=True)
class Measure:
    """values[i, j, ...] along named axes, in a unit, beside what no mechanism at all would score.

    values:     float64; NaN exactly where there is no number
    axes:       one name a dimension, e.g. ("layer", "head"); coords gives each axis' labels, default 0, 1, 2, …
    unit:       "cosine", "squared label", "label", …
    interval:   95 % interval, two arrays shaped like values (NaN: none exists, and the message says why)
    replicate:  what was resampled for it: "task", "seed", …; "none" for a deterministic function of the weights
    n:          how many replicates
    nulls:      samples of the same measure without the mechanism, by name; leading axis: sample
    no_nulls:   where nulls is empty, why
    points:     each replicate's own value [n, *values.shape], where they are few enough to show (seeds)
    """

    values: np.ndarray
    unit: str
    interval: tuple[np.ndarray, np.ndarray]
    replicate: str
    n: int
    axes: tuple[str, ...] = ()
    coords: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    nulls: Mapping[str, np.ndarray] = field(default_factory=dict)
    no_nulls: str = ""
    points: np.ndarray | None = None
    higher_is_better: bool | None = None
    status: Status = "ok"
    message: str = ""

    def __post_init__(self) -> None:
        def as_float64(array: Any) -> np.ndarray:
            return np.asarray(array, dtype=np.float64)

        put = object.__setattr__
        put(self, "values", as_float64(self.values))
        put(self, "interval", (as_float64(self.interval[0]), as_float64(self.interval[1])))
        put(self, "nulls", {name: as_float64(samples) for name, samples in self.nulls.items()})
        put(self, "points", None if self.points is None else as_float64(self.points))
        self._check()

    def _check(self) -> None:
        shape = self.values.shape
        if len(self.axes) != len(shape):
            raise ValueError(f"axes {self.axes} do not name the dimensions of values shaped {list(shape)}")
        for axis, labels in self.coords.items():
            if axis not in self.axes or len(labels) != shape[self.axes.index(axis)]:
                raise ValueError(f"{len(labels)} labels for axis {axis!r} of values shaped {list(shape)}")
        for bound in self.interval:
            if bound.shape != shape:
                raise ValueError(f"interval shaped {list(bound.shape)} for values shaped {list(shape)}")
        for name, samples in self.nulls.items():
            if samples.shape[1:] != shape:
                raise ValueError(f"null {name!r} shaped {list(samples.shape)} for values shaped {list(shape)}")
        if self.points is not None and self.points.shape[1:] != shape:
            raise ValueError(f"points shaped {list(self.points.shape)} for values shaped {list(shape)}")
        if not self.nulls and not self.no_nulls and self.status == "ok":
            raise ValueError("a measure without nulls must say why (no_nulls)")
        if (self.status != "ok" or np.isnan(self.values).any()) and not self.message:
            raise ValueError("a measure that is undefined or not applicable, even in part, needs a message")

    def labels(self, axis: str) -> tuple[Any, ...]:
        """The labels along one axis."""
        return tuple(self.coords.get(axis, range(self.values.shape[self.axes.index(axis)])))

    @property
    def estimate(self) -> float:
        """The number of a measure without axes."""
        if self.axes:
            raise ValueError(f"this measure has axes {self.axes}; take .values")
        return float(self.values)


def missing(unit: str, status: Status, message: str) -> Measure:
    """A measure that has no number here, and why."""
    nan = np.array(np.nan)
    return Measure(nan, unit, (nan, nan), "none", 0, no_nulls=message, status=status, message=message)


@dataclass(frozen=True)
class Claim:
    """The card that heads every report.

    found:      what was found, in one sentence
    rival:      the strongest rival or null, and the margin with its interval
    evidence:   what was resampled, and n
    limits:     what this does not show, one sentence each
    methods:    a paragraph to copy into a paper
    citations:  the papers behind it, one reference each
    """

    found: str
    rival: str
    evidence: str
    limits: tuple[str, ...]
    methods: str
    citations: tuple[str, ...]
