"""Measures over replicates and over steps: means over seeds with a t-interval, and curves along training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...probes.measure import Measure, along, missing
from ...probes.statistics.bootstrap import t_interval


def mean_over(replicate: str, measures: Sequence[Measure | None]) -> Measure:
    """The mean of one measure over replicates, each cell over those where it is defined; words say how many.

    Candidates, controls and whatever else `along` put together are averaged one by one: a candidate that is the same
    for every seed keeps its interval over tasks.
    """
    if (axis := _stacked(measures)) is not None:
        return _one_by_one(axis, measures, lambda parts: mean_over(replicate, parts))
    present = [measure for measure in measures if measure is not None and measure.status == "ok"]
    if not present:
        first = next(measure for measure in measures if measure is not None)
        said = "; ".join(dict.fromkeys(measure.message for measure in measures if measure is not None))
        return missing(first.unit, first.status, said)
    like, n = present[0], len(measures)
    if any(axis.endswith("head") for axis in like.axes) and n > 1:
        words = (
            f"heads of different {replicate}s do not correspond: no mean over them; see each checkpoint's own report"
        )
        return missing(like.unit, "not applicable", words)
    if any((m.axes, m.values.shape, m.coords) != (like.axes, like.values.shape, like.coords) for m in present):
        return missing(like.unit, "not applicable", f"its axes differ between {replicate}s: no mean over them")
    if len(present) == n > 1 and all(_same_numbers(like, m) for m in present):
        words = f"the same for every {replicate}: the interval is over {like.replicate}s"
        return replace(like, message="; ".join(filter(None, (like.message, words))))
    nothing = np.full(like.values.shape, np.nan)
    points = np.stack([m.values if m is not None and m.status == "ok" else nothing for m in measures])
    values, low, high, counts = _means(points)
    words = list(dict.fromkeys(measure.message for measure in measures if measure is not None and _still_true(measure)))
    if counts.min() < n:
        words.append(_how_many(counts, n, replicate))
    return replace(
        like,
        values=values,
        interval=(low, high),
        replicate=replicate,
        n=n,
        nulls=_side_by_side([measure.nulls for measure in present]),
        points=points,
        message="; ".join(words),
    )


def _stacked(measures: Sequence[Measure | None]) -> str | None:
    """The axis that `along` made, in any of the measures."""
    return next((measure.stacked for measure in measures if measure is not None and measure.stacked), None)


def _one_by_one(
    axis: str,
    measures: Sequence[Measure | None],
    aggregate: Callable[[Sequence[Measure | None]], Measure],
    place: int = 0,
) -> Measure:
    """Aggregate the parts along an axis, each over the measures that have it, and put them together again.

    place:  of the axis, where the aggregate has one of its own before it
    """
    apart = [{} if measure is None else measure.apart() for measure in measures]
    labels = dict.fromkeys(label for parts in apart for label in parts)
    found = {label: aggregate([parts.get(label) for parts in apart]) for label in labels}
    leading = any(part.axes[:1] == ("step",) for part in found.values())
    return along(axis, found, place if leading else 0)


def _still_true(measure: Measure) -> bool:
    """Whether a message of one replicate says something of the mean: not that its own weights have no interval."""
    alone = measure.replicate == "none" and measure.status == "ok" and bool(np.isfinite(measure.values).all())
    return bool(measure.message) and not alone


def _same_numbers(one: Measure, other: Measure) -> bool:
    """Whether the model has no part in a measure: a twin's loss on the same tasks, say."""
    pairs = zip((one.values, *one.interval), (other.values, *other.interval), strict=True)
    return one.replicate != "none" and not one.nulls and all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _means(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, t-interval and number of defined replicates, cell by cell."""
    shape, flat = points.shape[1:], points.reshape(len(points), -1)
    values, low, high = (np.full(flat.shape[1], np.nan) for _ in range(3))
    defined = np.isfinite(flat)
    for cell in np.flatnonzero(defined.any(axis=0)):
        column = flat[defined[:, cell], cell]
        values[cell] = column.mean()
        (low[cell],), (high[cell],) = t_interval(column[:, None])
    counts = defined.sum(axis=0)
    return values.reshape(shape), low.reshape(shape), high.reshape(shape), counts.reshape(shape)


def _how_many(counts: np.ndarray, n: int, replicate: str) -> str:
    least, most = int(counts.min()), int(counts.max())
    of = f"{least}" if least == most else f"{least} to {most}"
    alone = "; no interval where only one is defined" if (counts == 1).any() else ""
    return f"mean over the {of} of {n} {replicate}s where it is defined{alone}"


def _side_by_side(nulls: Iterable[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The samples of all replicates, by null."""
    found: dict[str, list[np.ndarray]] = {}
    for of_one in nulls:
        for name, samples in of_one.items():
            found.setdefault(name, []).append(samples)
    return {name: np.concatenate(samples) for name, samples in found.items()}


def along_steps(steps: tuple[int, ...], measures: Sequence[Measure | None]) -> Measure:
    """One measure at several steps as one with a leading axis "step"; NaN where a step has none, and words say so."""
    if (axis := _stacked(measures)) is not None:
        return _one_by_one(axis, measures, lambda parts: along_steps(steps, parts), place=1)
    present = [measure for measure in measures if measure is not None and measure.status == "ok"]
    if not present:
        return next(measure for measure in measures if measure is not None)
    like = present[-1]
    if any((m.axes, m.values.shape) != (like.axes, like.values.shape) for m in present):
        return missing(like.unit, "not applicable", "its axes differ between steps")
    coords = {
        axis: labels for axis, labels in like.coords.items() if all(m.coords.get(axis) == labels for m in present)
    }
    nothing = np.full(like.values.shape, np.nan)
    usable = [measure if measure is not None and measure.status == "ok" else None for measure in measures]
    names = dict.fromkeys(name for measure in present for name in measure.nulls)
    return replace(
        like,
        values=np.stack([nothing if m is None else m.values for m in usable]),
        interval=(
            np.stack([nothing if m is None else m.interval[0] for m in usable]),
            np.stack([nothing if m is None else m.interval[1] for m in usable]),
        ),
        n=max(measure.n for measure in present if measure.replicate == like.replicate),
        axes=("step", *like.axes),
        coords={"step": steps, **coords},
        nulls={name: _stack([None if m is None else m.nulls.get(name) for m in usable]) for name in names},
        points=None if like.points is None else _stack([None if m is None else m.points for m in usable]),
        message=_said(steps, measures, like.replicate),
    )


def _stack(samples: Sequence[np.ndarray | None]) -> np.ndarray:
    """Samples of each step along axis 1; NaN where a step has fewer than another."""
    present = [array for array in samples if array is not None]
    stacked = np.full((max(map(len, present)), len(samples), *present[0].shape[1:]), np.nan)
    for step, array in enumerate(samples):
        if array is not None:
            stacked[: len(array), step] = array
    return stacked


def _said(steps: tuple[int, ...], measures: Sequence[Measure | None], replicate: str) -> str:
    """Each message once, with the steps it holds for unless it holds for all.

    replicate:  of the intervals, as the measure names it
    """
    by_message: dict[str, list[int]] = {}
    for step, measure in zip(steps, measures, strict=True):
        message = "not measured" if measure is None else "; ".join(filter(None, _of_one(measure, replicate)))
        by_message.setdefault(message, []).append(step)
    return "; ".join(
        message if len(at) == len(steps) else f"step {', '.join(map(str, at))}: {message}"
        for message, at in by_message.items()
        if message
    )


def _of_one(measure: Measure, replicate: str) -> tuple[str, str]:
    """What one step says, and what its interval is over where that of the others is over something else."""
    other = measure.replicate not in (replicate, "none") and measure.status == "ok"
    return measure.message, f"the interval is over {measure.n:,} {measure.replicate}s" if other else ""
