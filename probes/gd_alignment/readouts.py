"""Read-outs after many more applications of a single layer."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

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
ROLLOUT_DAMPENINGS = (1.0, 0.875, 0.75)
"""Of the authors' figure 10. Their figure 1 (right) has the last."""
ROLLOUT_TASKS = 2_000

RolloutLosses = dict[str, Float[np.ndarray, "task dampening step"]]
"""Of the model and constructed gradient descent, by name."""


def rollout_losses(setup: Setup, settings: Settings) -> RolloutLosses | NotApplicable:
    """Loss after each of 50 dampened steps: the trained block applied over and over, and gradient descent.

    Both write to the y slots only, as in the authors' figures 1 (right) and 10.
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
    blocks = {MODEL: (subject.module, setup.sign), GD.name: (setup.at_precision(descent), 1)}
    return {
        name: np.stack(
            [_losses(setup, _rolled(*block, dampening), tasks) for dampening in ROLLOUT_DAMPENINGS],
            axis=1,
        )
        for name, block in blocks.items()
    }


def _rolled(module: RegressionTransformer, sign: int, dampening: float) -> RegressionTransformer:
    many = {"n_layers": ROLLOUT_STEPS, "dampening": dampening, "target_only": True}
    # what the one layer writes is the prediction
    parameters = {name: sign * held if name == "W_O" else held for name, held in module.named_parameters()}
    return RegressionTransformer(RegressionConfig(**{**module.config.as_dict(), **many}), parameters)


def _losses(setup: Setup, module: RegressionTransformer, tasks: Batch) -> Float[np.ndarray, "task step"]:
    with torch.no_grad():
        answers = merged_readouts(module, setup.inputs(tasks))
    return half_squared_error(answers.cpu().double(), tasks.targets).T.numpy()
