"""Measures of the loss between trained and constructed weights: `loss_path`, `barrier`, `loss_interpolated`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ...models.subject import NotApplicable
from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, task_measures
from .names import CANDIDATE, GD, GDPP
from .sensitivity import LOSS
from .weight_comparison import ALIGNED, PATH_LABELS, PathLosses
from .weights import PATH, barrier

PATH_AXIS = "path"
POSITION = "t"
COMPARE_PATHS = "compare with the control paths unaligned, wrong_rate and rotated"
CONTROL_PATH = "a control of the aligned path"
NOT_FINITE = "the loss along the path is not finite"


def path_measures(losses: PathLosses, n_layers: int, seed: int) -> dict[str, Measure]:
    """Along every path to every constructed model; `loss_interpolated` is the paper's, the aligned path's middle."""
    curves = {
        candidate: along(PATH_AXIS, {label: _curve(held, label, seed) for label, held in paths.items()})
        for candidate, paths in losses.items()
    }
    barriers = {
        candidate: along(PATH_AXIS, {label: _barrier(held, label, seed) for label, held in paths.items()})
        for candidate, paths in losses.items()
    }
    return {
        "loss_path": along(CANDIDATE, curves),
        "barrier": along(CANDIDATE, barriers),
        "loss_interpolated": _midpoint(curves, n_layers),
    }


def no_path_measures(names: Collection[str], reason: str) -> dict[str, Measure]:
    """Why there are no paths."""
    absent = missing(LOSS, "not applicable", reason)
    paths = along(CANDIDATE, dict.fromkeys(names, along(PATH_AXIS, dict.fromkeys(PATH_LABELS, absent))))
    return {"loss_path": paths, "barrier": paths, "loss_interpolated": absent}


def _no_nulls(label: str) -> str:
    return COMPARE_PATHS if label == ALIGNED else CONTROL_PATH


def _curve(losses: Float[np.ndarray, "task t"] | NotApplicable, label: str, seed: int) -> Measure:
    if isinstance(losses, NotApplicable):
        return missing(LOSS, "undefined", losses.reason)
    samples = PerTask(losses, LOSS, (POSITION,), {POSITION: PATH}, no_nulls=_no_nulls(label))
    return task_measures({"loss_path": samples}, seed)["loss_path"]


def _barrier(losses: Float[np.ndarray, "task t"] | NotApplicable, label: str, seed: int) -> Measure:
    """The interval resamples tasks, not points of the path."""
    if isinstance(losses, NotApplicable):
        return missing(LOSS, "undefined", losses.reason)
    estimate = barrier(losses.mean(axis=0))
    if not np.isfinite(estimate):
        return missing(LOSS, "undefined", NOT_FINITE)
    interval = percentile_interval(barrier(bootstrap_means(losses, seed)))
    return Measure(
        estimate, LOSS, interval, replicate="task", n=len(losses), no_nulls=_no_nulls(label), higher_is_better=False
    )


def _midpoint(curves: dict[str, Measure], n_layers: int) -> Measure:
    """Half way to gradient descent, and for more than one layer to GD++ where that was asked for."""
    candidate = GDPP if n_layers > 1 and GDPP.name in curves else GD
    if candidate.name not in curves:
        return missing(LOSS, "not applicable", f"{candidate.title} was not asked for")
    path = curves[candidate.name].sel(**{PATH_AXIS: ALIGNED})
    if path.status != "ok":
        return path
    return replace(path.sel(**{POSITION: 0.5}), higher_is_better=False, message=f"half way to {candidate.title}")
