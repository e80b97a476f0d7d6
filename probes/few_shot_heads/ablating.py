"""Sets of heads, mean-ablated on the tasks that did not choose them.

The z of each head of a set is replaced at the last position by its mean over the prompts without a rule of the tasks
that chose. Yin & Steinhardt 2025 (arXiv 2502.14010) ablate at the last position, too, by a mean over clean prompts of
all tasks. In a file of one task that mean holds the rule itself, and to put it in would ablate nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...data.recipe import named_seed
from ..findings import Head, head_name
from ..head_sets import others_like
from .names import GROUPS, IN_CONTEXT, PURPOSES, Group
from .passes import Passes, Replacement
from .rows import Answers, Rows
from .shown import Half


@dataclass(frozen=True, eq=False)
class Ablated:
    """What one set of heads costs, by held-out task, and what random sets of the same layers cost.

    heads:   the set
    random:  the random sets, smaller where a layer has fewer other heads; none where none has any
    """

    heads: tuple[Head, ...]
    random: tuple[tuple[Head, ...], ...]
    accuracy: Float[np.ndarray, " task"]
    probability: Float[np.ndarray, " task"]
    random_accuracy: Float[np.ndarray, "set task"]
    random_probability: Float[np.ndarray, "set task"]


def random_sets(heads: Sequence[Head], n_heads: int, n: int, seed: int) -> tuple[tuple[Head, ...], ...]:
    """So many random sets of other heads of the same layers; none where these layers have no other heads."""
    names = ",".join(map(head_name, heads))
    rng = np.random.default_rng(named_seed(seed, "few-shot-heads", "random heads", names))
    drawn = (tuple(others_like(heads, n_heads, rng)) for _ in range(n))
    return tuple(one for one in drawn if one)


def ablated(
    passes: Passes,
    half: Half,
    clean: Answers,
    mean: Float[Tensor, "layer head d_head"],
    sets: Mapping[Group, tuple[Head, ...]],
    n_random: int,
    seed: int,
) -> dict[Group, Ablated]:
    """Of every set that has heads; equal sets are measured once.

    clean:  the answers in context
    mean:   what replaces the z of each head
    """
    n_heads = passes.subject.shape.n_heads
    random = {heads: random_sets(heads, n_heads, n_random, seed) for heads in sets.values() if heads}
    wanted = list(dict.fromkeys([*random, *(one for drawn in random.values() for one in drawn)]))
    rows = half.ways[IN_CONTEXT]
    answers = passes.replaced(rows, PURPOSES[2], [Replacement(heads, mean[None]) for heads in wanted])
    drops = {heads: _drop(rows, clean, one) for heads, one in zip(wanted, answers, strict=True)}
    n_tasks = len(rows.labels)
    return {
        name: Ablated(sets[name], random[sets[name]], *drops[sets[name]], *_stacked(random[sets[name]], drops, n_tasks))
        for name in GROUPS
        if sets.get(name)
    }


Drop = tuple[Float[np.ndarray, " task"], Float[np.ndarray, " task"]]
"""Of the accuracy, and of the probability of the right label."""


def _drop(rows: Rows, clean: Answers, without: Answers) -> Drop:
    return rows.by_task(clean.accuracy - without.accuracy), rows.by_task(clean.probability - without.probability)


def _stacked(
    sets: Sequence[tuple[Head, ...]], drops: Mapping[tuple[Head, ...], Drop], n_tasks: int
) -> tuple[np.ndarray, np.ndarray]:
    rows = [drops[one] for one in sets]
    accuracy, probability = (np.array([row[place] for row in rows]).reshape(-1, n_tasks) for place in (0, 1))
    return accuracy, probability
