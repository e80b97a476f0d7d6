"""How many sequences to draw, and which heads to ablate: pure functions of the settings and of what was found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from ...data.errors import UsageError
from ..findings import Head
from ..measure import Measure
from ..statistics.sign_flips import sequences_needed
from .ablation import EVEN_SEQUENCES, ODD_SEQUENCES, Halves
from .ablation_measures import Choice
from .losses import uses_order
from .names import BY_CONTENT, GROUPS, UNNAMED, Verdict
from .observations import Observations
from .score_measures import Comparison, head_measures
from .verdicts import heads_called

FEWEST = 16
"""Sequences of each period, at least."""
MOST_UNNAMED = 4
"""Heads that are ablated together where none is named."""
FEW_HEADS = 64
"""Up to so many heads each is ablated alone; of more, only those with a verdict by content or previous-token."""
Judge = Callable[[Mapping[str, Measure]], dict[Head, Verdict]]
"""Gives every head its verdict."""


def number_of_sequences(asked: int | None, heads: int, periods: int, level: float) -> int:
    """So many of each period that the smallest p there is passes over all heads, on half of the sequences too.

    UsageError when fewer were asked for than can pass at all.
    """
    needed = sequences_needed(heads, level)
    if asked is None:
        return max(FEWEST, 2 * math.ceil(needed / periods))
    if asked * periods < needed:
        raise UsageError(
            f"n_sequences = {asked}: too few for {heads} heads to pass a false discovery rate of {level:g}; expected"
            f" at least {math.ceil(needed / periods)}"
        )
    return asked


def heads_to_ablate(ablate: str, verdicts: Mapping[Head, Verdict]) -> list[Head]:
    """Heads that are ablated alone: all of a small model, or those with a verdict by content or previous-token."""
    if ablate == "all" or (ablate == "auto" and len(verdicts) <= FEW_HEADS):
        return sorted(verdicts)
    return sorted(head for head, verdict in verdicts.items() if verdict in (*BY_CONTENT, Verdict.PREVIOUS_TOKEN))


def choose(
    ablate: str, judge: Judge, measures: Mapping[str, Measure], observations: Observations, comparison: Comparison
) -> Choice:
    """The heads that are ablated alone, by all sequences, and in groups, by each half of them."""
    even, odd = (
        {**measures, **head_measures(observations.subset(half), comparison)} for half in (EVEN_SEQUENCES, ODD_SEQUENCES)
    )
    by_even, by_odd, verdicts = judge(even), judge(odd), judge(measures)
    groups = {
        str(group): Halves(tuple(heads_called(by_even, group)), tuple(heads_called(by_odd, group))) for group in GROUPS
    }
    unnamed = uses_order(measures) and not heads_called(verdicts, Verdict.INDUCTION)
    halves = (strongest(even["excess"]), strongest(odd["excess"])) if unnamed else ((), ())
    groups[UNNAMED] = Halves(*halves)
    return Choice(heads_to_ablate(ablate, verdicts), groups)


def strongest(excess: Measure) -> tuple[Head, ...]:
    """The few heads with the largest excess: no more than half of all."""
    order = np.argsort(-np.nan_to_num(excess.values, nan=-np.inf), axis=None, kind="stable")
    few = min(MOST_UNNAMED, max(1, order.size // 2))
    layers, heads = np.unravel_index(order[:few], excess.values.shape)
    return tuple(sorted((int(layer), int(head)) for layer, head in zip(layers, heads, strict=True)))
