"""Measures of answers that papers report, beside what they leave out: how alike distributions are, and Rec2FTP.

Rec2FTP is a ratio of two counts over all queries of all tasks, and so is its null. Tasks are resampled for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, task_measures
from .answers import Counts, Numbers
from .names import (
    BETWEEN,
    CONFIDENCE,
    DIVERGENCE,
    IN_CONTEXT,
    LABEL_CONFIDENCE,
    OVERLAP,
    OVERLAP_COSINE,
    OVERLAP_INSIDE,
    RECOVERED,
    RECOVERED_NULL,
    RULE,
    TOP_ACCURACY,
    WAY,
)

_OF_WAYS = {TOP_ACCURACY: "share", CONFIDENCE: "probability", LABEL_CONFIDENCE: "probability"}
_UNITS = {**_OF_WAYS, DIVERGENCE: "nat"}
_UNITS |= {OVERLAP: "share", OVERLAP_COSINE: "cosine", OVERLAP_INSIDE: "cosine"}
_OVERLAPS = (OVERLAP, OVERLAP_COSINE, OVERLAP_INSIDE)
_ENDS = "zero-shot and another order stand beside it"
_DISTANCE = "total variation stands beside it, with its floor and ceiling"
_WAYS = "zero-shot and shuffled labels stand beside it"
_NO_RULE = "no rule of fine-tuning was compared"
_NO_TOP = "the vocabulary has fewer than eight tokens, and at most an eighth of it is compared"
_NO_WRONG = "zero-shot gets every query right"
_NONE_LEARNED = "fine-tuning gets none of the queries right that zero-shot gets wrong"
_SOME_WITHOUT = "some resamples have no such query, so there is no interval"


def likeness_measures(numbers: Mapping[str, Any], seed: int) -> dict[str, Measure]:
    """numbers: by measure, and by what answers, or by rule and what is compared, as `Answered` has them"""
    found = {name: along(WAY, _means(name, numbers[name], _WAYS, seed)) for name in _OF_WAYS}
    return found | _likenesses(numbers, seed) | _recovered(numbers, seed)


def _likenesses(numbers: Mapping[str, Any], seed: int) -> dict[str, Measure]:
    if DIVERGENCE not in numbers:
        return {name: missing(_UNITS[name], "undefined", _NO_RULE) for name in (DIVERGENCE, *_OVERLAPS)}
    from_tuned = {rule: own[IN_CONTEXT] for rule, own in numbers[DIVERGENCE].items()}
    found = {DIVERGENCE: along(RULE, _means(DIVERGENCE, from_tuned, _DISTANCE, seed))}
    for name in _OVERLAPS:
        ends = {rule: along(BETWEEN, _means(name, own, _ENDS, seed)) for rule, own in numbers.get(name, {}).items()}
        found[name] = along(RULE, ends) if ends else missing(_UNITS[name], "not applicable", _NO_TOP)
    return found


def _recovered(numbers: Mapping[str, Any], seed: int) -> dict[str, Measure]:
    null = _ratio(numbers[RECOVERED_NULL], seed, "it is itself the null of Rec2FTP", _NO_WRONG)
    beside = f"{RECOVERED_NULL} stands beside it"
    by_rule = {rule: _ratio(counts, seed, beside, _NONE_LEARNED) for rule, counts in numbers[RECOVERED].items()}
    share = along(RULE, by_rule) if by_rule else missing("share", "undefined", _NO_RULE)
    return {RECOVERED: share, RECOVERED_NULL: null}


def _ratio(counts: Counts, seed: int, no_nulls: str, why: str) -> Measure:
    """So many of so many, over all tasks."""
    n, of = (int(total) for total in counts.sum(axis=0))
    if not of:
        return missing("share", "undefined", f"0/0: {why}")
    none = np.full((), np.nan)
    message, interval = f"{n}/{of}", (none, none)
    means = bootstrap_means(counts.astype(np.float64), seed)
    if len(counts) < 2:
        message += "; one task has no interval"
    elif not means[:, 1].all():
        message += f"; {_SOME_WITHOUT}"
    else:
        interval = percentile_interval(means[:, 0] / means[:, 1])
    return Measure(np.array(n / of), "share", interval, "task", len(counts), no_nulls=no_nulls, message=message)


def _means(name: str, numbers: Numbers, no_nulls: str, seed: int) -> dict[str, Measure]:
    return task_measures({what: PerTask(own, _UNITS[name], no_nulls=no_nulls) for what, own in numbers.items()}, seed)
