"""The model beside constructed models at every depth: read-outs after as many layers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable
from ..comparing.behaviour import Behaviour, agreement, half_squared_error
from ..comparing.by_candidate import MODEL
from ..regression.sensitivity import behaviours_by_layer
from .setup import Setup

METRICS = ("cosine", "model_difference", "prediction_difference")

Answers = dict[str, tuple[Behaviour, ...]]
"""Of the model and constructed ones, by name: what is read out after each layer."""
ByLayer = dict[str, Float[np.ndarray, "task layer"]]


def answers_by_layer(setup: Setup, constructed: Mapping[str, RegressionTransformer]) -> Answers | NotApplicable:
    """What the model, with the sign of its read-out, and the constructed ones answer after each layer."""
    subject, inputs = setup.subject, setup.inputs(setup.splits.evaluation)
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("a wrapped predictor has no layers to read out")
    modules = {MODEL: subject.module} | dict(constructed)
    found = {name: behaviours_by_layer(module, inputs, setup.batch_size) for name, module in modules.items()}
    return found | {MODEL: tuple(held.turned(setup.sign) for held in found[MODEL])}


def layer_losses(answers: Answers, targets: Float[Tensor, "task d_out"]) -> ByLayer:
    """Loss read out after each layer, task by task."""
    return {
        name: torch.stack([half_squared_error(held.prediction, targets) for held in layers], dim=1).numpy()
        for name, layers in answers.items()
    }


def layer_agreements(answers: Answers) -> dict[str, ByLayer]:
    """The authors' comparisons with each constructed model, where both have the layer, task by task; by metric."""
    compared = {
        name: [agreement(*pair) for pair in zip(answers[MODEL], layers, strict=False)]
        for name, layers in answers.items()
        if name != MODEL
    }
    return {
        metric: {
            name: torch.stack([layer[metric] for layer in layers], dim=1).numpy() for name, layers in compared.items()
        }
        for metric in METRICS
    }
