"""What queries show at the last position of their prompts: of the model itself, and with each task's own parameters."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ...models.differentiable import Answers, Differentiable, Shown
from .asked import Prompt
from .padding import padded
from .rules import alike


@dataclass(frozen=True, eq=False)
class Seen:
    """Of the queries of one task.

    scores:  before the softmax, on each query's own tokens; empty where the model does not show them. In float32:
             families rotate positions in it whatever the pass's precision, and what is left of that is rounding
    """

    logits: Float[Tensor, "query d_vocab"]
    attn_out: Float[Tensor, "layer query d_model"]
    scores: tuple[Float[Tensor, "layer head own"], ...]


class _Row(NamedTuple):
    """Of one query."""

    logits: Float[Tensor, "d_vocab"]
    attn_out: Float[Tensor, "layer d_model"]
    scores: Float[Tensor, "layer head pos"] | None


Place = tuple[int, int]
"""A task and one of its queries."""


def seen(
    model: Differentiable,
    prompts: Sequence[Sequence[Prompt]],
    own: Sequence[Sequence[int]],
    parameters: Sequence[Mapping[str, Tensor]] | None = None,
) -> list[Seen]:
    """Of each task's prompts.

    own:         how many tokens at the end of each prompt are the query's own
    parameters:  of each task; None: the model's own
    """
    watch: tuple[Shown, ...] = ("attn_out",) if "attention" in model.subject.not_shown else ("attn_out", "scores")
    passes = own_passes(model, prompts, watch) if parameters is None else _passes(model, prompts, parameters, watch)
    rows: dict[Place, _Row] = {}
    for places, answers in passes:
        for place, row in zip(places, _rows(answers), strict=True):
            n, end = own[place[0]][place[1]], len(prompts[place[0]][place[1]])
            kept = None if row.scores is None else row.scores[..., end - n : end].float()
            rows[place] = row._replace(scores=kept)
    return [_of_task([rows[task, query] for query in range(len(own[task]))]) for task in range(len(prompts))]


def _of_task(rows: Sequence[_Row]) -> Seen:
    scores = tuple(row.scores for row in rows if row.scores is not None)
    return Seen(torch.stack([row.logits for row in rows]), torch.stack([row.attn_out for row in rows], dim=1), scores)


def own_passes(
    model: Differentiable, prompts: Sequence[Sequence[Prompt]], watch: Sequence[Shown]
) -> Iterator[tuple[list[Place], Answers]]:
    """Of the model as it is: prompts of one length together, whatever their task."""
    every = [(task, query) for task, some in enumerate(prompts) for query in range(len(some))]
    for length, places in _by_length(prompts, every):
        size = model.at_once(length)
        for first in range(0, len(places), size):
            part = places[first : first + size]
            yield part, model.run({}, torch.tensor([prompts[task][query] for task, query in part]), watch=watch)


def _passes(
    model: Differentiable,
    prompts: Sequence[Sequence[Prompt]],
    parameters: Sequence[Mapping[str, Tensor]],
    watch: Sequence[Shown],
) -> Iterator[tuple[list[Place], Answers]]:
    """Tasks with as many queries together, padded to the longest prompt."""
    for tasks in alike([len(some) for some in prompts]):
        lent = {name: torch.stack([parameters[task][name] for task in tasks]) for name in parameters[tasks[0]]}
        places = [(task, query) for task in tasks for query in range(len(prompts[task]))]
        rows = (rearrange(own, "(task query) ... -> task query ...", task=len(tasks))
                for own in padded([prompts[task][query] for task, query in places]))  # fmt: skip
        answers = model.run_tasks(lent, *rows, watch=watch)
        logits = rearrange(answers.logits, "task query asked d_vocab -> (task query) asked d_vocab")
        shown = (
            None if x is None else rearrange(x, "task layer query ... -> layer (task query) ...") for x in answers[1:]
        )
        yield places, Answers(logits, *shown)


def _by_length(prompts: Sequence[Sequence[Prompt]], places: Iterable[Place]) -> Iterator[tuple[int, list[Place]]]:
    found: dict[int, list[Place]] = defaultdict(list)
    for task, query in places:
        found[len(prompts[task][query])].append((task, query))
    return iter(sorted(found.items()))


def _rows(answers: Answers) -> Iterator[_Row]:
    logits, attn_out, scores = answers.logits.detach(), answers.attn_out, answers.scores
    assert attn_out is not None
    for n in range(len(logits)):
        own = None if scores is None else scores.detach()[:, n, :, 0]
        yield _Row(logits[n, 0], attn_out.detach()[:, n, 0], own)
