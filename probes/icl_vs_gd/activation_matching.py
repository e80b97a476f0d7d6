"""The most that steps of gradient descent on W_K and W_V can do: make attention without demonstrations give what it
gives with them.

    loss = mean over layers of  sum over queries |h_new - h_icl|^2  /  sum over queries |h_zs - h_icl|^2

h are outputs of attention at the last position; h_new is that of the prompt without demonstrations, with the new
parameters. The loss is 1 before the first step. The task's queries are in two halves: parameters that are fitted to one
half answer the other, so every query is held out. Steps are Adam's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.errors import TaskError
from ...models.differentiable import Differentiable
from .asked import Asked, halves
from .fine_tuned import Parameters, Stepped
from .padding import longer, padded
from .rules import State, adam_step, alike
from .seen import Seen, seen
from .tuning import ADAM_RATES, Cell, Tuned, chosen


class Batch(NamedTuple):
    """Some of a task's queries; of many tasks, with a first axis of tasks.

    tokens:   their prompts without demonstrations, padded on the right
    ends:     the place of each prompt's last token
    wanted:   what attention gives there in context
    weights:  what the distance of each layer has
    """

    tokens: Int[Tensor, "*task query pos"]
    ends: Int[Tensor, "*task query"]
    wanted: Float[Tensor, "*task layer query d_model"]
    weights: Float[Tensor, "*task layer"]


_ROUNDING = 1e-10
"""Of squared outputs: what demonstrations change below it is rounding."""


def may_be_matched(task: Asked) -> bool:
    """Whether each label has two queries: what was fitted to some labels knows nothing of others."""
    return min(Counter(query.label for query in task.queries).values()) > 1


def matched(
    model: Differentiable, tasks: Sequence[Asked], icl: Sequence[Seen], zero_shot: Sequence[Seen], stepped: Stepped
) -> list[Seen]:
    """What each task's queries show, with parameters that are fitted to the other half of them. TaskError for a task of
    one query.
    """
    return _matched(model, tasks, icl, zero_shot, [stepped.rate] * len(tasks), stepped.steps)


def _matched(
    model: Differentiable,
    tasks: Sequence[Asked],
    icl: Sequence[Seen],
    zero_shot: Sequence[Seen],
    rates: Sequence[float],
    steps: int,
) -> list[Seen]:
    """Each task at a rate of its own."""
    if any(len(task.queries) < 2 for task in tasks):
        raise TaskError("activation matching: a task of one query; expected two, one to fit and one to judge by")
    folds = [halves([query.label for query in task.queries]) for task in tasks]
    held: list[list[Seen]] = []
    for fitted in (0, 1):
        batches = [
            batch_of(task, fold[fitted], *ends) for task, fold, *ends in zip(tasks, folds, icl, zero_shot, strict=True)
        ]
        parameters = fit(model, batches, rates, steps)
        out = [_some(task, fold[1 - fitted]) for task, fold in zip(tasks, folds, strict=True)]
        held.append(seen(model, [task.zero_shot for task in out], [task.own for task in out], parameters))
    return [_in_place(second, first, fold) for second, first, fold in zip(*held, folds, strict=True)]


def tuned_matching(
    model: Differentiable, tasks: Sequence[Asked], steps: int, rates: Sequence[float] = ADAM_RATES
) -> Tuned:
    """The rate that leaves least of held-out queries, on tasks that nothing else is measured on. Rates and tasks run
    together, as many as memory holds.
    """
    own, zero_shot = [task.own for task in tasks], [task.zero_shot for task in tasks]
    ends = seen(model, [task.given["true"].in_context for task in tasks], own), seen(model, zero_shot, own)
    runs = [(rate, n) for rate in rates for n in range(len(tasks))]
    size = model.at_once(max(sum(map(len, some)) for some in zero_shot))
    left: dict[float, list[np.ndarray]] = defaultdict(list)
    for first in range(0, len(runs), size):
        some = runs[first : first + size]
        icl, zs = ([seen[n] for _, n in some] for seen in ends)
        new = _matched(model, [tasks[n] for _, n in some], icl, zs, [rate for rate, _ in some], steps)
        for (rate, _), over in zip(some, left_over(new, icl, zs), strict=True):
            left[rate].append(over)
    cells = {Stepped(rate, steps): _cell(np.stack(over)) for rate, over in left.items()}
    return chosen("activation matching", cells, len(tasks), "share left of held-out queries")


def _cell(left: Float[np.ndarray, "task layer"]) -> Cell:
    known = left[np.isfinite(left)]
    if not known.size:
        raise TaskError("activation matching: demonstrations change nothing in any layer; expected some effect")
    loss = float(known.mean())
    return Cell(loss, None if loss < 1 else "no nearer than without steps")


def fit(model: Differentiable, batches: Sequence[Batch], rates: Sequence[float], steps: int) -> Parameters:
    """Each task's parameters after so many steps down its own loss, at a rate of its own."""
    found: dict[int, Mapping[str, Tensor]] = {}
    for numbers in alike([len(batch.ends) for batch in batches]):
        some = _stacked([batches[n] for n in numbers])
        state: State = {"parameters": {name: x.expand(len(numbers), *x.shape) for name, x in model.start.items()}}
        own = torch.tensor([rates[n] for n in numbers], dtype=torch.float64).to(some.wanted)
        for step in range(1, steps + 1):
            moved = partial(adam_step, partial(_gradients, model), step)
            state = model.of_tasks(moved, some.tokens[0].numel(), state, some, own, n_answers=some.ends.shape[1])
        found |= {n: {name: x[i] for name, x in state["parameters"].items()} for i, n in enumerate(numbers)}
    return [found[n] for n in range(len(batches))]


def _stacked(batches: Sequence[Batch]) -> Batch:
    length = max(batch.tokens.shape[-1] for batch in batches)
    tokens, *others = zip(*batches, strict=True)
    return Batch(torch.stack([longer(own, length) for own in tokens]), *(torch.stack(own) for own in others))


def left_over(new: Sequence[Seen], icl: Sequence[Seen], zero_shot: Sequence[Seen]) -> Float[np.ndarray, "task layer"]:
    """The loss of each layer: 0 where attention gives what it gives in context, 1 where nothing changed; NaN where
    demonstrations change nothing.
    """
    found = []
    for own in zip(new, icl, zero_shot, strict=True):
        states, wanted, start = (one.attn_out.double() for one in own)
        weights = _weights(wanted, start)
        away = (states - wanted).square().sum(dim=(1, 2)) * weights
        found.append(away.masked_fill(weights == 0, torch.nan).cpu().numpy())
    return np.stack(found)


def matching_loss(model: Differentiable, parameters: Mapping[str, Tensor], batch: Batch) -> Float[Tensor, ""]:
    """The mean over layers in which demonstrations change something."""
    attn_out = model.inside(parameters, batch.tokens, batch.ends, watch=("attn_out",)).attn_out
    assert attn_out is not None
    away = (attn_out[..., 0, :] - batch.wanted).square().sum(dim=(1, 2))
    return (away * batch.weights).sum() / (batch.weights > 0).sum().clamp(min=1)


def _gradients(model: Differentiable, parameters: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    return model.gradient(lambda own: matching_loss(model, own, batch), parameters)


def batch_of(task: Asked, places: Sequence[int], icl: Seen, zero_shot: Seen) -> Batch:
    """Of some of a task's queries."""
    prompts = padded([task.zero_shot[n] for n in places])
    return Batch(*prompts, icl.attn_out[:, places], _weights(icl.attn_out[:, places], zero_shot.attn_out[:, places]))


def _weights(
    icl: Float[Tensor, "layer query d_model"], zero_shot: Float[Tensor, "layer query d_model"]
) -> Float[Tensor, "layer"]:
    """One over what demonstrations change in each layer; 0 where they change nothing."""
    changed = (icl - zero_shot).square().sum(dim=(1, 2))
    nothing = changed <= _ROUNDING * icl.square().sum(dim=(1, 2))
    return (1 / changed).masked_fill(nothing, 0)


def _some(task: Asked, places: Sequence[int]) -> Asked:
    return replace(task, queries=tuple(task.queries[n] for n in places), own=tuple(task.own[n] for n in places))


def _in_place(second: Seen, first: Seen, fold: tuple[Sequence[int], Sequence[int]]) -> Seen:
    """All queries in the order of their task; those of the first half were held out second."""
    order = torch.tensor([*fold[0], *fold[1]]).argsort().tolist()
    halves = (first, second)
    scores = [own for half in halves for own in half.scores]
    return Seen(
        torch.cat([half.logits for half in halves])[order],
        torch.cat([half.attn_out for half in halves], dim=1)[:, order],
        tuple(scores[n] for n in order) if scores else (),
    )
