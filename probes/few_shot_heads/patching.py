"""Indirect effects, task by task: of every head on the tasks that choose, of sets of heads on those that judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..findings import Head
from .effects import task_means
from .names import IN_CONTEXT, PATCHES, PURPOSES, SHUFFLED, TASK_MEAN, Group, Patch, Way
from .passes import Passes, Replacement
from .rows import Answers, Rows
from .shown import Half


@dataclass(frozen=True, eq=False)
class Effects:
    """By task, of some replacements: on the probability of the right label, and on whether it is the first of labels.

    another_*:  of the same replacement from prompts whose labels are shuffled another time
    """

    probability: Float[np.ndarray, "task *places"]
    accuracy: Float[np.ndarray, "task *places"]
    another_probability: Float[np.ndarray, "task *places"]
    another_accuracy: Float[np.ndarray, "task *places"]

    @property
    def excess(self) -> Float[np.ndarray, "task *places"]:
        """On the probability, beyond that of another shuffle."""
        return self.probability - self.another_probability


@dataclass(frozen=True, eq=False)
class ReadHalf:
    """How the model answers some tasks, and the z of its heads at the last position of their prompts."""

    answers: Mapping[Way, Answers]
    clean: Float[Tensor, "row layer head d_head"]
    shuffled: Float[Tensor, "row layer head d_head"]
    another: Float[Tensor, "row layer head d_head"]

    @classmethod
    def of(cls, passes: Passes, half: Half) -> ReadHalf:
        found = {way: passes.read_with_z(rows) for way, rows in half.ways.items() if way in (IN_CONTEXT, SHUFFLED)}
        answers: dict[Way, Answers] = {
            way: found[way][0] if way in found else passes.read(rows) for way, rows in half.ways.items()
        }
        _, another = passes.read_with_z(half.another)
        return cls(answers, found[IN_CONTEXT][1], found[SHUFFLED][1], another)

    def patches(self, patch: Patch, half: Half) -> tuple[Tensor, Tensor]:
        """What replaces z, from clean prompts and from another shuffle: [row layer head d_head] each."""
        if patch == TASK_MEAN:
            rows = half.ways[SHUFFLED]
            return task_means(self.clean, rows, half.classes), task_means(self.another, rows, half.classes)
        return self.clean, self.another


def head_effects(passes: Passes, half: Half, read: ReadHalf) -> dict[Patch, Effects]:
    """Of every head by itself, [task layer head]."""
    shape = (passes.subject.shape.n_layers, passes.subject.shape.n_heads)
    alone = [((layer, head),) for layer, head in np.ndindex(*shape)]
    return {patch: _shaped(_effects(passes, half, read, patch, PURPOSES[1], alone), shape) for patch in PATCHES}


def set_effects(
    passes: Passes, half: Half, read: ReadHalf, sets: Mapping[Group, tuple[Head, ...]]
) -> dict[Patch, dict[Group, Effects]]:
    """Of all heads of a set together, [task]; of the sets that have heads."""
    known: dict[Group, tuple[Head, ...]] = {name: heads for name, heads in sets.items() if heads}
    wanted = list(dict.fromkeys(known.values()))
    found: dict[Patch, dict[Group, Effects]] = {patch: {} for patch in PATCHES}
    for patch in PATCHES:
        effects = _effects(passes, half, read, patch, PURPOSES[2], wanted)
        for name, heads in known.items():
            found[patch][name] = _at(effects, wanted.index(heads))
    return found


def _effects(
    passes: Passes, half: Half, read: ReadHalf, patch: Patch, purpose: str, sets: Sequence[tuple[Head, ...]]
) -> Effects:
    """Of each of these sets, [task set]: one pass a prompt and set, and one for the null."""
    rows, before = half.ways[SHUFFLED], read.answers[SHUFFLED]
    sent = [Replacement(heads, z) for z in read.patches(patch, half) for heads in sets]
    answers = passes.replaced(rows, purpose, sent)
    found = []
    for some in (answers[: len(sets)], answers[len(sets) :]):
        found.append(_change(rows, [one.probability for one in some], before.probability))
        found.append(_change(rows, [one.accuracy for one in some], before.accuracy))
    return Effects(*found)


def _change(
    rows: Rows, after: Sequence[Float[np.ndarray, " row"]], before: Float[np.ndarray, " row"]
) -> Float[np.ndarray, "task set"]:
    """After minus before, by task."""
    changes = [rows.by_task(one - before) for one in after]
    return np.stack(changes, axis=1) if changes else np.empty((len(rows.labels), 0))


def _shaped(effects: Effects, shape: tuple[int, int]) -> Effects:
    return Effects(*(values.reshape(-1, *shape) for values in vars(effects).values()))


def _at(effects: Effects, place: int) -> Effects:
    return Effects(*(values[:, place] for values in vars(effects).values()))
