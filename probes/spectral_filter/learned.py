"""What a model has learned in context, layer by layer, as modes: on tuning tasks and on those that judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.regressors import TransformerRegressor
from ..regression.examined import Examined
from ..regression.layer_weights import LayerWeights, layer_weights
from ..regression.nulls import Untrained, untrained_modules
from ..regression.sign import readout_sign
from .modes import Modes, joined, second_moment

UNTRAINED_MODELS = 10
"""Fewer than other probes draw: every layer of each is measured."""
NULL_TASKS = 150
"""Of each half of the tasks that untrained models are measured on: one half is fitted to, the other judges."""


@dataclass(frozen=True)
class Halves:
    """Modes on tasks that filters are fitted to, and on other tasks, which judge."""

    tuning: Modes
    judged: Modes


@dataclass(frozen=True)
class Learned:
    """Of a model and of what it is compared with.

    folds      of the model
    linear     [task, d_out]  W x_q of its last layer, on all tasks that judge
    untrained  untrained models, and what each has learned
    exact      whether W stands in the weights; otherwise it is a Jacobian at the query
    missing    why there is no W
    """

    folds: tuple[Halves, ...]
    linear: Float[Tensor, "task d_out"]
    untrained: tuple[tuple[Untrained, Halves], ...]
    exact: bool
    missing: str

    @property
    def n_layers(self) -> int:
        return len(self.folds[0].judged.along)

    @property
    def energy(self) -> Float[Tensor, "layer task"]:
        """The weighed square of W on all tasks that judge."""
        return joined([fold.judged.energy for fold in self.folds])

    @property
    def finite(self) -> bool:
        return all(bool(held.energy.isfinite().all()) for fold in self.folds for held in (fold.tuning, fold.judged))


def learned(examined: Examined, progress: Callable[[float], None]) -> Learned:
    """Of the subject and of untrained models of its architecture, where that is known."""
    moment = second_moment(examined.splits.evaluation.inputs, examined.subject.d_in)
    found: dict[int, tuple[Modes, LayerWeights]] = {}

    def of(tasks: Batch) -> Modes:
        if id(tasks) not in found:  # each half of a file is fitted to, and judges
            weights = layer_weights(examined, tasks)
            found[id(tasks)] = Modes.of(examined.spectrum(tasks), weights.weights, moment), weights
        return found[id(tasks)][0]

    folds = tuple(Halves(of(fold.tuning), of(fold.evaluation)) for fold in examined.splits.folds)
    progress(0.5)
    judged = [(found[id(fold.evaluation)][1], fold.evaluation.inputs) for fold in examined.splits.folds]
    linear = torch.cat([_answers(weights.weights[-1], inputs) for weights, inputs in judged])
    first = judged[0][0]
    return Learned(folds, linear, tuple(_untrained(examined, moment)), first.exact, first.missing)


def _answers(
    weights: Float[Tensor, "task d_out d_in"], inputs: Float[Tensor, "task token feature"]
) -> Float[Tensor, "task d_out"]:
    """W x_q."""
    query = inputs[:, -1, : weights.shape[-1]].cpu().double()
    return einsum(weights, query, "task d_out d_in, task d_in -> task d_out")


def _untrained(examined: Examined, moment: Float[Tensor, "d_in d_in"]) -> Iterator[tuple[Untrained, Halves]]:
    tasks = examined.splits.nulls[: 2 * NULL_TASKS]
    half = len(tasks) // 2
    halves = (tasks[:half], tasks[half:])

    def of(part: Batch, model: Untrained) -> Modes:
        return Modes.of(examined.spectrum(part), layer_weights(examined, part, model).weights, moment)

    for model in _models(examined):
        yield model, Halves(*(of(part, model) for part in halves))


def _models(examined: Examined) -> Iterator[Untrained]:
    """The architecture at fresh initialisations, with the signs of their read-outs. Such weights are alike in all slots
    of a token, so that every one of them is read as the subject is.
    """
    subject = examined.subject
    if isinstance(subject, TransformerRegressor):
        for module in islice(untrained_modules(subject, examined.seed), UNTRAINED_MODELS):
            module = examined.at_precision(module)
            sign = readout_sign(examined, TransformerRegressor(module, subject.source))
            yield Untrained(module, examined.reading, sign)
