"""Measures of the patches that stand for a context: means over tasks, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ...models.subject import NotApplicable
from ..measure import Measure, along, missing
from ..statistics.sample_measures import PerTask, task_measures
from .inside_measures import UNIT, UNITS, WHY, Known
from .names import BETWEEN, PATCH_ALONG, PATCH_OVERLAP, PATCH_SIZE, UNTRAINED
from .patches import Numbers, PerLayer


def patch_measures(
    numbers: Numbers | NotApplicable, seed: int, untrained: Sequence[Numbers] = ()
) -> dict[str, Measure]:
    """By layer; along the gradient also by the labels of its demonstrations.

    untrained:  what models of the same shape with fresh weights have, as nulls
    """
    if isinstance(numbers, NotApplicable):
        names = (PATCH_SIZE, PATCH_OVERLAP, PATCH_ALONG)
        return {name: missing(_unit(name), "not applicable", numbers.reason) for name in names}
    found = {
        name: _parts(name, {name: numbers[name]}, [{name: own[name]} for own in untrained], seed)[name]
        for name in (PATCH_SIZE, PATCH_OVERLAP)
    }
    parts = _parts(PATCH_ALONG, numbers[PATCH_ALONG], [own[PATCH_ALONG] for own in untrained], seed)
    return found | {PATCH_ALONG: along(BETWEEN, parts)}


Held = Mapping[str, PerLayer]
"""A measure's numbers, by what is compared."""


def _parts(name: str, held: Held, untrained: Sequence[Held], seed: int) -> dict[str, Measure]:
    found: dict[str, Measure] = {}
    if (known := Known.of(name, held)) is not None:
        beside = {what: [_means(name, {what: own[what]}) for own in untrained] for what in known.parts}
        parts = {what: known.measured(known.by_layer(what)) for what in known.parts}
        found = task_measures({what: _beside(part, beside[what]) for what, part in parts.items()}, seed)
    absent = missing(_unit(name), "undefined", f"no task has a number: {WHY[name]}")
    return {what: found.get(what, absent) for what in held}


def _beside(measured: PerTask, untrained: Sequence[np.ndarray]) -> PerTask:
    return replace(measured, nulls={UNTRAINED: np.stack(untrained)}, no_nulls="") if untrained else measured


def _means(name: str, held: Held) -> np.ndarray:
    """[layer], of the one that is held; NaN where it has no number."""
    (what, own), *_ = held.items()
    known = Known.of(name, held)
    return np.full(own.shape[1], np.nan) if known is None else known.by_layer(what).mean(axis=0)


def _unit(name: str) -> str:
    return UNITS.get(name, UNIT)
