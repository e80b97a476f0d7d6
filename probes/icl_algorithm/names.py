"""The families that compete, and when two are called equal."""

from __future__ import annotations

from ..algorithms.conjugate import CONJUGATE_GRADIENTS
from ..algorithms.copying import LAST_LABEL, MEAN_LABEL, NEAREST_LABEL, ZERO
from ..algorithms.families import Family
from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, LEAST_SQUARES, MOMENTUM_DESCENT, NEWTON, RIDGE
from ..algorithms.kernels import (
    EXPONENTIAL_DESCENT,
    EXPONENTIAL_RIDGE,
    RBF_DESCENT,
    RBF_RIDGE,
    SOFTMAX_DESCENT,
)
from ..algorithms.preconditioned import ONE_STEP
from ..algorithms.preconditioned_steps import SEVERAL_STEPS

FAMILIES: tuple[Family, ...] = (
    GRADIENT_DESCENT,
    ONE_STEP,
    SEVERAL_STEPS,
    MOMENTUM_DESCENT,
    GDPP,
    NEWTON,
    CONJUGATE_GRADIENTS,
    RIDGE,
    LEAST_SQUARES,
    RBF_DESCENT,
    EXPONENTIAL_DESCENT,
    SOFTMAX_DESCENT,
    RBF_RIDGE,
    EXPONENTIAL_RIDGE,
    NEAREST_LABEL,
    LAST_LABEL,
    MEAN_LABEL,
    ZERO,
)
"""In the order of figures. A finite task set, where one is given, stands after least squares."""
TASK_SET = "task_set"
EQUAL = 0.01
"""Shares that differ by at most this are equal: a percent of the prediction's variation is no finding about a rule."""
CLEARLY = 2 / 3
"""The closest is named where it leaves at most this part of what the next, which is not equal to it, leaves. A model
between two rules is about as far from either."""
NULL_TASKS = 100
"""Tasks that every family is fitted on again for each null model, and as many that it is judged on."""
FEW_NULL_TASKS = 50
"""That two settings are fitted on again, which takes longest."""
SETTINGS = ("learning_rate", "penalty", "momentum", "gamma", "initial_scale", "width", "noise_variance")
"""Measures of fitted settings, where a family has them."""
