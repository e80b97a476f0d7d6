"""Losses of the first and the second repeat, and in-context learning between them (Olsson et al. 2022).

Of each repeat all tokens but the first count: nothing tells the model that a repeat begins before its first token.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from ...data.repeated import RepeatedTokens
from ...models.subject import NotApplicable
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .names import NO_REPEATS, PERMUTED
from .observations import Observations, PeriodObservations
from .score_measures import Comparison

UNITS = {
    "loss_first_repeat": "nat",
    "loss_second_repeat": "nat",
    "accuracy_second_repeat": "probability",
    "in_context_learning_score": "nat",
}
"""Of a model, at the longest period."""
HIGHER_IS_BETTER = ("accuracy_second_repeat", "in_context_learning_score")
PerToken = Float64[np.ndarray, "sequence next"]


def mean_over_repeat(values: PerToken, law: RepeatedTokens, repeat: int) -> Float64[np.ndarray, "sequence"]:
    """Mean over the S - 1 tokens of one repeat (0 is the first) that have another token of it before them."""
    first = law.first + repeat * law.period  # values[i] belong to token i + 1
    return values[:, first : first + law.period - 1].mean(axis=1)


def in_context_learning(losses: PerToken, law: RepeatedTokens) -> Float64[np.ndarray, "sequence"]:
    """In-context learning score in nat: loss on the first repeat minus loss on the second."""
    return mean_over_repeat(losses, law, 0) - mean_over_repeat(losses, law, 1)


def loss_measures(
    observations: Observations, comparison: Comparison, no_logits: NotApplicable | None
) -> dict[str, Measure]:
    """Losses at the longest period, beside the same without repeats and with permuted weights."""
    if no_logits is not None:
        units = UNITS | {"loss_by_position": "nat"}
        return {name: missing(unit, "not applicable", no_logits.reason) for name, unit in units.items()}
    repeated, control, law = observations.repeated[0], observations.control[0], comparison.periods[0].law
    samples, without = _by_sequence(repeated, law), _by_sequence(control, law)
    permuted = [_by_sequence(null.repeated[0], law) for null in comparison.nulls]
    metrics = {}
    for name, unit in UNITS.items():
        nulls = {NO_REPEATS: without[name].mean(keepdims=True)}
        if permuted:
            nulls[PERMUTED] = np.array([null[name].mean() for null in permuted])
        metrics[name] = PerTask(
            samples[name],
            unit,
            nulls=nulls,
            higher_is_better=name in HIGHER_IS_BETTER,
            message=f"period {law.period}; without the first token of each repeat",
            replicate="sequence",
        )
    metrics["loss_by_position"] = _by_position(repeated, control, law)
    return task_measures(metrics, comparison.seed)


def _by_sequence(observed: PeriodObservations, law: RepeatedTokens) -> Mapping[str, Float64[np.ndarray, "sequence"]]:
    losses, hits = observed.tokens["loss"], observed.tokens["hit"]
    return {
        "loss_first_repeat": mean_over_repeat(losses, law, 0),
        "loss_second_repeat": mean_over_repeat(losses, law, 1),
        "accuracy_second_repeat": mean_over_repeat(hits, law, 1),
        "in_context_learning_score": in_context_learning(losses, law),
    }


def _by_position(repeated: PeriodObservations, control: PeriodObservations, law: RepeatedTokens) -> PerTask:
    return PerTask(
        repeated.tokens["loss"],
        "nat",
        ("position",),
        {"position": tuple(range(1, law.length))},
        {NO_REPEATS: control.tokens["loss"].mean(axis=0)[None]},
        higher_is_better=False,
        message=f"period {law.period}",
        replicate="sequence",
    )
