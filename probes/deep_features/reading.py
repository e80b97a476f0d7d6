"""A model beside its candidates on the same tasks, and the same of models without the mechanism."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from ...data.batch import Batch
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
from ..comparing.behaviour import Behaviour, Compared
from ..regression.examined import Examined, Predict
from ..regression.layer_weights import in_double
from ..regression.nulls import shuffles, untrained_models
from ..regression.sensitivity import behaviour, predictions
from .fits import Rules
from .names import SHUFFLED, TWIN, UNTRAINED
from .read_out import ReadOut, read_out

NULL_TASKS = 200
"""Tasks of every null model, and as many to fit its candidates on."""


@dataclass(frozen=True)
class Twin:
    """Another model of the same tasks, with the sign of its read-out."""

    model: Regressor
    sign: int

    @property
    def label(self) -> str:
        return self.model.source.label


@dataclass(frozen=True)
class Drawn:
    """Models without the mechanism, by null.

    signs:  of the read-outs of untrained models
    """

    compared: dict[str, list[Compared]]
    read_outs: dict[str, list[ReadOut]]
    signs: list[int]


def module_of(examined: Examined) -> RegressionTransformer:
    subject = examined.subject
    assert isinstance(subject, TransformerRegressor)  # see `applies` of the probe
    return subject.module


def fitted_rules(examined: Examined, module: RegressionTransformer, sign: int, tuning: Batch) -> Rules:
    """Fitted to the answers of this model."""
    answers = sign * predictions(module, examined.inputs(tuning), examined.batch_size)
    return Rules.fitted(in_double(module), sign, tuning.inputs.double(), answers)


def candidates(
    examined: Examined, rules: list[tuple[Rules, Batch]], twin: Twin | None, tasks: Batch
) -> dict[str, Behaviour]:
    """What a model is compared with.

    rules:  with the tasks that each answers, which together are `tasks`
    """
    functions = [(one.functions(), held) for one, held in rules]
    found = {
        name: _joined([_answers(examined, of_fold[name], held) for of_fold, held in functions])
        for name in functions[0][0]
    }
    return found if twin is None else found | {TWIN: examined.subject_behaviour(tasks, twin.model, twin.sign)}


def _answers(examined: Examined, function: Predict, tasks: Batch) -> Behaviour:
    return behaviour(function, tasks.inputs.double(), examined.subject.d_in, examined.batch_size)


def drawn_nulls(
    examined: Examined, own: Rules, twin: Twin | None, watch: Callable[[float], None] = lambda done: None
) -> Drawn:
    """Untrained models, each with candidates of its own; and the model itself on shuffled labels, with the candidates
    that it has on the true ones.
    """
    tuning, tasks = examined.splits.folds[0].tuning[:NULL_TASKS], examined.splits.nulls[:NULL_TASKS]
    models, sets = untrained_models(examined), list(shuffles(examined))
    held, read, total = {UNTRAINED: [], SHUFFLED: []}, {UNTRAINED: [], SHUFFLED: []}, len(models) + len(sets)
    for number, model in enumerate(models):
        rules = fitted_rules(examined, model.module, model.sign, tuning)
        answers = examined.behaviour(model.module, tasks).turned(model.sign)
        beside = candidates(examined, [(rules, tasks)], twin, tasks)
        held[UNTRAINED].append(Compared(answers, beside, tasks.targets))
        read[UNTRAINED].append(read_out(examined, model.module, tuning, tasks))
        watch((number + 1) / total)
    beside = candidates(examined, [(own, tasks)], twin, tasks)
    for number, shown in enumerate(sets):
        held[SHUFFLED].append(Compared(examined.subject_behaviour(shown(tasks)), beside, tasks.targets))
        read[SHUFFLED].append(read_out(examined, module_of(examined), shown(tuning), shown(tasks)))
        watch((len(models) + number + 1) / total)
    return Drawn(held, read, [model.sign for model in models])


def _joined(parts: list[Behaviour]) -> Behaviour:
    """Of several folds, one behind the other."""
    return Behaviour(torch.cat([p.prediction for p in parts]), torch.cat([p.sensitivity for p in parts]))
