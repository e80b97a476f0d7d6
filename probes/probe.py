"""Probe and Measure: a measurement of one subject, and a number that knows what it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from ..data.batch import Recipe
from ..models.subject import NotApplicable, Source, Subject

Status = Literal["ok", "not applicable", "undefined"]
Progress = Callable[[str, float], None]
"""Told what is being done and which fraction of the whole is finished."""


def silent(stage: str, fraction: float) -> None:
    """The progress of a run that nobody watches."""


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


@dataclass(frozen=True)
class Findings:
    """What one probe measured on one subject.

    measures:  the numbers, by metric name
    arrays:    raw values behind them, e.g. one a task, by name
    recipes:   the inputs, by the split they served ("tuning", "nulls", "evaluation")
    """

    measures: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray]
    recipes: Mapping[str, Recipe]


@dataclass(frozen=True)
class Probe(ABC):
    """A measurement. Its fields are its settings, hence its record.

    A new probe is a frozen dataclass with a `name`, a `version` that rises whenever its numbers change, and the three
    methods below; one line in `probes/__init__.py` (or an entry point of the group `mesascope.probes`) registers it.
    """

    name: ClassVar[str]
    version: ClassVar[str]

    @abstractmethod
    def applies(self, subject: Subject) -> NotApplicable | None:
        """None when the probe can measure this subject, else why not and what would apply."""

    @abstractmethod
    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        """Measure one subject. The same subject, settings, seed and batch size give the same findings, bit for bit."""

    @abstractmethod
    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        """Read the measures, of one checkpoint or aggregated over several, as sentences."""

    def settings(self) -> dict[str, Any]:
        return asdict(self)

    def fingerprint(self) -> dict[str, str]:
        """Digests of files that the settings name: part of a run's identity, since a path alone is not."""
        return {}

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        """Measures that need several seeds of one recipe, all at the same step; none by default."""
        return {}
