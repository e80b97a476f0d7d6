"""Measures of sets of heads: who is in them, what their ablation costs, and how they compare with the user's list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from ..findings import Head, head_name
from ..measure import Measure, along, missing, without_interval
from ..statistics.sample_measures import PerTask, task_measures
from .ablating import Ablated
from .names import (
    AHEAD,
    ANOTHER_SHUFFLE,
    BEYOND,
    BEYOND_OF_PROBABILITY,
    DROP,
    DROP_OF_PROBABILITY,
    DROP_P,
    GIVEN,
    GROUP,
    GROUP_EFFECT,
    GROUP_EXCESS,
    GROUPS,
    PATCH,
    RANDOM_HEADS,
    Group,
    Patch,
)
from .patching import Effects

NO_OTHERS = "the layers of these heads have no other heads"
NO_LIST = "no heads were given (--given-heads)"
NONE_IN_REPORT = "the report calls no head induction"
_EMPTY = {
    "function-vector": "no head is called function-vector",
    "answer": "no head is called answer",
    "top by task mean": "no head has an effect above that of another shuffle",
    "top by own prompt": "no head has an effect above that of another shuffle",
}
_OF_DIFFERENCE = "a difference from a null"
_MOST_NAMED = 20


def size_measure(sets: Mapping[Group, tuple[Head, ...]], notes: Mapping[Group, str]) -> Measure:
    """group_size: how many heads a set has; the message names them.

    notes:  what else is to be said of a set
    """
    return along(GROUP, {name: _size(sets.get(name), notes.get(name, "")) for name in GROUPS})


def _size(heads: tuple[Head, ...] | None, note: str) -> Measure:
    if heads is None:
        return missing("head", "not applicable", NO_LIST)
    named = ", ".join(map(head_name, heads[:_MOST_NAMED])) or "none"
    more = f" and {len(heads) - _MOST_NAMED} more" if len(heads) > _MOST_NAMED else ""
    words = named + more + (f"; {note}" if note else "")
    return without_interval(np.array(float(len(heads))), "head", message=words, no_nulls="a count")


def why_not(group: Group, sets: Mapping[Group, tuple[Head, ...]]) -> str:
    """Why a set has no heads."""
    if group == GIVEN:
        return NONE_IN_REPORT if GIVEN in sets else NO_LIST
    return _EMPTY[group]


def set_effect_measures(
    effects: Mapping[Patch, Mapping[Group, Effects]], sets: Mapping[Group, tuple[Head, ...]], seed: int
) -> dict[str, Measure]:
    """group_effect and group_excess, along `patch` and `group`: of all heads of a set together, on held-out tasks."""
    found: dict[str, dict[Patch, Measure]] = {GROUP_EFFECT: {}, GROUP_EXCESS: {}}
    for patch, of_patch in effects.items():
        parts: dict[str, dict[Group, Measure]] = {GROUP_EFFECT: {}, GROUP_EXCESS: {}}
        for group in GROUPS:
            measures = _together(of_patch.get(group), why_not(group, sets), seed)
            for name, measure in measures.items():
                parts[name][group] = measure
        for name, of_groups in parts.items():
            found[name][patch] = along(GROUP, of_groups)
    return {name: along(PATCH, of_patches) for name, of_patches in found.items()}


def _together(effects: Effects | None, reason: str, seed: int) -> dict[str, Measure]:
    if effects is None:
        return {name: missing("probability", "not applicable", reason) for name in (GROUP_EFFECT, GROUP_EXCESS)}
    another = effects.another_probability.mean(keepdims=True)
    metrics = {
        GROUP_EFFECT: PerTask(effects.probability, "probability", nulls={ANOTHER_SHUFFLE: another}),
        GROUP_EXCESS: PerTask(effects.excess, "probability", no_nulls=_OF_DIFFERENCE),
    }
    return task_measures(metrics, seed)


def ablation_measures(
    ablated: Mapping[Group, Ablated], sets: Mapping[Group, tuple[Head, ...]], seed: int
) -> dict[str, Measure]:
    """Of every set, along the axis `group`, on held-out tasks."""
    found: dict[str, dict[str, Measure]] = {name: {} for name in _UNITS}
    for group in GROUPS:
        one = ablated.get(group)
        reason = why_not(group, sets)
        parts = _missing(reason) if one is None else _of_set(one, seed)
        for name, measure in (parts | {AHEAD: _ahead(group, ablated, sets, seed)}).items():
            found[name][group] = measure
    return {name: along(GROUP, parts) for name, parts in found.items()}


_UNITS = {
    DROP: "share",
    DROP_OF_PROBABILITY: "probability",
    BEYOND: "share",
    BEYOND_OF_PROBABILITY: "probability",
    DROP_P: "p",
    AHEAD: "share",
}


def _missing(reason: str) -> dict[str, Measure]:
    return {name: missing(unit, "not applicable", reason) for name, unit in _UNITS.items()}


def _of_set(one: Ablated, seed: int) -> dict[str, Measure]:
    words = _words(one)
    metrics = {
        DROP: _beside(one.accuracy, one.random_accuracy, "share", words),
        DROP_OF_PROBABILITY: _beside(one.probability, one.random_probability, "probability", words),
    }
    beyond = {
        BEYOND: (one.accuracy, one.random_accuracy, "share"),
        BEYOND_OF_PROBABILITY: (one.probability, one.random_probability, "probability"),
    }
    if not len(one.random):
        absent = {name: missing(_UNITS[name], "not applicable", NO_OTHERS) for name in (*beyond, DROP_P)}
        return task_measures(metrics, seed) | absent
    metrics |= {
        name: PerTask(own - random.mean(axis=0), unit, no_nulls=_OF_DIFFERENCE)
        for name, (own, random, unit) in beyond.items()
    }
    return task_measures(metrics, seed) | {DROP_P: _p(one)}


def _beside(own: Float[np.ndarray, " task"], random: Float[np.ndarray, "set task"], unit: str, words: str) -> PerTask:
    nulls = {RANDOM_HEADS: random.mean(axis=1)} if len(random) else {}
    return PerTask(own, unit, nulls=nulls, no_nulls="" if nulls else NO_OTHERS, message=words)


def _words(one: Ablated) -> str:
    names = ", ".join(map(head_name, one.heads[:_MOST_NAMED]))
    smaller = one.random and min(map(len, one.random)) < len(one.heads)
    return f"without {names}" + "; random sets are smaller, because layers have fewer other heads" * bool(smaller)


def _p(one: Ablated) -> Measure:
    """The rank of a set among random ones: the share that costs at least as much, itself included."""
    drops = one.random_accuracy.mean(axis=1)
    reached = int((drops >= one.accuracy.mean() - 1e-12).sum())
    words = f"share of {len(drops)} random sets, and of the set itself, that cost at least as much"
    return without_interval(
        np.array((1 + reached) / (1 + len(drops))), "p", message=words, no_nulls="a p value", replicate="set",
        n=len(drops),
    )  # fmt: skip


def _ahead(
    group: Group, ablated: Mapping[Group, Ablated], sets: Mapping[Group, tuple[Head, ...]], seed: int
) -> Measure:
    """How much more a set costs than the given one, task by task."""
    if group == GIVEN:
        return missing("share", "not applicable", "these are the given heads")
    for needed in (GIVEN, group):
        if needed not in ablated:
            return missing("share", "not applicable", why_not(needed, sets))
    own, given = ablated[group], ablated[GIVEN]
    words = f"{_count(own.heads)}, and {_count(given.heads)} given"
    metric = PerTask(own.accuracy - given.accuracy, "share", no_nulls=_OF_DIFFERENCE, message=words)
    return task_measures({AHEAD: metric}, seed)[AHEAD]


def _count(heads: Sequence[Head]) -> str:
    return f"{len(heads)} head{'s' * (len(heads) > 1)}"
