"""The user's list beside the indirect effects: heads in common, and whether given heads rank above others."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ...data.recipe import named_seed
from ..findings import Head
from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .choosing import outranks, same_layers
from .group_measures import why_not
from .names import GIVEN, GROUP, GROUPS, OVERLAP, PATCH, RANDOM_HEADS, RANKED, Group, Patch
from .patching import Effects

DRAWS = 200
"""Random sets that a count or a rank is compared with: they need no pass."""
_NOT_RESAMPLED = "a count of heads"
ALL_GIVEN = "every head is given, so none is left to compare with"
_CHUNK = 100


def given_measures(
    effects: Mapping[Patch, Effects], sets: Mapping[Group, tuple[Head, ...]], shape: tuple[int, int], seed: int
) -> dict[str, Measure]:
    """overlap_with_given, along `group`, and given_rank, along `patch`."""
    given = sets.get(GIVEN)
    if not given:
        reason = why_not(GIVEN, sets)
        absent = missing("share", "not applicable", reason)
        others = [group for group in GROUPS if group != GIVEN]
        return {
            OVERLAP: along(GROUP, dict.fromkeys(others, absent)),
            RANKED: along(PATCH, dict.fromkeys(effects, absent)),
        }
    rng = np.random.default_rng(named_seed(seed, "few-shot-heads", "given"))
    random = [same_layers(given, shape[1], rng) for _ in range(DRAWS)]
    overlap = {
        group: _overlap(sets.get(group) or (), given, random, why_not(group, sets))
        for group in GROUPS
        if group != GIVEN
    }
    return {
        OVERLAP: along(GROUP, overlap),
        RANKED: along(PATCH, {patch: _rank(one.excess, given, random, seed) for patch, one in effects.items()}),
    }


def _overlap(heads: tuple[Head, ...], given: tuple[Head, ...], random: list[tuple[Head, ...]], reason: str) -> Measure:
    """Which share of a set is given, beside as many random heads of the layers of the given ones."""
    if not heads:
        return missing("share", "not applicable", reason)
    values = np.array(len({*heads} & {*given}) / len(heads))
    nulls = np.array([len({*heads} & {*one}) / len(heads) for one in random])
    nothing = np.array(np.nan)
    return Measure(
        values, "share", (nothing, nothing), "none", 1, nulls={RANDOM_HEADS: nulls},
        message=f"{len({*heads} & {*given})} of {len(heads)}; {_NOT_RESAMPLED}",
    )  # fmt: skip


def _rank(
    excess: Float[np.ndarray, "task layer head"], given: tuple[Head, ...], random: list[tuple[Head, ...]], seed: int
) -> Measure:
    """How often a given head's excess is above that of another head; 1/2 by chance."""
    mean = excess.mean(axis=0)
    value = outranks(mean, given)
    if np.isnan(value):
        return missing("share", "not applicable", ALL_GIVEN)
    resampled = bootstrap_means(excess, seed)
    shares = [outranks(resampled[first : first + _CHUNK], given) for first in range(0, len(resampled), _CHUNK)]
    low, high = percentile_interval(np.concatenate(shares))
    if len(excess) < 2:
        low = high = np.array(np.nan)
    return Measure(
        value, "share", (low, high), "task", len(excess),
        nulls={RANDOM_HEADS: np.array([float(outranks(mean, one)) for one in random])},
        message="" if len(excess) > 1 else "one task has no interval",
    )  # fmt: skip
