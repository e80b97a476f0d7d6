"""Read-outs along depth: after each layer, and after many more applications of a single layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.constructed.gradient_descent import gd_transformer
from ...models.own.merged import merged_readouts
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable
from ..comparing.behaviour import half_squared_error
from ..comparing.by_candidate import MODEL
from .names import GD
from .settings import Settings
from .setup import Setup
from .weights import LABEL_SET

ROLLOUT_STEPS = 50
ROLLOUT_DAMPENING = 0.75
ROLLOUT_TASKS = 2_000

LayerLosses = dict[str, Float[np.ndarray, "task layer"]]
"""Of the model and constructed ones, by name."""


def layer_losses(setup: Setup, constructed: Mapping[str, RegressionTransformer]) -> LayerLosses | NotApplicable:
    """Loss read out after each layer, task by task."""
    subject = setup.subject
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("a wrapped predictor has no layers to read out")
    tasks = setup.splits.evaluation
    as_written = RegressionTransformer.predict_layers
    losses = {name: _losses(as_written, setup, module, tasks) for name, module in constructed.items()}
    return {MODEL: _losses(as_written, setup, subject.module, tasks, setup.sign)} | losses


def rollout_losses(setup: Setup, settings: Settings) -> LayerLosses | NotApplicable:
    """Loss after each of 50 dampened steps: the trained block applied over and over, and gradient descent.

    Both are dampened by 0.75 and write to the y slots only, as in the authors' figure 1 (right).
    """
    subject = setup.subject
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("a wrapped predictor has no block to apply again")
    if subject.config.n_layers > 1 or subject.config.layer_norm:
        return NotApplicable("only the one block of a single-layer model without layer norm can be applied again")
    if setup.sign < 0 and setup.query_label_set:
        return NotApplicable(LABEL_SET)
    if settings.gd is None:
        return NotApplicable("the roll-out is compared with constructed gradient descent, which was not asked for")
    rate, *others = settings.gd
    if others:
        return NotApplicable("the roll-out takes one learning rate, and several were given")
    tasks, shape = setup.splits.evaluation[:ROLLOUT_TASKS], setup.shape
    descent = gd_transformer(
        shape.n_context, rate.value, shape.d_in, shape.d_out, activation_clip=shape.activation_clip
    )
    models = {MODEL: _rolled(subject.module, setup.sign), GD.name: _rolled(setup.at_precision(descent), sign=1)}
    return {name: _losses(merged_readouts, setup, model, tasks) for name, model in models.items()}


def _rolled(module: RegressionTransformer, sign: int) -> RegressionTransformer:
    many = {"n_layers": ROLLOUT_STEPS, "dampening": ROLLOUT_DAMPENING, "target_only": True}
    # what the one layer writes is the prediction
    parameters = {name: sign * held if name == "W_O" else held for name, held in module.named_parameters()}
    return RegressionTransformer(RegressionConfig(**{**module.config.as_dict(), **many}), parameters)


def _losses(
    readouts: Callable[[RegressionTransformer, Tensor], Tensor],
    setup: Setup,
    module: RegressionTransformer,
    tasks: Batch,
    sign: int = 1,
) -> Float[np.ndarray, "task layer"]:
    with torch.no_grad():
        answers = sign * readouts(module, setup.inputs(tasks))
    return half_squared_error(answers.cpu().double(), tasks.targets).T.numpy()
