"""What was observed, as measures: attention of every head beside its controls and nulls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int

from ..measure import Measure, along, without_interval
from ..statistics.sample_measures import PerTask, task_measures
from ..statistics.sign_flips import adjusted, flips_needed, sign_flip_p
from .inputs import PeriodInputs
from .names import EVEN, HEADS, NO_REPEATS, PERMUTED
from .observations import Arrays, Observations, PeriodObservations, even_attention
from .watchers import kept_offsets
from .words import joined, listed

Samples = Float64[np.ndarray, "sequence layer head"]
ScoreAtPeriod = Callable[[Observations, int], Samples]
"""A score of every sequence and head at one period, given by its place among the periods."""
_NO_WEIGHTS = "the probe cannot read this model's weights, hence not permute them"


@dataclass(frozen=True)
class Observed:
    """A score as `HeadAttention` or `LogitAttribution` names it, on the sequences of one side."""

    key: str
    side: Literal["repeated", "control"]

    def __call__(self, observations: Observations, place: int) -> Samples:
        return getattr(observations, self.side)[place].heads[self.key]


PREFIX_MATCHING, ATTRIBUTION = Observed("matching", "repeated"), Observed("attribution", "repeated")
ATTENTION = {
    "prefix_matching_score": PREFIX_MATCHING,
    "duplicate_token_score": Observed("duplicate", "repeated"),
    "previous_token_score": Observed("previous", "control"),
    "current_token_score": Observed("current", "control"),
    "first_token_score": Observed("first", "control"),
}
"""Scores of attention by content, read on repeats, and by position, read where nothing repeats."""


def excess_over_controls(observations: Observations, place: int) -> Samples:
    """Prefix matching minus the larger of its controls, sequence by sequence.

    The controls: the same read-out of the sequence without repeats, and, on the repeated one, attention at the offsets
    of the other periods. Which is larger is decided by its mean over the sequences.
    """
    repeated, control = observations.repeated[place].heads, observations.control[place].heads
    others = repeated.get("other_offsets", np.empty((*control["matching"].shape, 0)))
    controls = np.concatenate([control["matching"][..., None], others], axis=-1)
    largest = controls.mean(axis=0).argmax(axis=-1)
    return repeated["matching"] - np.take_along_axis(controls, largest[None, ..., None], axis=-1)[..., 0]


def duplicate_excess(observations: Observations, place: int) -> Samples:
    """Attention to the earlier occurrence itself, minus attention at that offset without repeats."""
    return observations.repeated[place].heads["duplicate"] - observations.control[place].heads["duplicate"]


BY_PERIOD: Mapping[str, ScoreAtPeriod] = {
    "prefix_matching_by_period": PREFIX_MATCHING,
    "excess_by_period": excess_over_controls,
    "duplicate_token_excess_by_period": duplicate_excess,
}


def pooled(score: ScoreAtPeriod, observations: Observations) -> Samples:
    """A score on the sequences of all periods, one period after the other."""
    return np.concatenate([score(observations, place) for place in range(len(observations.repeated))])


def by_period(score: ScoreAtPeriod, observations: Observations) -> Float64[np.ndarray, "sequence period layer head"]:
    """A score with an axis for the period: sequences of the same number stand side by side."""
    return np.stack([score(observations, place) for place in range(len(observations.repeated))], axis=1)


@dataclass(frozen=True)
class Comparison:
    """What observations are compared with: other periods, and what was observed with permuted weights.

    level:  false discovery rate over heads
    seed:   of bootstraps and sign flips
    """

    periods: Sequence[PeriodInputs]
    nulls: Sequence[Observations]
    level: float
    seed: int

    def permuted(
        self, pool: Callable[[ScoreAtPeriod, Observations], np.ndarray], score: ScoreAtPeriod
    ) -> dict[str, np.ndarray]:
        """The null of permuted weights: means over the sequences, draw by draw."""
        return {PERMUTED: np.stack([pool(score, null).mean(axis=0) for null in self.nulls])} if self.nulls else {}


def head_measures(observations: Observations, comparison: Comparison) -> dict[str, Measure]:
    """Scores, excesses and their significance, of every head."""
    metrics = _scores(observations, comparison) | _excesses(observations, comparison)
    metrics["fixed_offset_score"] = _fixed_offset_score(observations, comparison)
    return task_measures(metrics, comparison.seed) | _significance(observations, comparison)


def _scores(observations: Observations, comparison: Comparison) -> dict[str, PerTask]:
    even = [even_attention(inputs) for inputs in comparison.periods]
    metrics = {}
    for name, score in ATTENTION.items():
        samples = pooled(score, observations)
        nulls = {EVEN: np.full((1, *samples.shape[1:]), np.mean([by_score[score.key] for by_score in even]))}
        if score.side == "repeated":
            nulls |= _without_repeats(score, observations)
        nulls |= comparison.permuted(pooled, score)
        metrics[name] = per_sequence(samples, "probability", nulls=nulls, message=windows_note(observations))
    if ATTRIBUTION.key in observations.repeated[0].heads:
        nulls = _without_repeats(ATTRIBUTION, observations) | comparison.permuted(pooled, ATTRIBUTION)
        metrics["direct_logit_attribution"] = per_sequence(pooled(ATTRIBUTION, observations), "logit", nulls=nulls)
    return metrics


def _without_repeats(score: Observed, observations: Observations) -> dict[str, np.ndarray]:
    """The null of sequences without repeats: means over the controls, period by period."""
    return {NO_REPEATS: np.stack([control.heads[score.key].mean(axis=0) for control in observations.control])}


def _excesses(observations: Observations, comparison: Comparison) -> dict[str, PerTask]:
    axes, coords = ("period", *HEADS), {"period": tuple(inputs.period for inputs in comparison.periods)}
    note = windows_note(observations)
    metrics = {}
    for name, score in BY_PERIOD.items():
        nulls = comparison.permuted(by_period, score)
        metrics[name] = per_sequence(by_period(score, observations), "probability", axes, coords, nulls, message=note)
    metrics["excess"] = per_sequence(
        pooled(excess_over_controls, observations),
        "probability",
        nulls=comparison.permuted(pooled, excess_over_controls),
        message=joined(note, controls_note(comparison.periods)),
    )
    return metrics


def windows_note(observations: Observations) -> str:
    """Which layers cannot see as far back as they would have to; "" where all can."""
    windows: dict[int, int] = {}
    for one in observations.repeated:
        windows |= one.windows
    by_size: dict[int, list[str]] = {}
    for layer, window in windows.items():
        by_size.setdefault(window, []).append(str(layer))
    return joined(
        *(
            f"layer{'s' * (len(layers) > 1)} {listed(layers)} attend{'s' * (len(layers) == 1)} to the last {size}"
            " tokens only"
            for size, layers in sorted(by_size.items())
        )
    )


def controls_note(periods: Sequence[PeriodInputs]) -> str:
    """Which controls of the excess are missing because few periods fit; "" where none is."""
    few = alone = ""
    if len(periods) < 3:
        were = "was" if len(periods) == 1 else "were"
        few = f"{len(periods)} of 3 periods {were} used ({listed(str(inputs.period) for inputs in periods)})"
    if without := [str(inputs.period) for inputs in periods if not inputs.other_offsets]:
        alone = f"at period {listed(without)} the only control is the sequence without repeats"
    return joined(few, alone)


def _fixed_offset_score(observations: Observations, comparison: Comparison) -> PerTask:
    """The largest attention that a head pays to one offset when nothing repeats, at the longest period."""
    samples, places = _largest_offset(observations.control[0], comparison.periods[0].period)
    even = even_attention(comparison.periods[0])["by_offset"][places]
    return replace(per_sequence(samples, "probability", nulls={EVEN: even[None]}), higher_is_better=None)


def _largest_offset(control: PeriodObservations, period: int) -> tuple[Samples, Int[np.ndarray, "layer head"]]:
    """Attention at the offset, from 2 on, that gets most of it without repeats, and its place among the kept ones."""
    by_offset = control.heads["by_offset"]
    far = np.array([place for place, offset in enumerate(kept_offsets(period)) if offset >= 2])
    places = far[by_offset[..., far].mean(axis=0).argmax(axis=-1)]
    return np.take_along_axis(by_offset, places[None, ..., None], axis=-1)[..., 0], places


def _significance(observations: Observations, comparison: Comparison) -> dict[str, Measure]:
    excess = pooled(excess_over_controls, observations)
    flips = flips_needed(excess[0].size, comparison.level)
    p = sign_flip_p(excess, flips, comparison.seed)
    period = comparison.periods[0].period
    _, places = _largest_offset(observations.control[0], period)
    words = f"one-sided, of an excess above 0, from {flips:,} random sign flips of the sequences' differences"
    return {
        "p_value": _of_heads(p, "probability", words, len(excess)),
        "p_adjusted": _of_heads(adjusted(p), "probability", f"false discovery rate over heads; {words}", len(excess)),
        "fixed_offset": _of_heads(
            np.array(kept_offsets(period))[places],
            "token",
            f"the offset from 2 to {period} that gets most attention without repeats",
            len(observations.control[0].heads["by_offset"]),
        ),
    }


def _of_heads(values: np.ndarray, unit: str, words: str, n: int) -> Measure:
    lower_is_better = None if unit == "token" else False
    no_nulls = "an offset, not a score" if unit == "token" else "a p value has a null of its own"
    return without_interval(
        values, unit, HEADS, message=words, no_nulls=no_nulls, higher_is_better=lower_is_better,
        replicate="sequence", n=n,
    )  # fmt: skip


def per_sequence(
    samples: np.ndarray,
    unit: str,
    axes: tuple[str, ...] = HEADS,
    coords: Mapping[str, tuple[int, ...]] | None = None,
    nulls: Mapping[str, np.ndarray] | None = None,
    *,
    message: str = "",
) -> PerTask:
    return PerTask(
        samples,
        unit,
        axes,
        coords or {},
        nulls or {},
        no_nulls="" if nulls else _NO_WEIGHTS,
        higher_is_better=True,
        message=message,
        replicate="sequence",
    )


def definition_measures(scores: Arrays, period: int, seed: int) -> dict[str, Measure]:
    """compatibility_score: the scores of other definitions, where they were asked for, along the axis `definition`."""
    metrics = {
        name: PerTask(
            samples,
            "as defined",
            HEADS,
            no_nulls="its authors gave no null",
            message=f"period {period}",
            replicate="sequence",
        )
        for name, samples in scores.items()
    }
    return {"compatibility_score": along("definition", task_measures(metrics, seed))} if metrics else {}


def sample_arrays(observations: Observations) -> dict[str, Samples]:
    """Scores of every sequence, the periods one after the other, for the report's raw values."""
    scores: dict[str, ScoreAtPeriod] = dict(ATTENTION)
    if ATTRIBUTION.key in observations.repeated[0].heads:
        scores["direct_logit_attribution"] = ATTRIBUTION
    scores["excess"] = excess_over_controls
    return {name: pooled(score, observations) for name, score in scores.items()}
