"""How far another run is in its training once its attention resembles a finished run as much as beta does.

xi of Snell et al. (2021, arXiv 2103.07601): given an agreement with the attention of a finished run A, such as that of
beta, the accuracy of another run at its first checkpoint whose attention agrees more with A; the mean over other runs.
xi* is the best accuracy of A itself. A small xi / xi*: beta predicts A's attention no better than a run does that
has hardly learned. Near 1: as well as one that has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .agreement import agreement

Checkpoints = Float[np.ndarray, " checkpoint"]


class Run(NamedTuple):
    """Of another run, at each of its checkpoints in order: the agreement of its attention with that of A; accuracy."""

    agreements: Checkpoints
    accuracies: Checkpoints


class Xi(NamedTuple):
    """xi, NaN if no run reaches the agreement; how many of how many runs reach it."""

    value: float
    reached: int
    runs: int


def agreements_with(
    reference: Float[np.ndarray, "sequence target source"],
    attention: Float[np.ndarray, "checkpoint sequence target source"],
) -> Checkpoints:
    """The agreement of A's attention with that of another run's checkpoints: means over all targets that have one."""
    return np.array([np.nanmean(agreement(reference, of_one)) for of_one in attention])


def accuracy_beyond(given: float, run: Run) -> float:
    """The accuracy at the first checkpoint whose agreement is larger than the given one; NaN if none is."""
    beyond = np.flatnonzero(run.agreements > given)
    return float(run.accuracies[beyond[0]]) if len(beyond) else math.nan


def xi(given: float, runs: Sequence[Run]) -> Xi:
    """The mean over the runs that reach the given agreement."""
    found = [accuracy for run in runs if not math.isnan(accuracy := accuracy_beyond(given, run))]
    return Xi(float(np.mean(found)) if found else math.nan, len(found), len(runs))


def xi_star(accuracies: Checkpoints) -> float:
    """The best accuracy of A; NaN if it has none."""
    known = accuracies[~np.isnan(accuracies)]
    return float(known.max()) if len(known) else math.nan
