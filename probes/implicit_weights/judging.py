"""A model beside the rules that its layers were fitted by, on tasks that nothing was fitted on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ..algorithms.contexts import Contexts
from ..algorithms.families import Fitted
from ..algorithms.filtered import CURVATURE, GDPP, GRADIENT_DESCENT, LEAST_SQUARES
from ..comparing.folds import Fold, halves
from ..regression.examined import Examined
from ..regression.layer_weights import Weights
from ..regression.nulls import Untrained, untrained_models
from .exchange import Descent, Exchanged, exchange, exchanged_layers
from .fits import Entry, Shown, enter
from .held import Model, Squares, Steps, contexts_of, distance_squares, linearity_squares, loss_squares, squares
from .names import (
    BY_NAME,
    EQUAL,
    EXAMPLES,
    FAMILIES,
    FEWER_NULLS,
    FITTED_TASKS,
    MANY_LAYERS,
    NULL_LAYERS,
    NULL_TASKS,
    NULLS,
    spread,
)

Entries = Mapping[int, Mapping[str, Entry]]
"""By layer and rule."""


@dataclass(frozen=True)
class Judged:
    """Everything task by task, of the subject or of an untrained model.

    weights:    W after each layer
    entries:    the rules, each as it fits a layer best; rules: what they hold on the first tasks, NaN where unfitted
    distances:  ‖W_l - W_rule‖², ‖W_l‖² by rule
    norms:      ‖W_l‖², ‖W of least squares‖²
    losses, linearity:  see `held`
    fitted_steps:  <W_l - W_{l-1}, gradient>, ‖gradient‖², ‖W_l - W_{l-1}‖² on tuning tasks
    steps:      ‖what the step at that rate leaves of the change‖², ‖change‖²
    gamma:      of the descent that layers are taken for: see `curvature`
    exchanged:  the causal check
    """

    weights: Weights
    entries: Entries
    rules: Mapping[str, Float[Tensor, "layer few d_out d_in"]]
    distances: Mapping[str, Squares]
    norms: Squares
    losses: Squares
    linearity: Squares
    fitted_steps: Squares
    steps: Squares
    gamma: float
    exchanged: Exchanged | None


Counted = Callable[[float], None]


@dataclass(frozen=True)
class NullModel:
    """An untrained model, and what came out."""

    untrained: Untrained
    judged: Judged


def judge_subject(examined: Examined, done: Counted) -> Judged:
    """Every rule at every layer, its steps searched."""
    model, folds = Model(examined), examined.splits.folds
    tuning = _tuned(model, folds)
    n_layers, entries = len(tuning[0]), {}
    for layer in range(n_layers):
        counted = None if model.module is None else layer + 1
        shown = _shown(model, folds, tuning, layer)
        found = {family.name: enter(family, shown, counted) for family in FAMILIES}
        entries[layer] = {name: entry for name, entry in found.items() if entry is not None}
        done((layer + 1) / (n_layers + 1))
    return _judge(model, folds, tuning, entries, exchanged_layers(n_layers))


def judge_nulls(examined: Examined, entries: Entries, done: Counted) -> list[NullModel]:
    """Untrained models, each with the rules fitted to it again at some layers, at the subject's numbers of steps."""
    folds = halves(examined.splits.nulls[: 2 * NULL_TASKS])[:1]
    layers, found = spread(len(entries), NULL_LAYERS), []
    n = NULLS if len(entries) < MANY_LAYERS else min(NULLS, FEWER_NULLS)
    everywhere, untrained = exchanged_layers(len(entries)), untrained_models(examined, n)
    exchanged = [everywhere[place] for place in spread(len(everywhere), NULL_LAYERS)]
    for number, one in enumerate(untrained):
        model = Model(examined, one)
        tuning = _tuned(model, folds)
        shown = {layer: _shown(model, folds, tuning, layer) for layer in layers}
        again = {
            layer: {name: _again(entry, shown[layer]) for name, entry in entries[layer].items()} for layer in layers
        }
        found.append(NullModel(one, _judge(model, folds, tuning, again, exchanged)))
        done((number + 1) / len(untrained))
    return found


def _again(entry: Entry, shown: Sequence[Shown]) -> Entry:
    """Another model's fits at the same number of steps; the subject decides whether inputs are curved."""
    return replace(entry, fits=tuple(fold.fit(entry.family, entry.steps[0]) for fold in shown))


def _tuned(model: Model, folds: Sequence[Fold]) -> list[Weights]:
    return [model.weights(fold.tuning[:FITTED_TASKS]) for fold in folds]


def _shown(model: Model, folds: Sequence[Fold], tuning: Sequence[Weights], layer: int) -> list[Shown]:
    d_in = model.examined.subject.d_in
    return [
        Shown(contexts_of(fold.tuning, d_in).first(FITTED_TASKS), held[layer])
        for fold, held in zip(folds, tuning, strict=True)
    ]


def _judge(
    model: Model, folds: Sequence[Fold], tuning: Sequence[Weights], entries: Entries, exchanged: Sequence[int]
) -> Judged:
    parts = [
        _judge_fold(model, fold, tuned, entries, number, exchanged)
        for number, (fold, tuned) in enumerate(zip(folds, tuning, strict=True))
    ]
    return parts[0] if len(parts) == 1 else _together(parts)


def _judge_fold(
    model: Model, fold: Fold, tuned: Weights, entries: Entries, number: int, exchanged: Sequence[int]
) -> Judged:
    tasks, d_in = fold.evaluation, model.examined.subject.d_in
    weights, contexts = model.weights(tasks), contexts_of(tasks, d_in)
    gamma = curvature(entries, number)
    fitted = Steps.of(tuned, contexts_of(fold.tuning, d_in).first(FITTED_TASKS), gamma).products()
    descent = Descent(step_rates(fitted.mean(dim=0)), gamma)
    steps = Steps.of(weights, contexts, gamma)
    least = LEAST_SQUARES.weights(contexts, Fitted()).expand_as(weights)
    rules = {name: _rule(entries, name, number, weights, contexts) for name in BY_NAME}
    return Judged(
        weights=weights,
        entries=entries,
        rules={name: rule[:, :EXAMPLES] for name, rule in rules.items()},
        distances={name: distance_squares(weights, rule) for name, rule in rules.items()},
        norms=squares(weights.flatten(2), least.flatten(2)),
        losses=loss_squares(model, tasks),
        linearity=linearity_squares(model, tasks, weights),
        fitted_steps=fitted,
        steps=distance_squares(steps.change, descent.rates[:, None, None, None] * steps.gradient),
        gamma=gamma,
        exchanged=exchange(model, tasks, weights, descent, exchanged),
    )


def _rule(entries: Entries, name: str, fold: int, weights: Weights, contexts: Contexts) -> Weights:
    """What a rule answers with at every layer; NaN where it was not fitted."""
    found = torch.full_like(weights, torch.nan)
    for layer, fitted in entries.items():
        if name in fitted:
            found[layer] = fitted[name].family.weights(contexts, fitted[name].fits[fold]).detach()
    return found


def curvature(entries: Entries, fold: int) -> float:
    """γ of the descent that layers are taken for: that of GD++ where it is nearer to the answer than plain descent."""
    last = entries[max(entries)]
    if GDPP.name not in last or last[GDPP.name].distance >= last[GRADIENT_DESCENT.name].distance - EQUAL:
        return 0.0
    return last[GDPP.name].fits[fold].value(CURVATURE.name)


def step_rates(products: Float[Tensor, "*axes layer column"]) -> Float[Tensor, "*axes layer"]:
    """η of the step that is nearest to what a layer adds, from means of <change, gradient> and ‖gradient‖²."""
    return products[..., 0] / products[..., 1]


def _together(parts: Sequence[Judged]) -> Judged:
    """Several folds as one; what the tasks' order does not matter for is that of the first."""

    def joined(name: str) -> Tensor:
        return torch.cat([getattr(part, name) for part in parts])

    return replace(
        parts[0],
        weights=torch.cat([part.weights for part in parts], dim=1),
        gamma=sum(part.gamma for part in parts) / len(parts),
        distances={name: torch.cat([part.distances[name] for part in parts]) for name in BY_NAME},
        **{name: joined(name) for name in ("norms", "losses", "linearity", "fitted_steps", "steps")},
    )
