"""What was read of a model as measures: means over tasks with paired intervals, beside untrained models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..comparing.by_candidate import CANDIDATE, MODEL
from ..measure import Measure, along, missing
from ..regression.sensitivity import LOSS
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from ..statistics.sample_measures import PerTask, task_measures
from .gradient_step import TunedStep, pooled
from .names import EDITS, EVEN, GD, KINDS, NEXT, OWN, TO, UNTRAINED
from .reading import Read

HEADS = ("layer", "head")
OF_MODEL = (MODEL, *EDITS)
"""Candidates that an untrained model has, too."""
NO_UNTRAINED = "a rule has no untrained model"
OF_STEP = "share of gradient descent's loss"
DIVERGES = "the answers are not finite on some task"
LINEAR = "raw scores of linear attention have no even attention"


@dataclass(frozen=True)
class Nulls:
    """Untrained models on their own tasks, and the errors of one tuned step on these."""

    models: Sequence[Read]
    step: Float[np.ndarray, " task"]

    def of(self, number: Callable[[Read], np.ndarray]) -> np.ndarray:
        """A number of each, or several."""
        return np.stack([number(model) for model in self.models])


def attention_measures(found: Read, nulls: Nulls, softmax: Sequence[bool], seed: int) -> dict[str, Measure]:
    """softmax: whether a layer's attention is, layer by layer"""
    held, even = found.attention, 1 / found.attention.map.shape[-1]
    evenly = np.full((1, *held.share.shape[1:]), even)
    raw = np.where(np.array(softmax)[None, :, None], evenly, np.nan)
    of_next = {EVEN: raw} if any(softmax) else {}
    of_next |= {UNTRAINED: nulls.of(lambda one: one.attention.next.mean(axis=0))}
    of_share = {EVEN: evenly, UNTRAINED: nulls.of(lambda one: one.attention.share.mean(axis=0))}
    best = int(held.share[:, 0].mean(axis=0).argmax())
    largest = nulls.of(lambda one: one.attention.share[:, 0].mean(axis=0).max())
    message = "" if all(softmax) else LINEAR
    return task_measures(
        {
            "next_attention": PerTask(held.next, "attention", HEADS, nulls=of_next, message=message),
            "prefix_matching_score": PerTask(
                held.share, "share of attention", HEADS, nulls=of_share, higher_is_better=True
            ),
            "first_layer_score": PerTask(
                held.share[:, 0, best],
                "share of attention",
                nulls={EVEN: np.array([even]), UNTRAINED: largest},
                higher_is_better=True,
                message=f"of head {best}, where it is largest; of every untrained model likewise",
            ),
        },
        seed,
    )


def sensitivity_measures(found: Read, nulls: Nulls, seed: int) -> dict[str, Measure]:
    samples = found.sensitivity.samples
    untrained = nulls.of(lambda one: one.sensitivity.by_kind)
    metrics = {
        kind: PerTask(samples[:, place], "state / input", nulls={UNTRAINED: untrained[:, place]})
        for place, kind in enumerate(KINDS)
    }
    following, own = KINDS.index(NEXT), KINDS.index(OWN)
    return {
        "copy_sensitivity": along(TO, task_measures(metrics, seed)),
        "next_over_own": _ratio(samples[:, [following, own]], untrained[:, [following, own]], seed),
    }


def _ratio(samples: Float[np.ndarray, "task two"], untrained: Float[np.ndarray, "model two"], seed: int) -> Measure:
    upper, lower = samples.mean(axis=0)
    if not lower > 0:
        return missing("ratio", "undefined", "no token after the first layer is sensitive to itself")
    resampled = bootstrap_means(samples, seed)
    low, high = percentile_interval(resampled[:, 0] / resampled[:, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        null = untrained[:, 0] / untrained[:, 1]
    return Measure(np.array(upper / lower), "ratio", (low, high), "task", len(samples), nulls={UNTRAINED: null})


def loss_measures(errors: Mapping[str, Float[np.ndarray, " task"]], nulls: Nulls, seed: int) -> dict[str, Measure]:
    """errors: half squared ones of the model, under each edit, of a tuned step and of answering zero"""
    drawn = {name: nulls.of(lambda one, name=name: one.errors[name].mean()) for name in OF_MODEL}
    metrics = {
        name: PerTask(
            held,
            LOSS,
            nulls={UNTRAINED: drawn[name]} if name in drawn else {},
            no_nulls="" if name in drawn else NO_UNTRAINED,
            higher_is_better=False,
        )
        for name, held in errors.items()
    }
    step = nulls.step.mean()
    gaps = {
        name: _share(held - errors[GD], errors[GD], drawn[name] / step - 1 if name in drawn else None, seed)
        for name, held in errors.items()
        if name != GD
    }
    with np.errstate(invalid="ignore"):  # of answers that are not finite, see `_share`
        rises = {
            name: _share(errors[name] - errors[MODEL], errors[GD], (drawn[name] - drawn[MODEL]) / step, seed)
            for name in EDITS
        }
    return {
        "loss": along(CANDIDATE, task_measures(metrics, seed)),
        "loss_gap": along(CANDIDATE, gaps),
        "loss_rise": along(CANDIDATE, rises),
    }


def _share(
    difference: Float[np.ndarray, " task"], step: Float[np.ndarray, " task"], untrained: np.ndarray | None, seed: int
) -> Measure:
    """A difference of losses over the loss of the tuned step."""
    if not np.isfinite(difference).all():
        return missing(OF_STEP, "undefined", DIVERGES)
    means = bootstrap_means(np.stack([difference, step], axis=1), seed)
    return Measure(
        np.array(difference.mean() / step.mean()),
        OF_STEP,
        percentile_interval(means[:, 0] / means[:, 1]),
        "task",
        len(difference),
        nulls={} if untrained is None else {UNTRAINED: untrained},
        no_nulls=NO_UNTRAINED if untrained is None else "",
    )


def rate_measure(steps: Sequence[TunedStep], seed: int) -> Measure:
    """Of all tuning tasks together."""
    whole = pooled(steps)
    means = bootstrap_means(whole.products, seed)
    return Measure(
        np.array(whole.rate),
        "learning rate",
        percentile_interval(means[:, 0] / means[:, 1]),
        "task",
        len(whole.products),
        no_nulls="it is fitted to labels",
    )
