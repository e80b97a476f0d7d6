"""Measures at every depth: `loss_by_layer`, `cosine_by_layer`, `model_difference_by_layer`,
`prediction_difference_by_layer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...models.subject import NotApplicable
from ..comparing.agreement_samples import HIGHER_IS_BETTER
from ..comparing.by_candidate import CANDIDATE, MODEL, flat_samples, missing_by_candidate
from ..measure import Measure, along
from ..regression.sensitivity import LOSS, WORDS
from ..statistics.sample_measures import PerTask, task_measures
from .depth import METRICS, Answers, ByLayer, layer_agreements, layer_losses
from .names import GD

NOT_TRAINED = "read-outs before the last layer are not trained to be predictions"
FEWER_LAYERS = "NaN after its last layer"
NO_NULLS = "the nulls of the last layer are those of the measure without layers"


def depth_measures(
    answers: Answers | NotApplicable, targets: Float[Tensor, "task d_out"], seed: int
) -> dict[str, Measure]:
    """What is read out after each layer: its loss, and how far it agrees with constructed models after as many."""
    if isinstance(answers, NotApplicable):
        missing = {"loss_by_layer": missing_by_candidate([MODEL], LOSS, "not applicable", answers.reason)}
        for metric in METRICS:
            unit = WORDS.units[metric]
            missing[f"{metric}_by_layer"] = missing_by_candidate([GD.name], unit, "not applicable", answers.reason)
        return missing
    samples = {"loss_by_layer": _losses(layer_losses(answers, targets))} | _agreements(layer_agreements(answers))
    found = task_measures(flat_samples(samples), seed)
    return {
        metric: along(CANDIDATE, _padded({name: found[f"{metric}_{name}"] for name in by_name}))
        for metric, by_name in samples.items()
    }


def _losses(losses: ByLayer) -> dict[str, PerTask]:
    """Only those of gradient descent are meant to be predictions before the last layer."""
    no_nulls = "the nulls of the last layer are those of the model's loss"
    return {
        name: PerTask(held, LOSS, ("layer",), no_nulls=no_nulls, message="" if name == GD.name else NOT_TRAINED)
        for name, held in losses.items()
    }


def _agreements(found: Mapping[str, ByLayer]) -> dict[str, dict[str, PerTask]]:
    return {
        f"{metric}_by_layer": {
            name: PerTask(
                held,
                WORDS.units[metric],
                ("layer",),
                no_nulls=NO_NULLS,
                higher_is_better=HIGHER_IS_BETTER[metric],
                message=NOT_TRAINED * (held.shape[1] > 1),
            )
            for name, held in by_name.items()
        }
        for metric, by_name in found.items()
    }


def _padded(parts: Mapping[str, Measure]) -> dict[str, Measure]:
    """With NaN after the last layer, where another candidate has more layers."""
    deepest = max((len(part.values) for part in parts.values() if part.axes), default=0)
    return {name: _up_to(part, deepest) if part.axes else part for name, part in parts.items()}


def _up_to(measure: Measure, n_layers: int) -> Measure:
    if (lacking := n_layers - len(measure.values)) == 0:
        return measure
    values, low, high = (
        np.pad(held, (0, lacking), constant_values=np.nan) for held in (measure.values, *measure.interval)
    )
    message = "; ".join(filter(None, (measure.message, FEWER_LAYERS)))
    return replace(measure, values=values, interval=(low, high), message=message)
