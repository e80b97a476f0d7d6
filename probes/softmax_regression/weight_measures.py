"""Measures of a softmax layer's weights, and of the loss on the way to the construction of one gradient step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float

from ...data.batch import generator
from ...models.own.softmax_layer import SoftmaxLayer
from ...models.softmax_regressors import LayerSoftmaxRegressor
from ...models.subject import NotApplicable
from ..measure import Measure, Status, missing, without_interval
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, mean_measure
from .formulas import loss_of
from .names import LOSS
from .nulls import UNTRAINED
from .setup import Setup
from .weights import PATH, KQBlock, between, construction, live_distance, written_rate

ROTATED = "rotated queries"
ROTATIONS = 50
POSITION = "t"
OF_WEIGHTS = "a function of the weights: nothing was resampled"
NO_NULLS = "compare with its change along training"
NO_PATH_NULLS = "a path between two given layers"
RATE = "1 / probability"
UNITS = {
    "KQ_diagonal": "1 / squared input",
    "KQ_identity_distance": "relative distance",
    "KQ_off_diagonal": "share of the diagonal",
    "V_on_b": "weight",
    "V_on_A": "weight",
    "learning_rate_written": "1 / squared probability",
    "weight_distance_gd": "relative distance",
}
PATH_UNITS = {"loss_path": LOSS, "loss_interpolated": LOSS, "barrier": LOSS}


def weight_measures(
    setup: Setup, untrained: Sequence[LayerSoftmaxRegressor], learning_rate: float
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Measures, and the block itself; for a wrapped predictor the reason why there are none."""
    subject = setup.subject
    if not isinstance(subject, LayerSoftmaxRegressor):
        reason = "a wrapped predictor shows no weights"
        return {name: missing(unit, "not applicable", reason) for name, unit in (UNITS | PATH_UNITS).items()}, {}
    layer, others = subject.module, [one.module for one in untrained]
    n = setup.splits.n_tokens
    measures = {
        name: _of_weights(UNITS[name], value(layer), {UNTRAINED: np.array([value(other) for other in others])})
        for name, value in _numbers(n).items()
    }
    rotated = [KQBlock.of(layer).turned(generator(setup.seed, ROTATED, draw)) for draw in range(ROTATIONS)]
    measures["KQ_identity_distance"] = _of_weights(
        UNITS["KQ_identity_distance"],
        KQBlock.of(layer).distance,
        {
            UNTRAINED: np.array([KQBlock.of(other).distance for other in others]),
            ROTATED: np.array([block.distance for block in rotated]),
        },
    )
    arrays = {"KQ_block": KQBlock.of(layer).block.numpy(), "w_V": layer.w_V.detach().double().cpu().numpy()}
    return measures | _towards(setup, layer, learning_rate), arrays


def _numbers(n_tokens: int) -> dict[str, Callable[[SoftmaxLayer], float]]:
    return {
        "KQ_diagonal": lambda layer: KQBlock.of(layer).sharpness,
        "KQ_off_diagonal": lambda layer: KQBlock.of(layer).off_diagonal,
        "V_on_b": lambda layer: float(layer.w_V[-1]),
        "V_on_A": lambda layer: float(layer.w_V[:-1].double().norm()),
        "learning_rate_written": lambda layer: written_rate(layer, n_tokens),
    }


def _of_weights(unit: str, value: float, nulls: dict[str, np.ndarray]) -> Measure:
    return without_interval(np.array(value), unit, message=OF_WEIGHTS, nulls=nulls)


def _towards(setup: Setup, layer: SoftmaxLayer, learning_rate: float) -> dict[str, Measure]:
    """Distance from the construction of one gradient step, and the loss on the straight way there."""
    end = construction(layer, setup.splits.n_tokens, learning_rate)
    units = PATH_UNITS | {"weight_distance_gd": UNITS["weight_distance_gd"]}
    if isinstance(end, NotApplicable):
        status: Status = "undefined"
        return {name: missing(unit, status, end.reason) for name, unit in units.items()}
    distance = without_interval(
        np.array(live_distance(layer, end)),
        UNITS["weight_distance_gd"],
        message=f"from the construction of the layer's own sharpness; {OF_WEIGHTS}",
        no_nulls=NO_NULLS,
    )
    return {"weight_distance_gd": distance} | _path(setup, layer, end)


def _path(setup: Setup, start: SoftmaxLayer, end: SoftmaxLayer) -> dict[str, Measure]:
    tasks = setup.splits.nulls
    with torch.no_grad():
        losses = torch.stack([
            loss_of(between(start, end, t).cpu()(tasks.inputs, tasks.targets), tasks.targets) for t in PATH
        ], dim=1).numpy()  # fmt: skip
    resampled = bootstrap_means(losses, setup.seed)
    samples = PerTask(losses, LOSS, (POSITION,), {POSITION: PATH}, no_nulls=NO_PATH_NULLS)
    curve = mean_measure(samples, *percentile_interval(resampled))
    low, high = percentile_interval(_rise(resampled))
    barrier = Measure(
        np.array(float(_rise(losses.mean(axis=0)))),
        LOSS,
        (low, high),
        replicate="task",
        n=len(losses),
        no_nulls=NO_PATH_NULLS,
        higher_is_better=False,
    )
    return {"loss_path": curve, "loss_interpolated": curve.sel(**{POSITION: 0.5}), "barrier": barrier}


def _rise(losses: Float[np.ndarray, "*resample t"]) -> Float[np.ndarray, "*resample"]:
    """The highest rise above the straight line between the ends."""
    t = np.array(PATH)
    line = (1 - t) * losses[..., :1] + t * losses[..., -1:]
    return np.asarray((losses - line).max(axis=-1))
