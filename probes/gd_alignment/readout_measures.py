"""Measures along depth: `loss_by_layer` and `loss_rollout`, of the model and the constructed ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...models.subject import NotApplicable
from ..comparing.by_candidate import CANDIDATE, MODEL, measures_by_candidate, missing_by_candidate
from ..measure import Measure, along
from ..regression.sensitivity import LOSS
from ..statistics.sample_measures import PerTask, task_measures
from .names import GD
from .readouts import ROLLOUT_STEPS, LayerLosses

NOT_TRAINED = "read-outs before the last layer are not trained to be predictions"
FEWER_LAYERS = "NaN after its last layer"


def layer_measures(losses: LayerLosses | NotApplicable, seed: int) -> dict[str, Measure]:
    """Loss read out after each layer. Only those of gradient descent are meant to be predictions before the last."""
    if isinstance(losses, NotApplicable):
        return {"loss_by_layer": missing_by_candidate([MODEL], LOSS, "not applicable", losses.reason)}
    samples = {
        name: PerTask(
            held,
            LOSS,
            ("layer",),
            no_nulls="the nulls of the last layer are those of the model's loss",
            message="" if name == GD.name else NOT_TRAINED,
        )
        for name, held in losses.items()
    }
    deepest = max(held.shape[1] for held in losses.values())
    measures = {name: _padded(measure, deepest) for name, measure in task_measures(samples, seed).items()}
    return {"loss_by_layer": along(CANDIDATE, measures)}


def _padded(measure: Measure, n_layers: int) -> Measure:
    """With NaN after the last layer, where another candidate has more layers."""
    if measure.status != "ok" or (missing := n_layers - len(measure.values)) == 0:
        return measure
    values, low, high = (
        np.pad(held, (0, missing), constant_values=np.nan) for held in (measure.values, *measure.interval)
    )
    message = "; ".join(filter(None, (measure.message, FEWER_LAYERS)))
    return replace(measure, values=values, interval=(low, high), message=message)


def rollout_measures(losses: LayerLosses | NotApplicable, seed: int) -> dict[str, Measure]:
    """Loss after each dampened step."""
    if isinstance(losses, NotApplicable):
        return {"loss_rollout": missing_by_candidate([MODEL, GD.name], LOSS, "not applicable", losses.reason)}
    steps = {"rollout_step": tuple(range(1, ROLLOUT_STEPS + 1))}
    samples = {
        name: PerTask(held, LOSS, ("rollout_step",), steps, no_nulls="compare with the loss after the first step")
        for name, held in losses.items()
    }
    return measures_by_candidate({"loss_rollout": samples}, seed)
