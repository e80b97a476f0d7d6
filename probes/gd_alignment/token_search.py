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
from ...models.subject import Regressor
from ...models.token_layout import TokenLayout
from .reading import Gain, Products, Reading, products, share
from .sensitivity import predictions
from .setup import Setup

LAYOUT_TASKS = 200
"""Tuning tasks of each fold that decide; so few, because each of 70 null models reads them in every layout."""
FEWEST_TASKS = 100
"""With fewer in a fold nothing is tried: the best of a dozen layouts would then be good by chance."""
CLEARLY = 0.1
"""What another layout has to explain beyond the first, as a share of the labels' squares."""


def read_tokens(
    setup: Setup, model: Regressor, first: TokenLayout | None = None, shown: Callable[[Batch], Batch] = lambda b: b
) -> Reading:
    """The layout that was asked for or declared, else the one that the tuning tasks show, else the first.

    first:  kept where the tasks leave it open; by default the model's own first
    shown:  what the model sees in the place of these tasks; the labels that decide stay those of the tasks
    """
    first = model.layouts()[0] if first is None else first
    if setup.requested_layout is not None:
        return Reading(setup.requested_layout, {})
    tasks = [fold.tuning[:LAYOUT_TASKS] for fold in setup.splits.folds]
    if min(map(len, tasks)) < FEWEST_TASKS:
        return Reading(first, {})
    answered = _answered(
        model,
        tuple(dict.fromkeys((first, *model.layouts()))),
        [setup.inputs(shown(batch)) for batch in tasks],
        [batch.targets.cpu().double() for batch in tasks],
        setup.batch_size,
    )
    return Reading(_chosen(first, answered, setup.seed), answered)


def _answered(
    model: Regressor,
    layouts: Sequence[TokenLayout],
    inputs: Sequence[Float[Tensor, "task token feature"]],
    labels: Sequence[Float[Tensor, "task d_out"]],
    batch_size: int,
) -> dict[TokenLayout, list[Products]]:
    """By layout; inputs and labels by fold. Tokens that the model refuses are answered by zeros."""
    found: dict[TokenLayout, list[Products]] = {}
    for layout in layouts:
        read = model.read_as(layout)
        try:
            answers = [predictions(read.predict, tokens, batch_size) for tokens in inputs]
        except Exception:  # another's function may refuse tokens in any way it likes
            answers = [torch.zeros_like(y) for y in labels]
        found[layout] = [products(p, y) for p, y in zip(answers, labels, strict=True)]
    return found


def _chosen(first: TokenLayout, answered: Mapping[TokenLayout, Sequence[Products]], seed: int) -> TokenLayout:
    """The best layout, where every fold shows it to be clearly better than the first, and better than any other."""
    best = max(answered, key=lambda one: Reading(one, answered).share)
    if not _beats(answered[best], answered[first], CLEARLY, seed):
        return first
    rival = Reading(best, answered).rival or first
    return best if _beats(answered[best], answered[rival], 0.0, seed) else first


def _beats(ours: Sequence[Products], theirs: Sequence[Products], by: float, seed: int) -> bool:
    """On every fold, with the whole interval of the gain. Where not even its centre does, nothing is resampled."""
    pairs = list(zip(ours, theirs, strict=True))
    centres = [share(own.mean(axis=0)) - share(other.mean(axis=0)) for own, other in pairs]
    return bool(min(centres) > by) and all(Gain.of(*pair, seed).interval[0] > by for pair in pairs)
