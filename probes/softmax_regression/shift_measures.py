"""Measures of the two shifts on tasks: their sizes, ratios to the step, bounds and premises, and how equal they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch, generator
from ...models.softmax_regressors import LayerSoftmaxRegressor, SoftmaxRegressor
from ..comparing.agreement_samples import NO_MODEL
from ..comparing.behaviour import Behaviour
from ..comparing.by_candidate import measures_by_candidate
from ..measure import Measure, without_interval
from ..statistics.sample_measures import PerTask
from .formulas import SMALL_MOVE, cosine
from .names import GD, ZERO
from .nulls import UNTRAINED
from .setup import Fitted, Setup
from .solvers import Targets, first_step
from .task_shifts import FIRST_ORDER, PAPER, TIGHT, DataShift, WeightShift

RANDOM = "random directions"
DRAWS = 20
PROBABILITY = "probability"
A_BOUND = "a bound, not a property of the model"
A_PREMISE = "a premise of the paper's theorems, not a mechanism"
OF_CANDIDATES = "candidate_shift_cosine"
NO_SHIFT = "without a step nothing is shifted"
NOT_FINITE = "the model gives a probability of 0, so what it writes is not finite"
OF_STEP = {"x": "probability / x", "A": "probability / data"}
"""Units of ratios and bounds."""
BOUNDS = {FIRST_ORDER: "first_order_bound_{}", TIGHT: "bound_{}", PAPER: "log10_paper_bound_{}"}

Shifts = Mapping[str, WeightShift | DataShift]
"""By what moves: "x" and "A"."""


def shift_measures(
    setup: Setup,
    fitted: Sequence[Fitted],
    untrained: Sequence[LayerSoftmaxRegressor],
    candidates: Mapping[str, Behaviour],
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Measures, and the samples behind them task by task.

    candidates:  on the evaluation tasks
    """
    shifts = _shifts(setup, fitted)
    nulls = _random_nulls(shifts, setup) | _untrained_nulls(setup, fitted[0], untrained)
    metrics = {name: _metric(name, values, nulls) for name, values in _values(shifts).items()}
    for moved, shift in shifts.items():
        metrics |= _premises(moved, shift) | _bounds(moved, shift)
    of_candidates = _of_candidates(candidates, shifts["x"].shift)
    measures = measures_by_candidate({OF_CANDIDATES: of_candidates}, setup.seed, metrics)
    reached = {f"bound_reached_{moved}": _reached(shift) for moved, shift in shifts.items()}
    return measures | reached, {name: metric.samples for name, metric in metrics.items()}


def _shifts(setup: Setup, fitted: Sequence[Fitted]) -> Shifts:
    """On all evaluation tasks; the gradient step has each fold's learning rate."""
    folds = [fold.evaluation for fold in setup.splits.folds]
    steps = [
        first_step(tasks.inputs, tasks.targets, one.settings.rates[GD.name].value)
        for tasks, one in zip(folds, fitted, strict=True)
    ]
    A = setup.splits.evaluation.inputs
    written = torch.cat([_written(setup.subject, tasks, setup.batch_size) for tasks in folds])
    return {"x": WeightShift(A, torch.cat(steps)), "A": DataShift.of(A, written)}


def _written(subject: SoftmaxRegressor, tasks: Batch, batch_size: int) -> Targets:
    """What the layer writes, or for a wrapped predictor the logarithm of its prediction; in float64."""
    given = tasks.to(subject.device, subject.dtype)
    found = []
    with torch.no_grad():
        for A, b in zip(given.inputs.split(batch_size), given.targets.split(batch_size), strict=True):
            layer = isinstance(subject, LayerSoftmaxRegressor)
            found.append(subject.module.scores(A, b) if layer else subject.predict(A, b).double().log())
    return torch.cat(found).cpu().double()


def _values(shifts: Shifts) -> dict[str, Float[Tensor, " task"]]:
    sizes = {moved: shift.shift.norm(dim=-1) for moved, shift in shifts.items()}
    return {
        **{f"shift_{moved}": size for moved, size in sizes.items()},
        **{f"shift_ratio_{moved}": size / shifts[moved].step for moved, size in sizes.items()},
        "shift_cosine": cosine(shifts["x"].shift, shifts["A"].shift),
    }


def _metric(name: str, values: Tensor, nulls: Mapping[str, list[dict[str, Tensor]]]) -> PerTask:
    moved = name.rpartition("_")[2]
    unit = "cosine" if name == "shift_cosine" else OF_STEP[moved] if "ratio" in name else PROBABILITY
    found = {null: np.array([float(draw[name].mean()) for draw in draws]) for null, draws in nulls.items()}
    if moved == "x":
        found.pop(UNTRAINED, None)  # the gradient step has nothing to do with the layer
    return PerTask(values.numpy(), unit, nulls=found, message="" if values.isfinite().all() else NOT_FINITE)


def _random_nulls(shifts: Shifts, setup: Setup) -> dict[str, list[dict[str, Tensor]]]:
    """Each shift with the other's direction kept: of x alone, of A alone, and for the cosine of A beside the step."""
    draws = []
    for draw in range(DRAWS):
        rng = generator(setup.seed, RANDOM, setup.subject.source.seed or 0, draw)
        turned = {moved: shift.in_random_direction(rng) for moved, shift in shifts.items()}
        draws.append(_values(turned) | {"shift_cosine": cosine(shifts["x"].shift, turned["A"].shift)})
    return {RANDOM: draws}


def _untrained_nulls(
    setup: Setup, fitted: Fitted, untrained: Sequence[LayerSoftmaxRegressor]
) -> dict[str, list[dict[str, Tensor]]]:
    tasks = setup.splits.nulls
    step = WeightShift(tasks.inputs, first_step(tasks.inputs, tasks.targets, fitted.settings.rates[GD.name].value))
    draws = [
        _values({"x": step, "A": DataShift.of(tasks.inputs, _written(layer, tasks, setup.batch_size))})
        for layer in untrained
    ]
    return {UNTRAINED: draws} if draws else {}


def _of_candidates(candidates: Mapping[str, Behaviour], shift: Targets) -> dict[str, PerTask]:
    """The same cosine where a candidate predicts in the model's place: what is right is in all of them."""
    n = shift.shape[-1]
    return {
        name: PerTask(
            cosine(shift, 1 / n - one.prediction).numpy(),
            "cosine",
            no_nulls=NO_MODEL,
            message=NO_SHIFT if name == ZERO.name else "",
        )
        for name, one in candidates.items()
    }


def _bounds(moved: str, shift: WeightShift | DataShift) -> dict[str, PerTask]:
    units = {FIRST_ORDER: OF_STEP[moved], TIGHT: OF_STEP[moved], PAPER: "log10"}
    return {
        BOUNDS[kind].format(moved): PerTask(bound.numpy(), units[kind], no_nulls=A_BOUND)
        for kind, bound in shift.bounds.items()
    }


def _premises(moved: str, shift: WeightShift | DataShift) -> dict[str, PerTask]:
    """The largest change of an entry of A x, and at which tasks it is as small as the theorems need it."""
    moves = shift.largest_move
    small = (moves < SMALL_MOVE).double()
    return {
        f"largest_move_{moved}": PerTask(moves.numpy(), "score", no_nulls=A_PREMISE),
        f"premise_{moved}": PerTask(small.numpy(), "share of tasks", no_nulls=A_PREMISE),
    }


def _reached(shift: WeightShift | DataShift) -> Measure:
    shares = shift.shift.norm(dim=-1) / shift.step / shift.bounds[TIGHT]
    message = "the largest over the tasks of the ratio over its tight bound: no mean, so no interval"
    return without_interval(np.array(float(shares.max())), "share", message=message, no_nulls=A_BOUND, n=len(shares))
