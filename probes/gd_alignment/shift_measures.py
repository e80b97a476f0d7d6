"""Measures away from the training tasks: `loss_<curve>` of the model and the constructed ones, point by point."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..comparing.by_candidate import measures_by_candidate, missing_by_candidate
from ..measure import Measure
from ..regression.sensitivity import LOSS
from ..statistics.sample_measures import PerTask
from .distribution_shift import CURVES, Shift

NO_LAW = "the tasks came from a file: mesascope does not know the law that it would shift"
NO_NULLS = "an untrained model scores as the zero predictor does"


def shift_measures(found: Sequence[Shift], seed: int) -> dict[str, Measure]:
    """One measure a curve; curves of as many tasks are resampled apart, with the same resamples."""
    measures: dict[str, Measure] = {}
    for shift in found:
        axis = shift.curve.axis
        samples = {
            name: PerTask(losses, LOSS, (axis,), {axis: shift.points}, no_nulls=NO_NULLS)
            for name, losses in shift.losses.items()
        }
        measures |= measures_by_candidate({f"loss_{shift.curve.name}": samples}, seed)
    return measures


def no_shift_measures(names: Collection[str]) -> dict[str, Measure]:
    """Why there is no curve for tasks whose law is not known."""
    return {f"loss_{curve.name}": missing_by_candidate(names, LOSS, "not applicable", NO_LAW) for curve in CURVES}
