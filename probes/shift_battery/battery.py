"""What the model, the frozen rules and untrained models answer under every strength of every shift."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import generator
from ...data.recipe import Recipe
from ...models.regressors import TransformerRegressor
from ..algorithms.contexts import Contexts
from ..comparing.by_candidate import MODEL
from ..probe import Progress
from ..regression.examined import Examined, Predict, quick_predict
from ..regression.nulls import reordered, untrained_modules
from ..regression.sensitivity import predictions
from ..regression.sign import found_sign, turned
from .names import GD_MEAN, LENGTH, SHIFTS, Shift
from .rules import Frozen, Shown, freeze
from .tasks import UNCHANGED, Change, Drawn, FromFile, FromLaw, Tasks

SHIFTED_TASKS = 500
"""At each strength at most; as many as von Oswald et al. 2023 take away from training."""
TUNING_TASKS = 1_000
"""On which rules are fitted, at most."""
UNTRAINED, NULL_TUNING, NULL_TASKS = 10, 150, 30
"""Null models, and for each the tasks that rules are fitted to it on, and those that it is judged by."""
MESSAGE = 120
"""Letters of what a function says when it refuses."""
ORDERS = 4
"""In which the pairs of a context are shown, the first as drawn."""
Answers = Float[Tensor, "task strength d_out"]
_TARGETS = "targets"


@dataclass(frozen=True)
class Along:
    """One model beside the rules along one shift.

    strengths:  where the model answers
    training:   the one that changes nothing
    refused:    why it does not answer at others, by strength
    """

    strengths: tuple[float, ...]
    training: float
    model: Answers
    rules: Mapping[str, Answers]
    targets: Answers
    refused: Mapping[float, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Battery:
    """One model along all shifts.

    along:   none for a shift that these tasks cannot be given
    orders:  answers to the same contexts in several orders
    sign:    of the model's read-out
    """

    along: Mapping[str, Along]
    orders: Float[Tensor, "order task d_out"]
    frozen: Mapping[str, Frozen]
    sign: int


@dataclass
class _Model:
    """One model's answers. What is asked twice is answered once."""

    predict: Callable[[Tensor], Tensor]
    parts: Sequence[Drawn]
    frozen: Mapping[str, Frozen]
    _answered: dict[Change, Tensor | str] = field(default_factory=dict)

    def answer(self, change: Change, tasks: Sequence[Tasks]) -> Tensor | str:
        """To all parts; why not, where another's function refuses a context of this length."""
        if change not in self._answered:
            self._answered[change] = self._asked(change, [one.contexts.inputs for one in tasks])
        return self._answered[change]

    def _asked(self, change: Change, inputs: Sequence[Tensor]) -> Tensor | str:
        try:
            return torch.cat([self.predict(part) for part in inputs])
        except Exception as error:  # it may refuse tokens in any way it likes
            if change.n_context is None:
                raise
            return " ".join(str(error).split())[:MESSAGE] or type(error).__name__


def hold(examined: Examined, progress: Progress) -> tuple[Battery, list[Battery], Recipe]:
    """The model's battery, those of untrained models, and the recipe of the shifted tasks."""
    progress("fitting rules", 0.0)
    predict = _predictor(examined, turned(quick_predict(examined.subject), examined.sign))
    folds = [fold.tuning[:TUNING_TASKS] for fold in examined.splits.folds]
    shown = [(contexts := Contexts.of(fold.inputs, examined.subject.d_in), predict(contexts.inputs)) for fold in folds]
    frozen = freeze(shown, examined.splits.law)
    progress("shifting tasks", 0.2)
    parts = _drawn(examined)
    model = _Model(predict, parts, frozen)
    battery = _battery(model, examined.seed, examined.sign, lambda done: progress("shifting tasks", 0.2 + 0.4 * done))
    nulls = _untrained(examined, frozen, parts, lambda done: progress("untrained models", 0.6 + 0.4 * done))
    return battery, nulls, parts[0].recipe


def _predictor(examined: Examined, predict: Predict) -> Callable[[Tensor], Tensor]:
    """Of float64 tokens on the CPU, with answers likewise."""

    def answered(inputs: Tensor) -> Tensor:
        tokens = inputs.to(examined.subject.device, examined.subject.dtype)
        return predictions(predict, tokens, examined.batch_size)

    return answered


def _drawn(examined: Examined) -> list[Drawn]:
    """Tasks to be shifted; of a file, of each half its first ones."""
    splits, d_in = examined.splits, examined.subject.d_in
    if splits.law is not None:
        n = min(len(splits.evaluation), SHIFTED_TASKS)
        return [FromLaw.draw(splits.law, n, examined.seed)]
    each = SHIFTED_TASKS // len(splits.folds)
    return [FromFile.of(fold.evaluation[:each], d_in, examined.seed, i) for i, fold in enumerate(splits.folds)]


def _battery(model: _Model, seed: int, sign: int, progress: Callable[[float], None]) -> Battery:
    along = {}
    for number, shift in enumerate(SHIFTS):
        if model.parts[0].strengths(shift):
            along[shift.name] = _along(shift, model)
        progress((number + 1) / len(SHIFTS))
    return Battery(along, _orders(model, seed), model.frozen, sign)


def _along(shift: Shift, model: _Model) -> Along:
    """All answers along one shift; strengths that the model refuses are left out."""
    drawn = model.parts[0]
    rules = {name: rule for name, rule in model.frozen.items() if name != GD_MEAN or shift == LENGTH}
    held: dict[float, dict[str, Tensor]] = {}
    refused: dict[float, str] = {}
    for strength in drawn.strengths(shift):
        change = drawn.changed(shift, strength)
        tasks = [part.tasks(change) for part in model.parts]
        answer = model.answer(change, tasks)
        if isinstance(answer, str):
            refused[strength] = answer
            continue
        held[strength] = {MODEL: answer, _TARGETS: torch.cat([one.targets for one in tasks])}
        held[strength] |= {name: _answers(rule, tasks, drawn.n_context) for name, rule in rules.items()}
    stacked = {name: torch.stack([one[name] for one in held.values()], dim=1) for name in (MODEL, _TARGETS, *rules)}
    return Along(
        strengths=tuple(held),
        training=drawn.training(shift),
        model=stacked[MODEL],
        rules={name: stacked[name] for name in rules},
        targets=stacked[_TARGETS],
        refused=refused,
    )


def _answers(rule: Frozen, tasks: Sequence[Tasks], n_training: int) -> Tensor:
    """Of a rule, to the tasks of every fold with that fold's settings."""
    return torch.cat([rule.answers(one.contexts, n_training, fold) for fold, one in enumerate(tasks)])


def _orders(model: _Model, seed: int) -> Float[Tensor, "order task d_out"]:
    """Answers to the same tasks with their pairs in other orders."""
    tasks = [part.tasks() for part in model.parts]
    first = model.answer(UNCHANGED, tasks)
    assert isinstance(first, Tensor)
    others = []
    for order in range(1, ORDERS):
        rng = generator(seed, "orders", order)
        others.append(torch.cat([model.predict(reordered(one.contexts.inputs, rng)) for one in tasks]))
    return torch.stack([first, *others])


def _untrained(
    examined: Examined, frozen: Mapping[str, Frozen], parts: Sequence[Drawn], progress: Callable[[float], None]
) -> list[Battery]:
    """Untrained models, where the architecture is known, each beside rules that were fitted to it.

    They read tokens as the subject does: weights that are all drawn alike have no layout of their own. The sign of each
    is found on the tasks that rules are fitted on.
    """
    if not isinstance(examined.subject, TransformerRegressor):
        return []
    tuning = examined.splits.folds[-1].tuning[:NULL_TUNING]
    contexts = Contexts.of(tuning.inputs, examined.subject.d_in)
    few = [parts[-1].first(NULL_TASKS)]
    found = []
    for number, module in enumerate(islice(untrained_modules(examined.subject, examined.seed), UNTRAINED)):
        raw = _predictor(examined, examined.at_precision(module))
        answered = raw(contexts.inputs)
        sign = examined.requested_sign or found_sign([(answered, tuning.targets.cpu().double())])
        shown: Shown = (contexts, sign * answered)
        rules = {name: rule.fitted_to(shown) for name, rule in frozen.items()}
        predict = _predictor(examined, turned(examined.at_precision(module), sign))
        found.append(_battery(_Model(predict, few, rules), examined.seed, sign, lambda done: None))
        progress((number + 1) / UNTRAINED)
    return found
