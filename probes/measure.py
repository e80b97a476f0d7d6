"""Measure: a number that knows what it is; Claim: what it says in words. Both are NumPy and text, without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
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
    own:        of a measure that `along` made, the fields in which a label differs from the rest, by "axis=label"
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
    own: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "values", _as_float64(self.values))
        put(self, "interval", (_as_float64(self.interval[0]), _as_float64(self.interval[1])))
        put(self, "nulls", {name: _as_float64(samples) for name, samples in self.nulls.items()})
        put(self, "points", None if self.points is None else _as_float64(self.points))
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
        if (self.status != "ok" or np.isnan(self.values).any()) and not (self.message or self.own):
            raise ValueError("a measure that is undefined or not applicable, even in part, needs a message")

    def labels(self, axis: str) -> tuple[Any, ...]:
        """The labels along one axis."""
        return tuple(self.coords.get(axis, range(self.values.shape[self.axes.index(axis)])))

    @property
    def estimate(self) -> float:
        """The number of a measure without axes."""
        if self.axes:
            raise ValueError(f"this measure has axes {self.axes}; take .values, or select with .sel(axis=label)")
        return float(self.values)

    @property
    def has_number(self) -> bool:
        return bool(np.isfinite(self.values).any())

    def sel(self, **labels: Any) -> Measure:
        """The measure at one label along some of its axes: `measure.sel(candidate="gd")`. ValueError for another."""
        return self.at(**{axis: _index(self, axis, label) for axis, label in labels.items()})

    def at(self, **places: int) -> Measure:
        """The measure at one place along some of its axes, counted from 0: `measure.at(layer=3, head=5)`."""
        cell = tuple(places.get(axis, slice(None)) for axis in self.axes)
        samples = (slice(None), *cell)
        low, high = self.interval
        points = None if self.points is None else self.points[samples]
        fields: dict[str, Any] = {
            "values": np.asarray(self.values[cell]),
            "interval": (np.asarray(low[cell]), np.asarray(high[cell])),
            "axes": tuple(axis for axis in self.axes if axis not in places),
            "coords": {axis: labels for axis, labels in self.coords.items() if axis not in places},
            "nulls": {name: held for name, null in self.nulls.items() if len(held := numbers(null[samples]))},
            "points": points,
        }
        fields["no_nulls"] = self.no_nulls or ("" if fields["nulls"] else "none has a number here")
        chosen = {axis: self.labels(axis)[place] for axis, place in places.items()}
        own, fields["own"] = _own(self.own, chosen)
        return replace(self, **(fields | own))

    @property
    def stacked(self) -> str | None:
        """The axis, if any, along which `along` put measures that have fields of their own."""
        return next((key.partition("=")[0] for key in self.own), None)

    def apart(self) -> dict[Any, Measure]:
        """The measures that `along` put together, by label; {} for any other measure."""
        axis = self.stacked
        return {} if axis is None else {label: self.sel(**{axis: label}) for label in self.labels(axis)}


def _as_float64(array: Any) -> np.ndarray:
    return np.asarray(array, dtype=np.float64)


def _index(measure: Measure, axis: str, label: Any) -> int:
    if axis not in measure.axes:
        raise ValueError(f"no axis {axis!r}; this measure has {', '.join(measure.axes) or 'none'}")
    labels = measure.labels(axis)
    if label not in labels:
        raise ValueError(f"{axis} {label!r} is not there; it has {', '.join(map(str, labels))}")
    return labels.index(label)


def numbers(samples: np.ndarray) -> np.ndarray:
    """The samples that are numbers: one label may have fewer than another."""
    return samples[np.isfinite(samples.reshape(len(samples), -1)).any(axis=1)]


def null_mean(samples: np.ndarray) -> np.ndarray:
    """The mean over the samples of a null that have a number, cell by cell; NaN where none has."""
    known = np.isfinite(samples)
    n = np.asarray(known.sum(axis=0))
    total = np.asarray(np.where(known, samples, 0.0).sum(axis=0))
    return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)


def _own(own: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Of `Measure.own`, the fields of the labels chosen, and what is left along other axes."""
    fields: dict[str, Any] = {}
    left: dict[str, Any] = {}
    for key, of in own.items():
        axis, _, label = key.partition("=")
        inner, within = _own(of.get("own", {}), chosen)
        found = {name: value for name, value in of.items() if name != "own"} | inner
        if axis not in chosen:
            left[key] = found | ({"own": within} if within else {})
        elif label == str(chosen[axis]):
            fields |= found
            left |= within
    return fields, left


_OWN = ("unit", "replicate", "n", "no_nulls", "higher_is_better", "status", "message")


def along(axis: str, parts: Mapping[Any, Measure], place: int = 0) -> Measure:
    """Measures that differ in one respect, a candidate or a control, as one with an axis for it; `sel` gives each back.

    Those that have numbers share axes and their labels; the others become NaN, and keep saying why.

    place:  of the new axis among the others
    """
    if not any(part.status == "ok" for part in parts.values()) and len({part.axes for part in parts.values()}) > 1:
        # axes of numbers that are not there
        parts = {label: missing(part.unit, part.status, part.message) for label, part in parts.items()}
    present = [part for part in parts.values() if part.status == "ok"] or list(parts.values())
    like = present[0]
    if any((part.axes, part.values.shape) != (like.axes, like.values.shape) for part in present):
        raise ValueError(f"along {axis!r}: parts with axes {sorted({part.axes for part in present})}")

    def stack(arrays: list[np.ndarray | None], lead: int = 0) -> np.ndarray:
        """Along the new axis, behind `lead` sample axes; NaN where there is none."""
        n = max((len(array) for array in arrays if array is not None and lead), default=0)
        shape = (n,) * lead + like.values.shape
        full = [np.full(shape, np.nan) for _ in arrays]
        for into, array in zip(full, arrays, strict=True):
            if array is not None and array.shape[lead:] == like.values.shape:
                into[(slice(len(array)),) if lead else ...] = array
        return np.stack(full, axis=place + lead)

    everyone = list(parts.values())
    names = dict.fromkeys(name for part in everyone for name in part.nulls)
    points = any(part.points is not None for part in everyone)
    own = {
        f"{axis}={label}": {name: getattr(part, name) for name in _OWN if getattr(part, name) != getattr(like, name)}
        | ({"points": None} if points and part.points is None else {})
        | ({"own": part.own} if part.own else {})
        for label, part in parts.items()
    }
    coords = dict(list(like.coords.items())[:place]) | {axis: tuple(parts)} | dict(list(like.coords.items())[place:])
    return replace(
        like,
        values=stack([part.values for part in everyone]),
        interval=(stack([part.interval[0] for part in everyone]), stack([part.interval[1] for part in everyone])),
        axes=(*like.axes[:place], axis, *like.axes[place:]),
        coords=coords,
        nulls={name: stack([part.nulls.get(name) for part in everyone], lead=1) for name in names},
        points=stack([part.points for part in everyone], lead=1) if points else None,
        own=own,
    )


class Measures(Mapping[str, Measure]):
    """Measures by name. One part of a measure that `along` made has a name, too: `measures["cosine_gd"]` is
    `measures["cosine"].sel(candidate="gd")`.
    """

    def __init__(self, held: Mapping[str, Measure]) -> None:
        self._held = dict(held)

    @cached_property
    def flat(self) -> Mapping[str, Measure]:
        return {name: part for key, measure in self._held.items() for name, part in _parts(key, measure)}

    def __getitem__(self, name: str) -> Measure:
        return self._held[name] if name in self._held else self.flat[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def flat(measures: Mapping[str, Measure]) -> Mapping[str, Measure]:
    """Every part of every measure that `along` made, and every other measure, by name: "cosine_gd", "cosine_ridge"."""
    return (measures if isinstance(measures, Measures) else Measures(measures)).flat


def _parts(name: str, measure: Measure) -> Iterator[tuple[str, Measure]]:
    parts = measure.apart()
    if not parts:
        yield name, measure
    for label, part in parts.items():
        yield from _parts(f"{name}_{label}", part)


def last_step(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """The measures of the last of several steps; measures without steps as they are."""
    return {name: m.at(step=-1) if m.axes[:1] == ("step",) else m for name, m in measures.items()}


def missing(unit: str, status: Status, message: str) -> Measure:
    """A measure that has no number here, and why."""
    nan = np.array(np.nan)
    return Measure(nan, unit, (nan, nan), "none", 0, no_nulls=message, status=status, message=message)


def without_interval(
    values: np.ndarray,
    unit: str,
    axes: tuple[str, ...] = (),
    coords: Mapping[str, tuple[Any, ...]] | None = None,
    *,
    message: str,
    no_nulls: str = "",
    nulls: Mapping[str, np.ndarray] | None = None,
    higher_is_better: bool | None = None,
    replicate: str = "none",
    n: int = 1,
) -> Measure:
    """A measure of which nothing was resampled, and whose message says why: a function of the weights, a count, a p
    value. The status is "undefined" where it has no number at all.
    """
    values = np.asarray(values, dtype=np.float64)
    if not np.isfinite(values).any():
        return missing(unit, "undefined", message)
    nothing = np.full(values.shape, np.nan)
    return Measure(
        values,
        unit,
        (nothing, nothing),
        replicate,
        n,
        axes,
        coords or {},
        nulls or {},
        no_nulls="" if nulls else no_nulls,
        higher_is_better=higher_is_better,
        message=message,
    )


@dataclass(frozen=True)
class Claim:
    """The card that heads every report.

    found:      what was found, in one sentence
    rival:      the strongest rival or null, and the margin with its interval
    evidence:   what was resampled, and n
    limits:     what this does not show, one sentence each
    methods:    a paragraph to copy into a paper
    citations:  the papers behind it, one reference each
    badge:      the verdict in at most a few words, for headlines and lists; where it is empty, the first sentence of
                what was found stands there
    """

    found: str
    rival: str
    evidence: str
    limits: tuple[str, ...]
    methods: str
    citations: tuple[str, ...]
    badge: str = ""
