"""Whether there is few-shot learning, and which heads carry it: pure functions of measures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..findings import Head, head_name
from ..measure import Measure
from .choosing import called, heads_at
from .names import (
    ANSWER,
    EFFECT,
    EXCESS,
    EXCESS_P,
    FUNCTION_VECTOR,
    GAIN,
    GAIN_BY_LABELS,
    HEADS,
    OWN_PROMPT,
    PATCH,
    TASK_MEAN,
    TOTAL,
    Group,
    Patch,
)

NONE = "none"


def of_one_checkpoint(measures: Mapping[str, Measure]) -> bool:
    """Whether there are heads: several seeds share none."""
    return measures[EXCESS].axes == (PATCH, *HEADS)


def learns(measures: Mapping[str, Measure]) -> bool:
    """Whether demonstrations raise the accuracy, and their labels do."""
    return all(float(measures[name].interval[0]) > 0 for name in (GAIN, GAIN_BY_LABELS))


def called_by(measures: Mapping[str, Measure], patch: Patch, level: float) -> tuple[Head, ...]:
    """Heads whose effect of this patch is more than chance and not next to nothing; none over several checkpoints."""
    if not of_one_checkpoint(measures):
        return ()
    effect, excess, p = (measures[name].sel(**{PATCH: patch}) for name in (EFFECT, EXCESS, EXCESS_P))
    lows, total = (excess.interval[0], effect.interval[0]), float(measures[TOTAL].values)
    return heads_at(called(excess.values, lows, p.values, total, level))


def called_sets(measures: Mapping[str, Measure], level: float) -> dict[Group, tuple[Head, ...]]:
    """function-vector: by the task mean. answer: by the query's own prompt alone."""
    by_task, by_own = (called_by(measures, patch, level) for patch in (TASK_MEAN, OWN_PROMPT))
    return {FUNCTION_VECTOR: by_task, ANSWER: tuple(head for head in by_own if head not in by_task)}


def head_verdicts(measures: Mapping[str, Measure], level: float) -> dict[str, str]:
    """Of one checkpoint that learns in context; else nothing is said of any head."""
    if not of_one_checkpoint(measures) or not learns(measures):
        return {}
    shape = measures[EXCESS].values.shape[1:]
    verdicts: dict[Head, str] = {(int(layer), int(head)): NONE for layer, head in np.ndindex(*shape)}
    for group, heads in called_sets(measures, level).items():
        verdicts |= dict.fromkeys(heads, group)
    return {head_name(head): verdict for head, verdict in verdicts.items()}
