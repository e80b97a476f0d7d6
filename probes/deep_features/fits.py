"""Rules on a model's features, with the free setting that brings each closest to the model's answers.

Settings are fitted on tuning tasks, to what the model says there: the strongest form of the claim that it computes the
same. One step of gradient descent has its rate in closed form, and of any sign: an embedding may put the negative of a
label into the slot. Of several steps, and of a penalty, the setting is sought on a logarithmic scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import RegressionTransformer
from ..algorithms.algorithm import SETTING_RANGE
from ..algorithms.fitting import Fit, fit_log_scale
from ..statistics.bootstrap import sandwich_interval
from .features import Features
from .names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, ZERO

FITTED_TASKS = 1_000
"""Of every fold, that settings are fitted on."""
Answers = Float[Tensor, "task d_out"]
Answer = Callable[[Features, float], Answers]
"""Of a rule, at a setting."""


@dataclass(frozen=True)
class Rules:
    """The candidates of one model, as functions of tasks.

    module:    the model, in float64 on the CPU
    sign:      of its read-out
    settings:  of each rule that has one
    """

    module: RegressionTransformer
    sign: int
    settings: Mapping[str, Fit]

    @classmethod
    def fitted(
        cls, module: RegressionTransformer, sign: int, inputs: Float[Tensor, "task token feature"], answers: Answers
    ) -> Rules:
        """answers: of the model, turned by its sign, on tuning tasks"""
        features, read = Features.of(module, inputs), sign * answers
        squares = float(features.context.square().sum(dim=-1).mean())  # the size of features means nothing
        low, high = (end * (squares or 1.0) for end in SETTING_RANGE)
        rules, settings = _rules(module), {}
        for name, answer in rules.items():
            if name == FEATURE_RIDGE:
                settings[name] = _sought(answer, features, answers, low, high)
            elif name == FEATURE_GD and module.config.n_layers > 1:
                settings[name] = _sought(answer, features, read, 1 / high, 1 / low)
            else:
                settings[name] = _of_one_step(answer(features, 1.0) - features.start, read - features.start)
        return cls(module, sign, settings)

    def functions(self) -> dict[str, Callable[[Tensor], Answers]]:
        """Every candidate: [task, token, feature] -> answers."""
        d_in = self.module.config.d_in
        rules = {name: partial(self._answers, name, answer) for name, answer in _rules(self.module).items()}
        return {
            ZERO: lambda inputs: torch.zeros_like(inputs[:, -1, d_in:]),
            EMBEDDING: lambda inputs: self.sign * Features.of(self.module, inputs).start,
            **rules,
        }

    def _answers(self, name: str, answer: Answer, inputs: Tensor) -> Answers:
        given = answer(Features.of(self.module, inputs), self.settings[name].value)
        return given if name == FEATURE_RIDGE else self.sign * given  # ridge regression knows the labels themselves


def takes_one_linear_step(config: RegressionConfig) -> bool:
    """Whether `attended_gd` is defined."""
    return config.n_layers == config.n_heads == 1 and not (config.softmax or config.layer_norm)


def _rules(module: RegressionTransformer) -> dict[str, Answer]:
    """Those with a setting, by name."""
    config = module.config
    rules: dict[str, Answer] = {FEATURE_GD: lambda features, rate: features.descent(rate, config.n_layers)}
    if takes_one_linear_step(config):
        W_K, W_Q = module.W_K[0, 0], module.W_Q[0, 0]
        rules[ATTENDED_GD] = lambda features, rate: features.attended(W_K, W_Q, rate)
    return rules | {FEATURE_RIDGE: Features.ridge}


def _sought(answer: Answer, features: Features, answers: Answers, low: float, high: float) -> Fit:
    def distances(setting: float) -> Float[np.ndarray, " task"]:
        return (answer(features, setting) - answers).square().sum(dim=1).numpy()

    return fit_log_scale(distances, low, high)


def _of_one_step(unit: Answers, wanted: Answers) -> Fit:
    """Least squares; 0 where the step does nothing.

    unit:    what it adds at a rate of 1
    wanted:  what the model adds
    """
    products, squares = ((unit * other).sum(dim=1).numpy() for other in (wanted, unit))
    rate = float(products.sum() / squares.sum()) if squares.any() else 0.0
    low, high = sandwich_interval(
        np.array([rate]), (2 * (rate * squares - products))[:, None], np.array([[2 * squares.mean()]])
    )
    return Fit(rate, float(low[0]), float(high[0]), n=len(products))
