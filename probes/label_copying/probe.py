"""Does the first layer copy each label to its input? The copying analysis of von Oswald et al. 2023, section 5

A transformer whose inputs and labels are tokens of their own cannot take a step of gradient descent at once: no token
holds a pair. The paper's construction (Proposition 3) copies first: in the first layer each x token attends to the next
one and takes over its label. The authors show that tokens become sensitive to the next ones as the loss falls, and
liken it to the copying of induction heads. Here their numbers stand beside what makes them a mechanism: the attention
of x tokens to their labels' tokens, with nulls, and the loss without what is copied, beside one tuned step of gradient
descent on the same pairs.

The line of a measurement: `attention`, `sensitivity`, `ablation` (formulas) -> `reading` (of one model; `first_layer`)
and `gradient_step` -> `measures`, with untrained models as nulls -> `standing` -> `claim` and `figures`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Source, Subject
from ..comparing.behaviour import half_squared_error
from ..findings import Findings
from ..measure import Claim, Measure
from ..probe import Progress, silent
from ..regression.examined import Examined
from ..regression.nulls import untrained_models
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from ..regression.transformer_probe import TransformerProbe
from . import memory
from .claim import copying_claim
from .gradient_step import TunedStep, pooled, step_answers, unit_step
from .measures import Nulls, attention_measures, loss_measures, rate_measure, sensitivity_measures
from .memory import NULL_TASKS, sensitive_tasks
from .names import GD, KINDS, UNTRAINED, ZERO
from .reading import Read, read
from .standing import verdicts_of_heads


@dataclass(frozen=True)
class LabelCopying(TransformerProbe):
    """Settings of the tasks and of how the model is read: those of `RegressionProbe`."""

    name: ClassVar[str] = "label-copying"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False
    memory_in_bytes = staticmethod(memory.memory_in_bytes)
    work = staticmethod(memory.cost)

    def applies(self, subject: Subject) -> NotApplicable | None:
        refused = super().applies(subject)
        return refused if refused is not None else _lacking(subject)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        found = _read(examined, lambda done: progress("attention and sensitivities", 0.05 + 0.4 * done))
        steps = [TunedStep.on(fold.tuning, examined.subject.d_in) for fold in examined.splits.folds]
        nulls, signs = _untrained(examined, steps, lambda done: progress("untrained models", 0.45 + 0.45 * done))
        progress("resampling", 0.9)
        errors = found.errors | _rules(examined, steps)
        measures = (
            attention_measures(found, nulls, _softmax_layers(examined), seed)
            | sensitivity_measures(found, nulls, seed)
            | loss_measures(errors, nulls, seed)
            | {
                "learning_rate": rate_measure(steps, seed),
                "readout_sign": sign_measure(examined.sign, {UNTRAINED: signs}, given=self.sign is not None),
            }
            | reading_measures(examined.reading, {}, examined.requested_layout is not None, seed)
        )
        progress("done", 1.0)
        return Findings(measures, _arrays(found, errors), examined.splits.recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return copying_claim(measures, sources, self.tasks, self.sign)

    def heads(self, measures: Mapping[str, Measure]) -> dict[str, str]:
        return verdicts_of_heads(measures)


def _lacking(subject: Subject) -> NotApplicable | None:
    """What the probe needs that a model of regression tasks does not have."""
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable(
            "mesascope cannot read the attention of this subject, and label-copying is about attention"
        )
    config = subject.config
    if config.token_order == "joint":
        return NotApplicable(
            "this model's tokens hold x together with y, so no label has to be copied; label-copying is for models"
            ' whose x and y are tokens of their own (token_order "separate" or "interleaved")'
        )
    if config.causal:
        return NotApplicable(
            "this model's attention is causal: no x token attends to the next token, which holds its label"
        )
    if config.d_embed is not None:
        return NotApplicable(
            "this model embeds its tokens, and label-copying takes gradients by tokens that are read as they are"
        )
    return None


def _read(examined: Examined, watch: Callable[[float], None]) -> Read:
    tasks = examined.splits.evaluation
    return read(
        _module(examined),
        examined.sign,
        examined.inputs(tasks),
        tasks.targets,
        sensitive_tasks(examined.splits.n_context),
        examined.batch_size,
        watch=watch,
    )


def _untrained(
    examined: Examined, steps: Sequence[TunedStep], watch: Callable[[float], None]
) -> tuple[Nulls, list[int]]:
    """Untrained models of the same recipe, and the signs of their read-outs."""
    tasks, models, found = examined.splits.nulls[:NULL_TASKS], untrained_models(examined), []
    inputs, few = examined.inputs(tasks), sensitive_tasks(examined.splits.n_context, null=True)
    for number, model in enumerate(models):
        found.append(read(model.module, model.sign, inputs, tasks.targets, few, examined.batch_size, sampled=False))
        watch((number + 1) / len(models))
    answers = pooled(steps).rate * unit_step(tasks, examined.subject.d_in)
    return Nulls(found, half_squared_error(answers, tasks.targets).numpy()), [model.sign for model in models]


def _rules(examined: Examined, steps: Sequence[TunedStep]) -> dict[str, np.ndarray]:
    """The errors of the tuned step, and of answering zero."""
    tasks, d_in = examined.splits.evaluation, examined.subject.d_in
    step = step_answers(examined.splits.folds, steps, d_in)
    answers = {GD: step, ZERO: torch.zeros_like(step)}
    return {name: half_squared_error(held, tasks.targets).numpy() for name, held in answers.items()}


def _softmax_layers(examined: Examined) -> list[bool]:
    config = _module(examined).config
    return [config.softmax_in(layer) for layer in range(config.n_layers)]


def _module(examined: Examined) -> RegressionTransformer:
    subject = examined.subject
    assert isinstance(subject, TransformerRegressor)  # see `applies`
    return subject.module


def _arrays(found: Read, errors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What measures are means of, by the names of their parts; attention and sensitivities token by token."""
    samples = {f"copy_sensitivity_{kind}": found.sensitivity.samples[:, at] for at, kind in enumerate(KINDS)}
    losses = {f"loss_{name}": held for name, held in errors.items()}
    return samples | losses | {"attention": found.attention.map, "sensitivity": found.sensitivity.norms}
