"""One verdict a head, and how strong it is: pure functions of the measures and of the thresholds.

A head *matches* on random tokens when its prefix matching clearly exceeds that of its controls at every period: the
interval of the excess lies above the threshold and above what heads with permuted weights reach, and the excess is
significant over all heads. On the user's text it matches when the excess over the same offsets without a match does,
with shuffled ids for permuted weights. A head that matches on either is an induction head if its OV circuit copies, an
anti-induction head if it lowers the logits of what it attends to. The eigenvalue score decides that beyond its
threshold on either side; between, the direct effect on the repeated token's logit does, where it is larger than any
that permuted weights have; where that is not so either, the head gets no name of a copying head.

Whether a head matches and how strongly are two questions: the strength is the excess itself.

What a head finds by content comes before where it looks by position: an induction head rests on the first token when
nothing repeats, and is an induction head all the same. A weak match gives way to a position other than the first that
gets more of the head's attention.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ..findings import Head, head_name
from ..measure import Measure, missing, without_interval
from .evidence import Evidence, Thresholds
from .names import BY_CONTENT, BY_POSITION, HEADS, MATCHING, Verdict
from .words import joined, listed

_REST = BY_POSITION.index(Verdict.FIRST_TOKEN)


Heads = Bool[np.ndarray, "layer head"]


def matching_random(evidence: Evidence, thresholds: Thresholds) -> Heads:
    """Heads whose prefix matching on random tokens exceeds its controls: at every period, significantly, and by more
    than chance.
    """
    least = np.maximum(evidence.excess_floor, thresholds.matching)[:, None, None]
    return (evidence.excess_low > least).all(axis=0) & (evidence.p_adjusted <= thresholds.level)


def matching_text(evidence: Evidence, thresholds: Thresholds) -> Heads:
    """Heads that match on the user's text: significantly, and by more than chance. None where there is no text."""
    least = max(evidence.text_floor, thresholds.matching)
    return (evidence.text_low > least) & (evidence.text_p_adjusted <= thresholds.level)


def matching(evidence: Evidence, thresholds: Thresholds) -> Heads:
    """Heads that match on random tokens or on the text."""
    return matching_random(evidence, thresholds) | matching_text(evidence, thresholds)


def strength(evidence: Evidence, thresholds: Thresholds) -> Float[np.ndarray, "layer head"]:
    """The excess with which a head matches: on random tokens, or on the text where it does there alone; NaN for heads
    that match nowhere.
    """
    on_text = np.where(matching_text(evidence, thresholds), evidence.text_excess, np.nan)
    return np.where(matching_random(evidence, thresholds), evidence.excess, on_text)


def copying_sign(evidence: Evidence, thresholds: Thresholds) -> Int[np.ndarray, "layer head"]:
    """1: raises the logits of what it attends to; -1: lowers them; 0: neither can be said."""
    by_weights = np.where(np.abs(evidence.copying) >= thresholds.copying, np.sign(evidence.copying), 0)
    large = np.abs(evidence.attribution) > evidence.attribution_floor
    by_effect = np.where(large, np.sign(evidence.attribution), 0)
    return np.where(by_weights != 0, by_weights, np.nan_to_num(by_effect)).astype(int)


def labels(evidence: Evidence, thresholds: Thresholds) -> np.ndarray:
    """The verdict of every head, [layer, head]."""
    matches, sign = matching(evidence, thresholds), copying_sign(evidence, thresholds)
    matches &= ~_rather_positional(evidence, thresholds)
    duplicates = (evidence.duplicate_by_period >= thresholds.duplicate).all(axis=0)
    duplicates &= evidence.duplicate_by_period.mean(axis=0) > evidence.duplicate_floor
    strongest = evidence.positional.argmax(axis=0)
    positional = np.where(
        evidence.positional.max(axis=0) >= thresholds.positional, np.array(BY_POSITION)[strongest], Verdict.NONE
    )
    content = [matches & (sign > 0), matches & (sign < 0), duplicates]
    return np.select(content, BY_CONTENT, positional)


def _rather_positional(evidence: Evidence, thresholds: Thresholds) -> Heads:
    """Heads that match weakly, and attend more to a position where they do not merely rest."""
    matched = strength(evidence, thresholds)
    attended = np.delete(evidence.positional, _REST, axis=0).max(axis=0)
    return (matched < thresholds.weak_below) & (attended >= thresholds.positional) & (attended > matched)


def near_a_threshold(evidence: Evidence, thresholds: Thresholds) -> Bool[np.ndarray, "layer head"]:
    """Heads whose verdict is another one when a threshold, or what permuted weights reach, moves by the tolerance."""
    found, step = labels(evidence, thresholds), thresholds.tolerance
    near = np.zeros(found.shape, dtype=bool)
    for sign in (-step, step):
        for name in ("matching", "duplicate", "positional", "copying", "level", "weak_below"):
            moved = replace(thresholds, **{name: getattr(thresholds, name) + sign})
            near |= labels(evidence, moved) != found
        for name in (field.name for field in fields(evidence) if field.name.endswith("floor")):
            near |= labels(replace(evidence, **{name: getattr(evidence, name) + sign}), thresholds) != found
    return near


def head_verdicts(measures: Mapping[str, Measure], thresholds: Thresholds) -> dict[Head, Verdict]:
    """The verdict of every (layer, head); empty for measures without heads of one checkpoint."""
    evidence = Evidence.of(measures)
    if evidence is None:
        return {}
    found = labels(evidence, thresholds)
    return {(layer, head): Verdict(str(label)) for (layer, head), label in np.ndenumerate(found)}


def heads_called(verdicts: Mapping[Head, str], verdict: Verdict) -> list[Head]:
    """The heads with one verdict."""
    return [head for head, own in verdicts.items() if own == verdict]


def strength_measure(measures: Mapping[str, Measure], thresholds: Thresholds) -> Measure:
    """strength: of induction and anti-induction heads, with the interval of the excess it is; NaN for other heads."""
    evidence = Evidence.of(measures)
    assert evidence is not None, "made from the measures of one checkpoint"
    called = np.isin(labels(evidence, thresholds), MATCHING)
    if not called.any():
        return missing("probability", "undefined", "no head has the verdict induction or anti-induction")
    random, text = measures["excess"], measures.get("text_matching_excess", measures["excess"])
    on_random = called & matching_random(evidence, thresholds)
    rows = zip((random.values, *random.interval), (text.values, *text.interval), strict=True)
    values, low, high = (np.where(on_random, a, np.where(called, b, np.nan)) for a, b in rows)
    of_text = [head_name((int(layer), int(head))) for layer, head in np.argwhere(called & ~on_random)]
    words = "excess of prefix matching over its controls; NaN for heads that are no induction or anti-induction heads"
    where = f"of {listed(of_text)} the excess on the text, in {text.n} {text.replicate}s" if of_text else ""
    return replace(
        random, values=values, interval=(low, high), nulls={}, no_nulls="the excess has them", points=None,
        message=joined(words, where),
    )  # fmt: skip


def strength_words(values: Float[np.ndarray, " head"], thresholds: Thresholds) -> str:
    """weak, moderate or strong; of several heads from the weakest to the strongest."""
    words = [_strength_word(float(value), thresholds) for value in (values.min(), values.max())]
    return " to ".join(dict.fromkeys(words))


def _strength_word(value: float, thresholds: Thresholds) -> str:
    if value < thresholds.weak_below:
        return "weak"
    return "strong" if value >= thresholds.strong_from else "moderate"


def near_measure(measures: Mapping[str, Measure], thresholds: Thresholds) -> Measure:
    """near_threshold: 1 for heads within the tolerance of a threshold, which the message names."""
    evidence = Evidence.of(measures)
    assert evidence is not None, "made from the measures of one checkpoint"
    near = near_a_threshold(evidence, thresholds)
    moved = f"when a threshold moves by {thresholds.tolerance:g}"
    if near.any():
        names = listed(head_name((int(layer), int(head))) for layer, head in np.argwhere(near))
        words = f"the verdict of {names} changes {moved}"
    else:
        words = f"no verdict changes {moved}"
    return without_interval(near, "yes or no", HEADS, message=words, no_nulls="read off other measures")
