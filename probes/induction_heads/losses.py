"""Losses of the first and the second repeat, and in-context learning between them (Olsson et al. 2022).

Of each repeat all tokens but the first count: nothing tells the model that a repeat begins before its first token.
A repeat also says which tokens come again. What that is worth in any order, the shuffled second repeat tells.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float64

from ...data.repeated import RepeatedTokens
from ...models.subject import NotApplicable
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .names import NO_REPEATS, SHUFFLED_REPEAT
from .observations import Arrays, ModelObservations, PeriodObservations
from .score_measures import Comparison

UNITS = {
    "loss_first_repeat": "nat",
    "loss_second_repeat": "nat",
    "accuracy_second_repeat": "probability",
    "in_context_learning_score": "nat",
}
"""Of a model, at the longest period."""
OF_SHUFFLED = {"loss_shuffled_repeat": "nat", "order_gain": "nat"}
"""On the shuffled second repeat, and what the true order is worth: its loss minus that on the second repeat."""
HIGHER_IS_BETTER = ("accuracy_second_repeat", "in_context_learning_score", "order_gain")
LEARNS = 0.05
"""In nat: a difference of losses that counts as in-context learning is larger, with its whole interval."""
PerToken = Float64[np.ndarray, "sequence next"]
BySequence = Mapping[str, Float64[np.ndarray, "sequence"]]


def mean_over_repeat(values: PerToken, law: RepeatedTokens, repeat: int) -> Float64[np.ndarray, "sequence"]:
    """Mean over the S - 1 tokens of one repeat (0 is the first) that have another token of it before them."""
    return values[:, of_repeat(law, repeat)].mean(axis=1)


def of_repeat(law: RepeatedTokens, repeat: int) -> slice:
    """Where the values of these tokens stand: `values[i]` belongs to token i + 1."""
    first = law.first + repeat * law.period
    return slice(first, first + law.period - 1)


def in_context_learning(losses: PerToken, law: RepeatedTokens) -> Float64[np.ndarray, "sequence"]:
    """In-context learning score in nat: loss on the first repeat minus loss on the second."""
    return mean_over_repeat(losses, law, 0) - mean_over_repeat(losses, law, 1)


def single(measures: Mapping[str, Measure], name: str, **labels: str) -> Measure | None:
    """A single number among the measures; None where there is none."""
    measure = measures.get(name)
    if measure is None or not set(labels) <= set(measure.axes):
        return None
    chosen = measure.sel(**labels)
    return chosen if chosen.status == "ok" and not chosen.axes and chosen.has_number else None


def learns_in_context(measures: Mapping[str, Measure]) -> bool:
    """Whether the loss falls from the first to the second repeat, and more than where nothing repeats."""
    score = single(measures, "in_context_learning_score")
    if score is None:
        return False
    without = score.nulls.get(NO_REPEATS, np.zeros(1))
    return bool(score.interval[0] > max(LEARNS, float(np.nanmax(without))))


def uses_order(measures: Mapping[str, Measure]) -> bool:
    """Whether the second repeat is predicted better than the same tokens in another order."""
    gain = single(measures, "order_gain")
    return gain is not None and bool(gain.interval[0] > LEARNS)


def ignores_order(measures: Mapping[str, Measure]) -> bool:
    """Whether the order of the second repeat is surely worth next to nothing; where it is open, neither is so."""
    gain = single(measures, "order_gain")
    return gain is not None and bool(gain.interval[1] <= LEARNS)


def loss_measures(
    observations: ModelObservations, comparison: Comparison, no_logits: NotApplicable | None
) -> dict[str, Measure]:
    """Losses at the longest period, beside the same without repeats and in a shuffled order."""
    if no_logits is not None:
        units = UNITS | OF_SHUFFLED | {"loss_by_position": "nat"}
        return {name: missing(unit, "not applicable", no_logits.reason) for name, unit in units.items()}
    return task_measures(_metrics(observations, comparison), comparison.seed)


def loss_arrays(
    observations: ModelObservations, comparison: Comparison, no_logits: NotApplicable | None
) -> dict[str, np.ndarray]:
    """What these measures are means of, for the report's raw values: one a sequence of the longest period."""
    metrics = {} if no_logits is not None else _metrics(observations, comparison)
    return {name: metric.samples for name, metric in metrics.items()}


def _metrics(observations: ModelObservations, comparison: Comparison) -> dict[str, PerTask]:
    repeated, control, law = observations.repeated[0], observations.control[0], comparison.periods[0].law
    samples = _by_sequence(repeated.tokens, law)
    controls = {NO_REPEATS: control.tokens, SHUFFLED_REPEAT: observations.shuffled}
    others = {null: _by_sequence(tokens, law) for null, tokens in controls.items()}
    metrics = {}
    for name in UNITS:
        nulls = {null: values[name].mean(keepdims=True) for null, values in others.items()}
        metrics[name] = _of_model(name, samples[name], law, nulls)
    metrics |= _of_order(samples, others[SHUFFLED_REPEAT], law)
    return metrics | {"loss_by_position": _by_position(repeated, controls, law)}


def _of_order(samples: BySequence, shuffled: BySequence, law: RepeatedTokens) -> dict[str, PerTask]:
    loss = shuffled["loss_second_repeat"]
    found = {"loss_shuffled_repeat": loss, "order_gain": loss - samples["loss_second_repeat"]}
    return {name: _of_model(name, values, law) for name, values in found.items()}


def _of_model(
    name: str,
    samples: Float64[np.ndarray, "sequence"],
    law: RepeatedTokens,
    nulls: Mapping[str, np.ndarray] | None = None,
) -> PerTask:
    return PerTask(
        samples,
        UNITS.get(name, "nat"),
        nulls=nulls or {},
        no_nulls="" if nulls else "the shuffled repeat is itself the control",
        higher_is_better=name in HIGHER_IS_BETTER,
        message=f"period {law.period}; without the first token of each repeat",
        replicate="sequence",
    )


def _by_sequence(tokens: Arrays, law: RepeatedTokens) -> BySequence:
    losses, hits = tokens["loss"], tokens["hit"]
    return {
        "loss_first_repeat": mean_over_repeat(losses, law, 0),
        "loss_second_repeat": mean_over_repeat(losses, law, 1),
        "accuracy_second_repeat": mean_over_repeat(hits, law, 1),
        "in_context_learning_score": in_context_learning(losses, law),
    }


def _by_position(repeated: PeriodObservations, others: Mapping[str, Arrays], law: RepeatedTokens) -> PerTask:
    return PerTask(
        repeated.tokens["loss"],
        "nat",
        ("position",),
        {"position": tuple(range(1, law.length))},
        {null: tokens["loss"].mean(axis=0)[None] for null, tokens in others.items()},
        higher_is_better=False,
        message=f"period {law.period}",
        replicate="sequence",
    )
