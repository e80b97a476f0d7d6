"""Measures of the loss between trained and constructed weights: `loss_path`, `barrier`, `loss_interpolated`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ...models.subject import NotApplicable
from ..comparing.by_candidate import CANDIDATE
from ..measure import Measure, along, missing
from ..regression.sensitivity import LOSS
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, mean_measure
from .names import GD, GDPP
from .weight_comparison import ALIGNED, PATH_LABELS, PathLosses
from .weights import PATH, barrier

PATH_AXIS = "path"
POSITION = "t"
COMPARE_PATHS = "compare with the control paths unaligned, wrong_rate and rotated"
CONTROL_PATH = "a control of the aligned path"
NOT_FINITE = "the loss along the path is not finite"
Losses = Float[np.ndarray, "task t"]
Resampled = Float[np.ndarray, "resample t"]


def path_measures(losses: PathLosses, n_layers: int, seed: int) -> dict[str, Measure]:
    """Along every path to every constructed model; `loss_interpolated` is the paper's, the aligned path's middle."""
    held = {(of, label): path for of, paths in losses.items() for label, path in paths.items()}
    found = {place: path for place, path in held.items() if not isinstance(path, NotApplicable)}
    # tasks are resampled, not points of a path, and for all paths at once
    resampled = bootstrap_means(np.stack(list(found.values()), axis=1), seed)
    means = {place: resampled[:, number] for number, place in enumerate(found)}

    def along_paths(of: str, measured: Callable[[np.ndarray, np.ndarray, str], Measure]) -> Measure:
        return along(
            PATH_AXIS,
            {
                label: missing(LOSS, "undefined", path.reason)
                if isinstance(path, NotApplicable)
                else measured(path, means[of, label], COMPARE_PATHS if label == ALIGNED else CONTROL_PATH)
                for label, path in losses[of].items()
            },
        )

    curves = {candidate: along_paths(candidate, _curve) for candidate in losses}
    return {
        "loss_path": along(CANDIDATE, curves),
        "barrier": along(CANDIDATE, {candidate: along_paths(candidate, _barrier) for candidate in losses}),
        "loss_interpolated": _midpoint(curves, n_layers),
    }


def no_path_measures(names: Collection[str], reason: str) -> dict[str, Measure]:
    """Why there are no paths."""
    absent = missing(LOSS, "not applicable", reason)
    paths = along(CANDIDATE, dict.fromkeys(names, along(PATH_AXIS, dict.fromkeys(PATH_LABELS, absent))))
    return {"loss_path": paths, "barrier": paths, "loss_interpolated": absent}


def _curve(losses: Losses, resampled: Resampled, no_nulls: str) -> Measure:
    samples = PerTask(losses, LOSS, (POSITION,), {POSITION: PATH}, no_nulls=no_nulls)
    return mean_measure(samples, *percentile_interval(resampled))


def _barrier(losses: Losses, resampled: Resampled, no_nulls: str) -> Measure:
    estimate = barrier(losses.mean(axis=0))
    if not np.isfinite(estimate):
        return missing(LOSS, "undefined", NOT_FINITE)
    interval = percentile_interval(barrier(resampled))
    return Measure(estimate, LOSS, interval, replicate="task", n=len(losses), no_nulls=no_nulls, higher_is_better=False)


def _midpoint(curves: dict[str, Measure], n_layers: int) -> Measure:
    """Half way to gradient descent, and for more than one layer to GD++ where that was asked for."""
    candidate = GDPP if n_layers > 1 and GDPP.name in curves else GD
    if candidate.name not in curves:
        return missing(LOSS, "not applicable", f"{candidate.title} was not asked for")
    path = curves[candidate.name].sel(**{PATH_AXIS: ALIGNED})
    if path.status != "ok":
        return path
    return replace(path.sel(**{POSITION: 0.5}), higher_is_better=False, message=f"half way to {candidate.title}")
