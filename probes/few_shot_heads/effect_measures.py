"""Measures of answers, and of the indirect effects of heads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ..measure import Measure, along, without_interval
from ..statistics.sample_measures import PerTask, task_measures
from ..statistics.sign_flips import adjusted, flips_needed, sequences_needed, sign_flip_p
from .names import (
    ACCURACY,
    ANOTHER_SHUFFLE,
    EFFECT,
    EFFECT_ON_ACCURACY,
    EXCESS,
    EXCESS_P,
    GAIN,
    GAIN_BY_LABELS,
    HEADS,
    IN_CONTEXT,
    PATCH,
    PROBABILITY,
    SHUFFLED,
    TOTAL,
    WAY,
    WAYS,
    ZERO_SHOT,
    Patch,
    Way,
)
from .patching import Effects

BESIDE = "zero-shot and shuffled labels stand beside it"
OF_DIFFERENCE = "a difference from a null"
FEW = "{} tasks chose; at least {} are needed for one of {} heads to pass at {:g}"
PerWay = Mapping[Way, Float[np.ndarray, " task"]]


def behaviour_measures(accuracy: PerWay, probability: PerWay, seed: int) -> dict[str, Measure]:
    """How all tasks are answered, by way."""
    share = {way: PerTask(accuracy[way], "share", no_nulls=BESIDE) for way in WAYS}
    likely = {way: PerTask(probability[way], "probability", no_nulls=BESIDE) for way in WAYS}
    gains = {
        GAIN: PerTask(accuracy[IN_CONTEXT] - accuracy[ZERO_SHOT], "share", no_nulls=OF_DIFFERENCE),
        GAIN_BY_LABELS: PerTask(accuracy[IN_CONTEXT] - accuracy[SHUFFLED], "share", no_nulls=OF_DIFFERENCE),
    }
    return {
        ACCURACY: along(WAY, task_measures(share, seed)),
        PROBABILITY: along(WAY, task_measures(likely, seed)),
        **task_measures(gains, seed),
    }


def total_effect(clean: Float[np.ndarray, " task"], shuffled: Float[np.ndarray, " task"], seed: int) -> Measure:
    """What all labels together are worth, to the tasks that choose: single heads stand beside it."""
    found = PerTask(clean - shuffled, "probability", no_nulls=OF_DIFFERENCE, message="of the tasks that chose")
    return task_measures({TOTAL: found}, seed)[TOTAL]


def effect_measures(effects: Mapping[Patch, Effects], level: float, seed: int) -> dict[str, Measure]:
    """Of every head and patch: the effects with their null, the excess, and its p over all heads."""
    parts = {patch: _of_patch(one, level, seed) for patch, one in effects.items()}
    return {name: along(PATCH, {patch: part[name] for patch, part in parts.items()}) for name in _NAMES}


_NAMES = (EFFECT, EFFECT_ON_ACCURACY, EXCESS, EXCESS_P)


def _of_patch(effects: Effects, level: float, seed: int) -> dict[str, Measure]:
    metrics = {
        EFFECT: _beside(effects.probability, effects.another_probability, "probability"),
        EFFECT_ON_ACCURACY: _beside(effects.accuracy, effects.another_accuracy, "share"),
        EXCESS: PerTask(effects.excess, "probability", HEADS, no_nulls=OF_DIFFERENCE),
    }
    return {**task_measures(metrics, seed), EXCESS_P: _p(effects.excess, level, seed)}


def _beside(
    effect: Float[np.ndarray, "task layer head"], another: Float[np.ndarray, "task layer head"], unit: str
) -> PerTask:
    return PerTask(effect, unit, HEADS, nulls={ANOTHER_SHUFFLE: another.mean(axis=0)[None]})


def _p(excess: Float[np.ndarray, "task layer head"], level: float, seed: int) -> Measure:
    """One-sided, by flipping the signs of tasks; as a false discovery rate over heads."""
    n, heads = len(excess), excess[0].size
    p = adjusted(sign_flip_p(excess, flips_needed(heads, level), seed))
    needed = sequences_needed(heads, level)
    words = "false discovery rate over heads, of an excess above 0, by flipping the signs of tasks"
    too_few = f"; {FEW.format(n, needed, heads, level)}" if n < needed else ""
    return without_interval(p, "p", HEADS, message=words + too_few, no_nulls="a p value", replicate="task", n=n)
