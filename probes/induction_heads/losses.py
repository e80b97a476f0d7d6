"""What repeats are worth to the model: losses of the first and the second run, and in-context learning between them.

Of both runs the tokens but the first count: nothing says that the run begins again before its first token is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from ...data.repeated import RepeatedTokens
from ...models.subject import NotApplicable
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .nulls import NO_REPEATS, PERMUTED
from .passes import Seen

UNITS = {
    "loss_first_repeat": "nat",
    "loss_second_repeat": "nat",
    "accuracy_second_repeat": "probability",
    "in_context_learning_score": "nat",
}
"""Of a model, at the longest period."""
PerToken = Float64[np.ndarray, "sequence next"]


def of_run(values: PerToken, law: RepeatedTokens, run: int) -> Float64[np.ndarray, "sequence"]:
    """Mean over the S - 1 tokens of one run (0 is the first) that have another of it before them."""
    first = law.first + run * law.period  # values[i] belong to token i + 1
    return values[:, first : first + law.period - 1].mean(axis=1)


def in_context_learning(losses: PerToken, law: RepeatedTokens) -> Float64[np.ndarray, "sequence"]:
    """Loss early minus late: of the first run minus that of the second."""
    return of_run(losses, law, 0) - of_run(losses, law, 1)


def loss_measures(
    seen: Seen,
    control: Seen,
    nulls: Sequence[Seen],
    law: RepeatedTokens,
    seed: int,
    no_logits: NotApplicable | None,
) -> dict[str, Measure]:
    """Losses on sequences of one period, beside the same read-outs without repeats and with permuted weights."""
    if no_logits is not None:
        units = UNITS | {"loss_by_position": "nat"}
        return {name: missing(unit, "not applicable", no_logits.reason) for name, unit in units.items()}
    samples, without, permuted = _of(seen, law), _of(control, law), [_of(null, law) for null in nulls]
    words = f"period {law.period}; the first token of a run is left out"
    metrics = {}
    for name, unit in UNITS.items():
        others = {NO_REPEATS: without[name].mean(keepdims=True)}
        if permuted:
            others[PERMUTED] = np.array([null[name].mean() for null in permuted])
        metrics[name] = PerTask(
            samples[name],
            unit,
            nulls=others,
            higher_is_better=unit == "probability" or name == "in_context_learning_score",
            message=words,
            replicate="sequence",
        )
    metrics["loss_by_position"] = PerTask(
        seen.tokens["loss"],
        "nat",
        ("position",),
        {"position": tuple(range(1, law.length))},
        {NO_REPEATS: control.tokens["loss"].mean(axis=0)[None]},
        higher_is_better=False,
        message=f"period {law.period}",
        replicate="sequence",
    )
    return task_measures(metrics, seed)


def _of(seen: Seen, law: RepeatedTokens) -> Mapping[str, Float64[np.ndarray, "sequence"]]:
    losses, hits = seen.tokens["loss"], seen.tokens["hit"]
    return {
        "loss_first_repeat": of_run(losses, law, 0),
        "loss_second_repeat": of_run(losses, law, 1),
        "accuracy_second_repeat": of_run(hits, law, 1),
        "in_context_learning_score": in_context_learning(losses, law),
    }
