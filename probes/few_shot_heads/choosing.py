"""Which tasks choose and which judge, and which heads are chosen: pure functions of settings and numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from ...data.recipe import named_seed
from ..findings import Head

MOST, SHARE = 10, 6
"""Heads of a set, by default: at most so many, and at most one in so many."""
LEAST = 0.01
"""A head is called by an effect that is at least this share of the labels' total effect."""


@dataclass(frozen=True)
class Halves:
    """Numbers of tasks, ascending; no task, and no rule where there are several, is in both."""

    choosing: tuple[int, ...]
    judging: tuple[int, ...]


def halves(rules: Sequence[str], seed: int) -> Halves:
    """The tasks by halves, at random. Tasks of one rule stay together, where there is more than one rule.

    rules:  of each task
    """
    rng = np.random.default_rng(named_seed(seed, "few-shot-heads", "halves"))
    kinds = list(dict.fromkeys(rules))
    if len(kinds) == 1:
        order = [int(task) for task in rng.permutation(len(rules))]
        chosen = set(order[: (len(order) + 1) // 2])
    else:
        drawn = {kinds[int(kind)] for kind in rng.permutation(len(kinds))[: (len(kinds) + 1) // 2]}
        chosen = {task for task, rule in enumerate(rules) if rule in drawn}
    return Halves(tuple(sorted(chosen)), tuple(task for task in range(len(rules)) if task not in chosen))


def size_of_sets(asked: int | None, n_layers: int, n_heads: int) -> int:
    """How many heads are chosen as the strongest."""
    heads = n_layers * n_heads
    return min(MOST, max(1, heads // SHARE)) if asked is None else min(asked, heads)


def strongest(excess: Float[np.ndarray, "layer head"], n: int) -> tuple[Head, ...]:
    """The heads with the largest excess, at most so many, of those above 0; in the order of layers and heads."""
    order = np.argsort(-excess, axis=None, kind="stable")[:n]
    places = np.stack(np.unravel_index(order, excess.shape), axis=1)
    return tuple(sorted((int(layer), int(head)) for layer, head in places if excess[layer, head] > 0))


def called(
    excess: Float[np.ndarray, "layer head"],
    lows: Sequence[Float[np.ndarray, "layer head"]],
    p: Float[np.ndarray, "layer head"],
    total: float,
    level: float,
) -> Bool[np.ndarray, "layer head"]:
    """Heads whose effect is more than chance and not next to nothing.

    excess:  the effect beyond that of another shuffle
    lows:    lower ends of intervals that have to be above 0: of the excess, and of the effect itself, since another
             shuffle can do harm
    p:       false discovery rates of the excess
    total:   of all labels together
    """
    with np.errstate(invalid="ignore"):
        above = np.all([low > 0 for low in lows], axis=0)
        return above & (p <= level) & (excess >= LEAST * total) & (total > 0)


def heads_at(mask: Bool[np.ndarray, "layer head"]) -> tuple[Head, ...]:
    return tuple((int(layer), int(head)) for layer, head in np.argwhere(mask))


def same_layers(group: Collection[Head], n_heads: int, rng: np.random.Generator) -> tuple[Head, ...]:
    """As many random heads of each layer as the group has there; they may be its own."""
    layers = sorted(layer for layer, _ in group)
    chosen: list[Head] = []
    for layer in sorted(set(layers)):
        chosen += [(layer, int(head)) for head in rng.permutation(n_heads)[: layers.count(layer)]]
    return tuple(sorted(chosen))


def outranks(excess: Float[np.ndarray, "*sample layer head"], group: Collection[Head]) -> Float[np.ndarray, "*sample"]:
    """How often the excess of a head of the group is above that of a head outside it; ties count half.

    NaN where one side has no head.
    """
    inside = np.zeros(excess.shape[-2:], dtype=bool)
    inside[tuple(np.array(sorted(group), dtype=int).reshape(-1, 2).T)] = True
    if inside.all() or not inside.any():
        return np.full(excess.shape[:-2], np.nan)
    ours, theirs = excess[..., inside], excess[..., ~inside]
    won = sum(
        (ours[..., [at]] > theirs).mean(axis=-1) + (ours[..., [at]] == theirs).mean(axis=-1) / 2
        for at in range(ours.shape[-1])
    )
    return np.asarray(won / ours.shape[-1])
