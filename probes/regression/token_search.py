"""The search of a model's token layout, on the labels of tuning tasks.

A model of [y ; x] that is handed [x ; y] answers something else, and nothing in its weights says so. Every layout that
the model could be made for is tried; the first is given up only for one whose answers go clearly better with the
labels. All candidates are compared at one layout, so none gains from the search. Every null model gets the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.stacked import StackedTransformers
from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
from ...models.token_layout import TokenLayout
from .examined import Examined
from .reading import Gain, Products, Reading, products, share
from .sensitivity import predictions

LAYOUT_TASKS = 200
"""Tuning tasks of each fold that decide; so few, because each of 70 null models reads them in every layout."""
FEWEST_TASKS = 100
"""With fewer in a fold nothing is tried: the best of a dozen layouts would then be good by chance."""
CLEARLY = 0.1
"""What another layout has to explain beyond the first, as a share of the labels' squares."""


Answers = Callable[[TokenLayout, Tensor], Float[Tensor, "model task d_out"]]
"""What one or several models say of [task, token, feature] in a layout."""


def read_tokens(
    examined: Examined,
    model: Regressor,
    first: TokenLayout | None = None,
    shown: Callable[[Batch], Batch] = lambda b: b,
) -> Reading:
    """The layout that was asked for or declared, else the one that the tuning tasks show, else the first.

    first:  kept where the tasks leave it open; by default the model's own first
    shown:  what the model sees in the place of these tasks; the labels that decide stay those of the tasks
    """

    def answers(layout: TokenLayout, tokens: Tensor) -> Float[Tensor, "1 task d_out"]:
        try:
            return predictions(model.read_as(layout).predict, tokens, examined.batch_size)[None]
        except Exception:  # another's function may refuse tokens in any way it likes: zeros, then
            return torch.zeros(1, len(tokens), model.d_out, dtype=torch.float64)

    return _search(examined, model, answers, 1, first, shown)[0]


def read_each(examined: Examined, models: Sequence[TransformerRegressor]) -> list[Reading]:
    """`read_tokens` of several transformers of one configuration."""
    stack = StackedTransformers.of([model.module for model in models])

    def answers(layout: TokenLayout, tokens: Tensor) -> Float[Tensor, "model task d_out"]:
        return stack.with_label_last(layout.slot).predict(tokens, examined.batch_size).cpu().double()

    return _search(examined, models[0], answers, len(models))


def _search(
    examined: Examined,
    model: Regressor,
    answers: Answers,
    n_models: int,
    first: TokenLayout | None = None,
    shown: Callable[[Batch], Batch] = lambda b: b,
) -> list[Reading]:
    """Of each of the models that answer; `model` is one of them."""
    first = model.layouts()[0] if first is None else first
    if examined.requested_layout is not None:
        return [Reading(examined.requested_layout, {})] * n_models
    tasks = [fold.tuning[:LAYOUT_TASKS] for fold in examined.splits.folds]
    if min(map(len, tasks)) < FEWEST_TASKS:
        return [Reading(first, {})] * n_models
    labels = [batch.targets.cpu().double() for batch in tasks]
    inputs = [examined.inputs(shown(batch)) for batch in tasks]
    layouts = tuple(dict.fromkeys((first, *model.layouts())))
    held = {layout: [answers(layout, tokens) for tokens in inputs] for layout in layouts}
    answered = (
        {layout: [products(p[i], y) for p, y in zip(folds, labels, strict=True)] for layout, folds in held.items()}
        for i in range(n_models)
    )
    return [Reading(_chosen(first, one, examined.seed), one) for one in answered]


def _chosen(first: TokenLayout, answered: Mapping[TokenLayout, Sequence[Products]], seed: int) -> TokenLayout:
    """The best layout, where every fold shows it to be clearly better than the first, and better than any other."""
    shares = Reading(first, answered).shares
    best = max(shares, key=lambda one: shares[one])
    if not _beats(answered[best], answered[first], CLEARLY, seed):
        return first
    rival = Reading(best, answered).rival or first
    return best if _beats(answered[best], answered[rival], 0.0, seed) else first


def _beats(ours: Sequence[Products], theirs: Sequence[Products], by: float, seed: int) -> bool:
    """On every fold, with the whole interval of the gain. Where not even its centre does, nothing is resampled."""
    pairs = list(zip(ours, theirs, strict=True))
    centres = [share(own.mean(axis=0)) - share(other.mean(axis=0)) for own, other in pairs]
    return bool(min(centres) > by) and all(Gain.of(*pair, seed).interval[0] > by for pair in pairs)
