"""What a report on the heads of a language model does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..comparing.evidence import over_checkpoints
from ..comparing.numbers import number
from ..measure import Measure
from .formulas import SMALL_MOVE
from .head_closeness import at, beyond_random, closeness_called, too_few
from .head_names import LATER, UNTRAINED

THEOREMS = (
    "The theorems of Li et al. bound both shifts by the same kind of constant. They do not say that the shifts are"
    " equal."
)
NO_GRADIENT = (
    "x' is the query that a head would form after its layer's attention write. It is no gradient step: a layer of a"
    " language model has no targets b."
)
BY_SEED = "Heads of different {}s do not correspond. Only means over heads are compared."
NO_UNTRAINED = "mesascope read no untrained model of this shape. Whether training makes these shifts is not tested."
BY_SCALE = (
    "Moves along A and along x only scale the scores. Models with random weights have such moves, where a norm reads a"
    " stream that has grown. A cosine that needs them is no sign of what a layer has learned."
)
SHARED = (
    "The heads share their sequences and random directions. How many exceed all draws by chance varies more than for"
    " independent heads."
)


def head_limits(measures: Mapping[str, Measure]) -> Iterator[str]:
    """All limits of one claim, of measures that have numbers."""
    yield THEOREMS
    yield NO_GRADIENT
    yield from _premises(measures)
    yield from _position_0(measures)
    yield from _evidence(measures["mean_shift_A"])
    if closeness_called(measures) in ("closer by scale", "farther by scale"):
        yield BY_SCALE
    beyond = beyond_random(measures)
    if beyond is not None and (beyond.above | beyond.below).any():
        yield SHARED


def _premises(measures: Mapping[str, Measure]) -> Iterator[str]:
    """The share of queries at which they hold, where it is not all."""
    moves = {"keys": at(measures, "mean_premise_A"), "query": at(measures, "mean_premise_x")}
    held = {of: measure.estimate for of, measure in moves.items() if measure is not None}
    if all(share == 1 for share in held.values()):
        return
    shares = " and ".join(f"at {100 * share:.3g} % for the move of the {of}" for of, share in held.items())
    yield (
        f"Premise violated: the theorems ask that no score changes by {SMALL_MOVE:g} or more. Of the queries this holds"
        f" {shares}. Elsewhere the theorems say nothing; the tight bounds |x|/2 and |A|/2 hold everywhere."
    )


def _position_0(measures: Mapping[str, Measure]) -> Iterator[str]:
    """How much the shift of A changes without that key, where the intervals tell both apart."""
    whole, later = (at(measures, "mean_shift_A", *keys) for keys in ((), (LATER,)))
    if whole is None or later is None:
        return
    (low, high), (later_low, later_high) = whole.interval, later.interval
    if later_low > high or later_high < low:
        yield f"Much hangs on position 0: without it among the keys, the new keys shift attention by {number(later)}."


def _evidence(shift: Measure) -> Iterator[str]:
    """What there was too little of."""
    if UNTRAINED not in shift.nulls:
        yield NO_UNTRAINED
    if over_checkpoints(shift):
        yield BY_SEED.format(shift.replicate)
    elif shift.n == 1:
        yield f"One {shift.replicate} has no interval."
    elif too_few(shift):
        yield f"The bootstrap resamples only {shift.n} {shift.replicate}s: its intervals are too narrow."
