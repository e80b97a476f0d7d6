"""Attention of every head by how many tokens back it goes: at which distance the head looks, and whether that moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..measure import Measure, along
from ..statistics.sample_measures import PerTask, task_measures
from .inputs import PeriodInputs
from .names import EVEN, HEADS, NO_REPEATS
from .observations import Observations, PeriodObservations, even_attention
from .score_measures import Comparison, per_sequence, windows_note
from .watchers import kept_offsets
from .words import joined


def offset_measures(observations: Observations, comparison: Comparison) -> dict[str, Measure]:
    """attention_by_offset: mean attention of every head at each period by how many tokens back it goes.

    Over the queries of the second and later repeats. An induction head's peak moves with the period. Periods have
    offsets of their own; at those of another period a measure is NaN.
    """
    metrics = {
        str(inputs.period): _by_offset(inputs, repeated, control, windows_note(observations))
        for inputs, repeated, control in zip(
            comparison.periods, observations.repeated, observations.control, strict=True
        )
    }
    measures = task_measures(metrics, comparison.seed)
    offsets = tuple(sorted({offset for metric in metrics.values() for offset in metric.coords["offset"]}))
    parts = {inputs.period: _at_offsets(measures[str(inputs.period)], offsets) for inputs in comparison.periods}
    return {"attention_by_offset": along("period", parts)}


def _by_offset(inputs: PeriodInputs, repeated: PeriodObservations, control: PeriodObservations, note: str) -> PerTask:
    samples = repeated.heads["by_offset"]
    even = np.broadcast_to(even_attention(inputs)["by_offset"], (1, *samples.shape[1:]))
    nulls = {NO_REPEATS: control.heads["by_offset"].mean(axis=0)[None], EVEN: even}
    axes, coords = (*HEADS, "offset"), {"offset": kept_offsets(inputs.period)}
    return replace(per_sequence(samples, "probability", axes, coords, nulls, message=note), higher_is_better=None)


def _at_offsets(measure: Measure, offsets: tuple[int, ...]) -> Measure:
    """The measure with a place for each of these offsets, NaN at those that it does not have."""
    own = measure.labels("offset")
    places = [offsets.index(offset) for offset in own]

    def spread(array: np.ndarray) -> np.ndarray:
        wider = np.full((*array.shape[:-1], len(offsets)), np.nan)
        wider[..., places] = array
        return wider

    low, high = measure.interval
    words = f"NaN at offsets that belong to another period; this one has offsets up to {own[-1]}"
    return replace(
        measure,
        values=spread(measure.values),
        interval=(spread(low), spread(high)),
        coords={"offset": offsets},
        nulls={name: spread(samples) for name, samples in measure.nulls.items()},
        message=joined(measure.message, words if len(own) < len(offsets) else ""),
    )
