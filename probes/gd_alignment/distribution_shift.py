"""Away from the training tasks: other input and teacher scales, other input laws, wrong labels.

The grids and task counts are those of the authors' code (the paper says 10,000 tasks; its code takes 1,000 and 500).
Every point of a curve uses the same random draws, so that a scale changes the tasks by that scale alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from ...data.batch import Batch
from ...data.recipe import named_seed
from ...data.regression import LinearRegression, OtherDistributions, RegressionTasks, sample_alike
from ...models.own.merged import merged
from ..algorithms.fitting import Fit
from ..comparing.behaviour import half_squared_error
from ..comparing.by_candidate import MODEL
from ..comparing.memo import once_per_batch
from ..regression.examined import Predict, quick_predict
from ..regression.sensitivity import predictions
from ..regression.sign import turned
from .constructed import ConstructedShape
from .constructed_fits import GDPPFit
from .settings import Settings
from .setup import Setup


@dataclass(frozen=True)
class Curve:
    """One axis along which tasks move away from those of training.

    values:  scales of the training law's own value, or the value itself
    n:       tasks at each point
    family:  the tasks at one value, from the law of training
    """

    name: str
    axis: str
    values: tuple[float, ...]
    n: int
    family: Callable[[LinearRegression, float], RegressionTasks]


def _grid(start: float, stop: float, step: float) -> tuple[float, ...]:
    return tuple(round(float(x), 10) for x in np.arange(start, stop, step))


def _other(law: LinearRegression, input_range: float = 1.0, weight_scale: float = 1.0) -> OtherDistributions:
    return OtherDistributions(law.n_context, law.d_in, law.d_out, input_range, law.weight_scale * weight_scale)


CURVES = (
    Curve(
        "input_scale",
        "input_range",
        _grid(0.5, 2.03, 0.03),
        1_000,
        lambda law, value: replace(law, input_range=law.input_range * value),
    ),
    Curve(
        "weight_scale",
        "weight_scale",
        _grid(0.5, 5.1, 0.1),
        1_000,
        lambda law, value: replace(law, weight_scale=law.weight_scale * value),
    ),
    Curve(
        "other_distributions",
        "input_range",
        _grid(0.5, 5.05, 0.05),
        500,
        lambda law, value: _other(law, input_range=value),
    ),
    Curve(
        "other_distributions_weight_scale",
        "weight_scale",
        _grid(0.5, 5.1, 0.1),
        500,
        lambda law, value: _other(law, weight_scale=value),
    ),
    Curve(
        "noisy_labels",
        "n_corrupted",
        (0, 2, 4, 6, 8),
        10_000,
        lambda law, value: replace(law, n_corrupted=int(value)),
    ),
)
"""Scales multiply those of training; for other distributions `input_range` is the context's Frobenius norm."""


def families_along(curve: Curve, law: LinearRegression) -> dict[float, RegressionTasks]:
    """The task family at each point of a curve, by its own value of the curve's axis (no more wrong labels than N)."""
    values = [v for v in curve.values if curve.axis != "n_corrupted" or v <= law.n_context]
    families = [curve.family(law, value) for value in values]
    return {getattr(family, curve.axis): family for family in families}


@dataclass(frozen=True)
class Shift:
    """Losses along one curve: its points, and [task, point] for the model and each constructed one."""

    curve: Curve
    points: tuple[float, ...]
    losses: Mapping[str, Float[np.ndarray, "task point"]]


@dataclass(frozen=True)
class Shifted:
    """Which shifted tasks: of what law, at most how many at a point, from what seed."""

    law: LinearRegression
    n: int
    seed: int


class Precision(NamedTuple):
    """How models are run."""

    device: torch.device
    dtype: torch.dtype
    batch_size: int


def shifts(setup: Setup, law: LinearRegression, settings: Settings) -> list[Shift]:
    """Losses of the model and of each constructed one along every curve."""
    tasks = Shifted(law, len(setup.splits.evaluation), setup.seed)
    at = Precision(setup.subject.device, setup.subject.dtype, setup.batch_size)
    ours = {MODEL: turned(quick_predict(setup.subject), setup.sign)}
    shared = _of_constructed(setup.splits.evaluation, tasks, at, setup.shape, settings.gd, settings.gdpp)
    curves = zip(CURVES, shared, strict=True)
    return [replace(of, losses={**shift_along(curve, tasks, at, ours).losses, **of.losses}) for curve, of in curves]


@once_per_batch
def _of_constructed(
    evaluation: Batch,
    tasks: Shifted,
    at: Precision,
    shape: ConstructedShape,
    gd: tuple[Fit, ...] | None,
    gdpp: GDPPFit | None,
) -> list[Shift]:
    """Those of constructed models alone: the seeds of a family share them along with the evaluation tasks."""
    models = Settings(gd, gdpp, {}).constructed(shape)
    predictors = {name: merged(model.to(device=at.device, dtype=at.dtype)) for name, model in models.items()}
    return [shift_along(curve, tasks, at, predictors) for curve in CURVES]


def shift_along(curve: Curve, tasks: Shifted, at: Precision, predictors: Mapping[str, Predict]) -> Shift:
    """Losses task by task: of the curve's tasks, or of fewer."""
    families = families_along(curve, tasks.law)
    drawn = sample_alike(list(families.values()), min(curve.n, tasks.n), named_seed(tasks.seed, "shift", curve.name))
    columns: dict[str, list[np.ndarray]] = {name: [] for name in predictors}
    for inputs, targets in drawn:
        tokens = inputs.to(at.device, at.dtype)
        for name, predict in predictors.items():
            columns[name].append(half_squared_error(predictions(predict, tokens, at.batch_size), targets).numpy())
    return Shift(curve, tuple(families), {name: np.stack(held, axis=1) for name, held in columns.items()})
