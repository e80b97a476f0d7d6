"""The claim card on the heads of a language model: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.evidence import evidence_of, interval_over
from ..comparing.heads_beside_nulls import HeadsBesideNulls
from ..comparing.numbers import number, rounded
from ..measure import Claim, Measure
from .claim import CITATIONS
from .head_closeness import COSINE, UNSCALED, Closeness, at, beyond_random, closeness_called
from .head_limits import head_limits
from .head_names import RANDOM, UNTRAINED

NOTHING = "mesascope did not measure the shifts of this model's heads: {}."
NO_SHIFT = "What the layers' attention writes shifts the attention of no head."
BADGES = {
    "closer": "Shifts closer than random directions",
    "closer by scale": "Closer than random, not without scale",
    "farther": "Shifts farther apart than random directions",
    "farther by scale": "Farther apart than random, not without scale",
    "not told apart": "Not distinguishable from random directions",
    "cannot tell": "Closeness of shifts cannot be told",
}
_NOT_WITHOUT = "but not clearly without the part of the moves that scales the scores"
_VERDICTS = {
    "closer": "The two shifts are closer to each other than in random directions.",
    "closer by scale": f"The two shifts are closer to each other than in random directions, {_NOT_WITHOUT}.",
    "farther": "The two shifts are farther apart than in random directions.",
    "farther by scale": f"The two shifts are farther apart than in random directions, {_NOT_WITHOUT}.",
    "not told apart": "How close the two shifts are is not distinguishable from random directions.",
    "cannot tell": "Whether the two shifts are closer than in random directions cannot be told: {} too few.",
}


def head_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step, which share no heads."""
    shift, notes = at(measures, "mean_shift_A"), dict.fromkeys(note for source in sources for note in source.notes)
    if shift is None:
        reason = measures["mean_shift_A"].message
        return Claim(
            found=NOTHING.format(reason),
            rival="No shift was compared.",
            evidence="None.",
            limits=tuple(notes),
            methods=" ".join(_definitions()),
            citations=CITATIONS,
            badge="Shifts of heads not measured",
        )
    called = closeness_called(measures)
    return Claim(
        found=" ".join(_found(measures, shift)),
        rival=" ".join(_rival(measures)),
        evidence=evidence_of(shift),
        limits=(*head_limits(measures), *notes),
        methods=" ".join([*_definitions(), *_statistics(shift)]),
        citations=CITATIONS,
        badge="No head shifts" if called is None else BADGES[called],
    )


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], shift: Measure) -> Iterator[str]:
    if shift.estimate == 0:
        yield NO_SHIFT
        return
    layer = _largest_layer(measures)
    yield f"With the keys after a layer's own attention write, its heads' attention shifts by {number(shift)}{layer}."
    if (by_query := at(measures, "mean_shift_x")) is not None:
        yield f"With the query after it: {number(by_query)}."
    yield from _nulls(shift)
    yield from _share_of_bound(measures)


def _largest_layer(measures: Mapping[str, Measure]) -> str:
    """, most in layer 0 (0.177 …); nothing where there is one layer."""
    layers = at(measures, "layer_shift_A")
    if layers is None or np.isfinite(layers.values).sum() < 2:
        return ""
    place = int(np.nanargmax(layers.values))
    return f", most in layer {layers.labels('layer')[place]}: {number(layers.at(layer=place))}"


def _nulls(shift: Measure) -> Iterator[str]:
    """The shift by new keys of untrained models, and of the same moves in random directions."""
    said = [_untrained(shift.nulls[UNTRAINED])] if UNTRAINED in shift.nulls else []
    said += [f"keys moved as far in random directions {_from_to(shift.nulls[RANDOM])}"] if RANDOM in shift.nulls else []
    if said:
        yield f"For comparison, the shift by new keys: {', '.join(said)}."


def _untrained(samples: np.ndarray, unit: str = "") -> str:
    """untrained models 0.0010 to 0.0012"""
    return f"{'untrained models' if len(samples) > 1 else 'an untrained model'} {_from_to(samples)}{unit}"


def _from_to(samples: np.ndarray) -> str:
    """0.0010 to 0.0012"""
    low, high = rounded(float(np.nanmin(samples))), rounded(float(np.nanmax(samples)))
    return low if low == high else f"{low} to {high}"


def _share_of_bound(measures: Mapping[str, Measure]) -> Iterator[str]:
    """The largest of all heads; of several seeds, the largest of all layers."""
    found = at(measures, "share_of_bound_A"), at(measures, "layer_share_of_bound_A")
    of, shares = ("head", found[0]) if found[0] is not None else ("layer", found[1])
    if shares is not None:
        beside = ""
        if UNTRAINED in shares.nulls:
            samples = shares.nulls[UNTRAINED]
            largest = np.nanmax(samples.reshape(len(samples), -1), axis=1)
            beside = f" ({_untrained(100 * largest, ' %')})"
        share = rounded(100 * float(np.nanmax(shares.values)))
        yield f"Per length of its move, no {of} shifts by more than {share} % of the tight bound on average{beside}."


# -- the strongest null ------------------------------------------------------------------------------------------------


def _rival(measures: Mapping[str, Measure]) -> Iterator[str]:
    called, whole = closeness_called(measures), Closeness.of(measures)
    if called is None or whole is None:
        yield "No head has two shifts to compare."
        return
    yield _VERDICTS[called].format(whole.lacking)
    yield f"Their cosine, mean over heads: {_beside_nulls(measures, whole, COSINE)}."
    unscaled = Closeness.of(measures, UNSCALED)
    if unscaled is not None:
        yield f"By moves that do not scale the scores: {_beside_nulls(measures, unscaled, UNSCALED)}."
    yield from _counted(beyond_random(measures))


def _beside_nulls(measures: Mapping[str, Measure], closeness: Closeness, name: str) -> str:
    """0.034 (…); random directions 0.036 to 0.072 (minimum to maximum of 20); untrained models 0.058 to 0.075"""
    said, random, mean = [str(closeness.cosine)], closeness.random, at(measures, f"mean_{name}")
    if len(random):
        said.append(f"random directions {_from_to(random)} (minimum to maximum of {len(random)})")
    if mean is not None and UNTRAINED in mean.nulls:
        said.append(_untrained(mean.nulls[UNTRAINED]))
    return "; ".join(said)


def _counted(beyond: HeadsBesideNulls | None) -> Iterator[str]:
    if beyond is not None:
        yield (
            f"The interval lies above all draws in {beyond.above.sum()} of {beyond.told.sum()} heads, below all in"
            f" {beyond.below.sum()}; on average at most {beyond.by_chance:.2g} would lie on each side by chance."
        )


# -- methods -----------------------------------------------------------------------------------------------------------


def _definitions() -> list[str]:
    return [
        "For each attention head and query, A holds the keys that the query attends to, as the layer forms them (after"
        " its norm, bias and rotation), and x is the query times the scale of the scores. The head's attention is then"
        " f(A, x) = softmax(A x) (Li et al., 2023).",
        "A' and x' are the keys and the query that the same head would form of the residual stream after its layer's"
        " own attention write. Where attention and MLP read the same stream side by side, that stream is what the layer"
        " reads plus what its attention writes.",
        "The shifts are f(A, x) - f(A', x), which Li et al. call the data shift, and f(A, x) - f(A, x'). We report"
        " their Euclidean lengths and the cosine between them. Per spectral norm of A' - A, and per length of x' - x,"
        " they cannot exceed |x|/2 and |A|/2, the tight bounds.",
        "A norm that shrinks keys and query alike gives both shifts a common part. We therefore also report the cosine"
        " for moves without their part along A and along x, which only scales the scores.",
    ]


def _statistics(shift: Measure) -> Iterator[str]:
    yield "Numbers are means over evenly spaced queries of each sequence."
    nulls = {
        RANDOM: "random directions, (A' - A) R x with R a random rotation, and vectors of the length of x' - x",
        UNTRAINED: "models of the same shape with fresh weights, which read the same sequences",
    }
    said = [f"{words} (n = {len(shift.nulls[name])})" for name, words in nulls.items() if name in shift.nulls]
    if said:
        yield f"Nulls: {'; '.join(said)}."
    if shift.n > 1:
        yield f"95 % confidence intervals: {interval_over(shift)}."
