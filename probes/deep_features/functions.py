"""Answers over a grid of queries, for a few tasks whose inputs are numbers: what the paper draws as functions."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch, generator
from ...data.sine import SineRegression, regression_tasks
from ..comparing.by_candidate import MODEL
from ..regression.examined import Examined, Predict
from ..regression.sensitivity import predictions
from ..regression.sign import turned
from .fits import Rules
from .names import ATTENDED_GD, CONTEXT_X, CONTEXT_Y, FEATURE_GD, FEATURE_RIDGE, GRID, TARGET, TWIN, function_of
from .reading import Twin, module_of

TASKS, POINTS = 3, 100
RULES = (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE)


def functions(examined: Examined, rules: Rules, twin: Twin | None) -> dict[str, Float[np.ndarray, "task point"]]:
    """The first few evaluation tasks, by the name of the array; {} where inputs or labels are more than one number."""
    subject, tasks = examined.subject, examined.splits.evaluation[:TASKS]
    if (subject.d_in, subject.d_out) != (1, 1):
        return {}
    x = examined.splits.evaluation.inputs[..., 0]
    grid = torch.linspace(float(x.min()), float(x.max()), POINTS, dtype=torch.float64)
    asked = _asked(tasks.inputs.double(), grid)
    of_rules = rules.functions()
    answers = {name: predictions(of_rules[name], asked, POINTS) for name in RULES if name in of_rules}
    models: Mapping[str, tuple[Predict, int]] = {MODEL: (module_of(examined), examined.sign)}
    models |= {} if twin is None else {TWIN: (twin.model.predict, twin.sign)}
    for name, (predict, sign) in models.items():
        given = asked.to(subject.device, subject.dtype)
        answers[name] = predictions(turned(predict, sign), given, POINTS)
    held = {name: answer.view(-1, POINTS).numpy() for name, answer in answers.items()}
    held |= _target(examined.splits.evaluation, grid)
    pairs = tasks.inputs[:, :-1].double().numpy()
    held |= {GRID: grid.expand(len(tasks), -1).numpy(), CONTEXT_X: pairs[..., 0], CONTEXT_Y: pairs[..., 1]}
    return {function_of(name): np.ascontiguousarray(values) for name, values in held.items()}


def _asked(inputs: Float[Tensor, "task token feature"], grid: Float[Tensor, " point"]) -> Tensor:
    """Each task once for every point, which is its query."""
    asked = inputs[:, None].repeat(1, len(grid), 1, 1)
    asked[:, :, -1, 0] = grid
    return asked.flatten(0, 1)


def _target(tasks: Batch, grid: Float[Tensor, " point"]) -> dict[str, np.ndarray]:
    """The sines themselves, of tasks that mesascope drew: their numbers are drawn once more."""
    recipe = tasks.recipe
    if recipe.family != SineRegression.family or recipe.seed is None:
        return {}
    law = regression_tasks(recipe.settings)
    assert isinstance(law, SineRegression)
    u = law.draw(recipe.n, generator(recipe.seed, "regression"))[0][:TASKS, :, 0]
    return {TARGET: law.labels(grid, u).numpy()}
