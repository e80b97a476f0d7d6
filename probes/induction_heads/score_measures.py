"""What was seen as measures: attention of every head beside its controls, and what the model makes of the repeats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from ..measure import Measure
from ..statistics.sample_measures import PerTask, task_measures
from ..statistics.sign_flips import adjusted, flips_needed, sign_flip_p
from .inputs import PeriodInputs
from .nulls import EVEN, NO_REPEATS, PERMUTED
from .passes import Seen, Sides, even_attention
from .watchers import kept_offsets

HEADS = ("layer", "head")
OF_REPEATS = {"prefix_matching_score": "matching", "duplicate_token_score": "duplicate"}
OF_CONTROLS = {"previous_token_score": "previous", "current_token_score": "current", "first_token_score": "first"}
"""Scores of attention, by the name that `HeadAttention` gives them; those of positions are read without repeats."""
Samples = Float64[np.ndarray, "sequence layer head"]
_NO_WEIGHTS = "this model shows no weights that could be permuted"


def excess_over_controls(sides: Sides, period: int) -> Samples:
    """Prefix matching minus the larger of the controls, sequence by sequence; period: its place among the periods.

    The controls: the same read-out of the sequence without repeats, and, on the repeated one, attention at the offsets
    of the other periods. Which is larger is decided by its mean over the sequences.
    """
    repeated, control = sides.repeated[period].heads, sides.control[period].heads
    others = repeated.get("others", np.empty((*control["matching"].shape, 0)))
    controls = np.concatenate([control["matching"][..., None], others], axis=-1)
    largest = controls.mean(axis=0).argmax(axis=-1)
    return repeated["matching"] - np.take_along_axis(controls, largest[None, ..., None], axis=-1)[..., 0]


def duplicate_excess(sides: Sides, period: int) -> Samples:
    """Attention to the earlier occurrence itself, minus attention at that offset without repeats."""
    return sides.repeated[period].heads["duplicate"] - sides.control[period].heads["duplicate"]


@dataclass(frozen=True)
class Inputs:
    """What the measures are made of beside what was seen: of which sequences, and what was seen with permuted weights.

    note:  what must be said with every score of attention
    """

    periods: Sequence[PeriodInputs]
    nulls: Sequence[Sides]
    level: float
    seed: int
    note: str = ""


def head_measures(sides: Sides, inputs: Inputs) -> dict[str, Measure]:
    """Scores, excesses and their significance, of every head."""
    metrics = _scores(sides, inputs) | _excesses(sides, inputs) | {"fixed_offset_score": _fixed_offset(sides, inputs)}
    return task_measures(metrics, inputs.seed) | _significance(sides, inputs)


def _scores(sides: Sides, inputs: Inputs) -> dict[str, PerTask]:
    even = [even_attention(one) for one in inputs.periods]
    found = {}
    for name, key in (OF_REPEATS | OF_CONTROLS).items():
        on_repeats = name in OF_REPEATS

        def pooled(sides: Sides, key: str = key, on_repeats: bool = on_repeats) -> Samples:
            return np.concatenate([seen.heads[key] for seen in (sides.repeated if on_repeats else sides.control)])

        samples = pooled(sides)
        nulls = {EVEN: np.full((1, *samples.shape[1:]), np.mean([of_one[key] for of_one in even]))}
        if on_repeats:
            nulls[NO_REPEATS] = np.stack([seen.heads[key].mean(axis=0) for seen in sides.control])
        nulls |= _permuted(inputs, pooled)
        found[name] = _per_sequence(samples, "probability", nulls=nulls, message=inputs.note)
    if "attribution" in sides.repeated[0].heads:
        found["direct_logit_attribution"] = _attribution(sides, inputs)
    return found


def _attribution(sides: Sides, inputs: Inputs) -> PerTask:
    def pooled(sides: Sides) -> Samples:
        return np.concatenate([seen.heads["attribution"] for seen in sides.repeated])

    nulls = {NO_REPEATS: np.stack([seen.heads["attribution"].mean(axis=0) for seen in sides.control])}
    return _per_sequence(pooled(sides), "logit", nulls=nulls | _permuted(inputs, pooled))


def _excesses(sides: Sides, inputs: Inputs) -> dict[str, PerTask]:
    places, coords = range(len(inputs.periods)), {"period": tuple(one.period for one in inputs.periods)}
    kinds: dict[str, Callable[[Sides, int], Samples]] = {
        "prefix_matching_by_period": lambda sides, period: sides.repeated[period].heads["matching"],
        "excess_by_period": excess_over_controls,
        "duplicate_token_excess_by_period": duplicate_excess,
    }
    found = {}
    for name, of_period in kinds.items():

        def stacked(sides: Sides, of_period: Callable[[Sides, int], Samples] = of_period) -> np.ndarray:
            return np.stack([of_period(sides, period) for period in places], axis=1)

        nulls = _permuted(inputs, stacked)
        found[name] = _per_sequence(stacked(sides), "probability", ("period", *HEADS), coords, nulls, inputs.note)

    def pooled(sides: Sides) -> Samples:
        return np.concatenate([excess_over_controls(sides, period) for period in places])

    found["excess"] = _per_sequence(
        pooled(sides), "probability", nulls=_permuted(inputs, pooled), message=_periods_note(inputs)
    )
    return found


def _periods_note(inputs: Inputs) -> str:
    """What the excess is over, where some of the controls could not be read."""
    words = [inputs.note]
    if len(inputs.periods) < 3:
        periods = " and ".join(str(one.period) for one in inputs.periods)
        words.append(
            f"of the periods, only {periods} fit: a peak that moves with the period is seen at fewer than three"
        )
    if alone := [str(one.period) for one in inputs.periods if not one.others]:
        words.append(f"at period {', '.join(alone)} no other period's offset can be read: its control is the one only")
    return "; ".join(filter(None, words))


def offset_measures(sides: Sides, inputs: Inputs) -> dict[str, Measure]:
    """Mean attention of every head by offset, at each period: `attention_by_offset_50`, …

    Over the queries of the second and later runs. An induction head's peak moves with the period.
    """
    found = {}
    for one, repeated, control in zip(inputs.periods, sides.repeated, sides.control, strict=True):
        samples, offsets = repeated.heads["offsets"], kept_offsets(one.period)
        even = np.broadcast_to(even_attention(one)["offsets"], (1, *samples.shape[1:]))
        nulls = {NO_REPEATS: control.heads["offsets"].mean(axis=0)[None], EVEN: even}
        axes, coords = (*HEADS, "offset"), {"offset": offsets}
        found[f"attention_by_offset_{one.period}"] = _per_sequence(
            samples, "probability", axes, coords, nulls, inputs.note, higher_is_better=None
        )
    return task_measures(found, inputs.seed)


def _fixed_offset(sides: Sides, inputs: Inputs) -> PerTask:
    """The largest attention that a head pays at one offset when nothing repeats, at the longest period."""
    samples, places = _largest_offset(sides.control[0], inputs.periods[0].period)
    even = even_attention(inputs.periods[0])["offsets"][places]
    return _per_sequence(samples, "probability", nulls={EVEN: even[None]}, higher_is_better=None)


def _largest_offset(control: Seen, period: int) -> tuple[Samples, Int[np.ndarray, "layer head"]]:
    """Attention at the offset, from 2 on, that gets most of it without repeats, and its place among the kept ones."""
    far = np.array([place for place, offset in enumerate(kept_offsets(period)) if offset >= 2])
    places = far[control.heads["offsets"][..., far].mean(axis=0).argmax(axis=-1)]
    return np.take_along_axis(control.heads["offsets"], places[None, ..., None], axis=-1)[..., 0], places


def _significance(sides: Sides, inputs: Inputs) -> dict[str, Measure]:
    excess = np.concatenate([excess_over_controls(sides, period) for period in range(len(inputs.periods))])
    flips = flips_needed(excess[0].size, inputs.level)
    p = sign_flip_p(excess, flips, inputs.seed)
    words = f"of an excess above 0: sign flips of each sequence's difference, {flips:,} of them, one-sided"
    period = inputs.periods[0].period
    _, places = _largest_offset(sides.control[0], period)
    return {
        "p_value": _without_interval(p, "probability", len(excess), words, higher_is_better=False),
        "p_adjusted": _without_interval(
            adjusted(p), "probability", len(excess), f"false discovery rate over heads; {words}", higher_is_better=False
        ),
        "fixed_offset": _without_interval(
            np.array(kept_offsets(period))[places],
            "token",
            len(sides.control[0].heads["offsets"]),
            f"the offset, 2 to {period}, that gets most attention without repeats",
        ),
    }


def _without_interval(
    values: np.ndarray, unit: str, n: int, words: str, higher_is_better: bool | None = None
) -> Measure:
    nan = np.full(values.shape, np.nan)
    return Measure(
        values,
        unit,
        (nan, nan),
        "sequence",
        n,
        HEADS,
        no_nulls="it says what the nulls have to say",
        higher_is_better=higher_is_better,
        message=words,
    )


def _permuted(inputs: Inputs, samples: Callable[[Sides], np.ndarray]) -> dict[str, np.ndarray]:
    """The null by that name: means over the sequences, draw by draw."""
    return {PERMUTED: np.stack([samples(sides).mean(axis=0) for sides in inputs.nulls])} if inputs.nulls else {}


def _per_sequence(
    samples: np.ndarray,
    unit: str,
    axes: tuple[str, ...] = HEADS,
    coords: dict[str, tuple[int, ...]] | None = None,
    nulls: dict[str, np.ndarray] | None = None,
    message: str = "",
    higher_is_better: bool | None = True,
) -> PerTask:
    return PerTask(
        samples,
        unit,
        axes,
        coords or {},
        nulls or {},
        no_nulls="" if nulls else _NO_WEIGHTS,
        higher_is_better=higher_is_better,
        message=message,
        replicate="sequence",
    )
