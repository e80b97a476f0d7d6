"""The claim card of induction-heads: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ...models.subject import Source
from ..findings import Head, head_name
from ..measure import Claim, Measure
from .evidence import Evidence, Thresholds
from .limits import limits
from .losses import single
from .names import RANDOM_HEADS, SHUFFLED_REPEAT, UNNAMED, Verdict
from .verdicts import heads_called, matching_random, strength, strength_words
from .words import head_names, listed, number, spread, with_interval

CITATIONS = (
    "C. Olsson, N. Elhage, N. Nanda, N. Joseph, N. DasSarma, T. Henighan, et al. In-context learning and induction"
    " heads. Transformer Circuits Thread, 2022. arXiv:2209.11895.",
    "N. Elhage, N. Nanda, C. Olsson, T. Henighan, N. Joseph, B. Mann, et al. A mathematical framework for transformer"
    " circuits. Transformer Circuits Thread, 2021.",
)
Verdicts = Mapping[Head, str]


def induction_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], thresholds: Thresholds, verdicts: Verdicts
) -> Claim:
    """Sentences from numbers; without verdicts, over several seeds, those about heads are left out."""
    notes = (note for source in sources for note in source.notes)
    return Claim(
        found=" ".join(_found(measures, thresholds, verdicts)),
        rival=_rival(measures, thresholds, verdicts),
        evidence=_evidence(measures),
        limits=tuple(dict.fromkeys((*limits(measures, thresholds, verdicts), *notes))),
        methods=_methods(measures, thresholds),
        citations=CITATIONS,
        badge=_badge(measures, thresholds, verdicts),
    )


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> Iterable[str]:
    evidence = Evidence.of(measures)
    if evidence is None:
        yield "Heads are not compared over checkpoints; each checkpoint's own report names its heads."
        yield from _score(measures)
        return
    induction, anti = (heads_called(verdicts, verdict) for verdict in (Verdict.INDUCTION, Verdict.ANTI_INDUCTION))
    counted = _counted(evidence, thresholds, induction, len(verdicts))
    yield f"{counted}: {_named(evidence, thresholds, induction)}." if induction else f"{counted}."
    if anti and not induction:
        are = "is an anti-induction head" if len(anti) == 1 else "are anti-induction heads"
        where = _on_text_alone(evidence, thresholds, anti)
        yield f"{len(anti)} {are}{where}: {_named(evidence, thresholds, anti)}."
    rise = _rise(measures, str(Verdict.INDUCTION)) if induction else None
    yield from _score(measures) if rise is None else [_needed(rise, len(induction))]


def _counted(evidence: Evidence, thresholds: Thresholds, induction: list[Head], n_heads: int) -> str:
    """3 of 8 heads are induction heads"""
    if not induction:
        return f"None of the {n_heads} heads is an induction head"
    are = "is an induction head" if len(induction) == 1 else "are induction heads"
    return f"{len(induction)} of {n_heads} heads {are}{_on_text_alone(evidence, thresholds, induction)}"


def _badge(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> str:
    """How many heads are induction heads; over several checkpoints, that nothing is said of heads."""
    evidence = Evidence.of(measures)
    if evidence is None:
        return "Heads are not compared"
    return _counted(evidence, thresholds, heads_called(verdicts, Verdict.INDUCTION), len(verdicts))


def _named(evidence: Evidence, thresholds: Thresholds, heads: list[Head]) -> str:
    """L1H0, L1H2 (strong: strength 0.94 to 0.98)"""
    values = strength(evidence, thresholds)[tuple(np.array(heads).T)]
    return f"{head_names(heads)} ({strength_words(values, thresholds)}: strength {spread(values)})"


def _on_text_alone(evidence: Evidence, thresholds: Thresholds, heads: list[Head]) -> str:
    on_random = matching_random(evidence, thresholds)
    return "" if any(on_random[head] for head in heads) else " on the text"


def _needed(rise: Measure, n_heads: int) -> str:
    """What the induction heads are needed for."""
    them = "it" if n_heads == 1 else "all of them"
    amount = with_interval(rise, "nat")
    if rise.interval[0] > 0:
        return f"Mean-ablating {them} raises the loss on the second repeat by {amount}."
    return f"Mean-ablating {them} does not clearly raise the loss on the second repeat: {amount}."


def _score(measures: Mapping[str, Measure]) -> Iterable[str]:
    """What the model learns in context, and how much of it in any order."""
    score = single(measures, "in_context_learning_score")
    if score is not None:
        words = "In-context learning score (loss on the first repeat minus loss on the second)"
        shuffled = score.nulls.get(SHUFFLED_REPEAT)
        beside = "" if shuffled is None else f"; {number(float(np.nanmean(shuffled)))} nat with the repeat shuffled"
        yield f"{words}: {with_interval(score, 'nat')}{beside}."


def _rise(measures: Mapping[str, Measure], group: str) -> Measure | None:
    """Of the loss on the second repeat, without all heads of a group."""
    return single(measures, "group_ablation", replacement="mean", group=group)


# -- the strongest rival or null ---------------------------------------------------------------------------------------


def _rival(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> str:
    evidence = Evidence.of(measures)
    if evidence is None:
        return "No head is compared with a control over several checkpoints."
    induction = heads_called(verdicts, Verdict.INDUCTION)
    rise = _rise(measures, str(Verdict.INDUCTION) if induction else UNNAMED)
    random = "" if rise is None or RANDOM_HEADS not in rise.nulls else _random_heads(rise.nulls[RANDOM_HEADS])
    if rise is not None and not induction:
        return " ".join(filter(None, (_unnamed(rise), random)))
    return random or _rival_excess(measures["excess"], evidence, induction)


def _unnamed(rise: Measure) -> str:
    amount = with_interval(rise, "nat")
    raises = "raises" if rise.interval[0] > 0 else "does not clearly raise"
    return f"Mean-ablating the heads with the largest excess {raises} the loss on the second repeat: {amount}."


def _random_heads(draws: np.ndarray) -> str:
    return f"Random heads: {spread(draws)} nat (minimum to maximum of {len(draws)} draws)."


def _rival_excess(excess: Measure, evidence: Evidence, induction: list[Head]) -> str:
    """The called head that is nearest to its controls, or of those without a name the one farthest from them."""
    if induction:
        head, words = min(induction, key=lambda place: float(excess.values[place])), "Smallest"
    else:
        filled = np.nan_to_num(excess.values, nan=-np.inf)
        layer, place = np.unravel_index(int(filled.argmax()), filled.shape)
        head, words = (int(layer), int(place)), "Largest"
    found = with_interval(excess.at(layer=head[0], head=head[1]))
    return (
        f"{words} excess over controls: {head_name(head)}, {found}. Heads with permuted weights reach"
        f" {number(float(evidence.excess_floor.max()))}."
    )


# -- evidence and methods ---------------------------------------------------------------------------------------------


def _evidence(measures: Mapping[str, Measure]) -> str:
    if Evidence.of(measures) is None:
        like = next((m for m in measures.values() if m.status == "ok" and m.replicate not in ("none", "")), None)
        return "None." if like is None else f"t-interval over {like.n} {like.replicate}s."
    periods = [str(period) for period in measures["excess_by_period"].labels("period")]
    several = "s" * (len(periods) > 1)
    text = measures.get("text_matching_excess")
    beside = f" and {text.n} {text.replicate}s of text" if text is not None and text.status == "ok" else ""
    return f"Bootstrap over {measures['excess'].n} sequences (period{several} {listed(periods)}){beside}."


def _methods(measures: Mapping[str, Measure], thresholds: Thresholds) -> str:
    cost = measures.get("forward_passes")
    spent = f" In all, {cost.message}." if cost is not None and cost.status == "ok" else ""
    text = (
        " On the text a head may match, too: its attention to what followed earlier occurrences of the same token"
        " exceeds that at the same offsets without a match, by more than the 99th percentile of heads with the window's"
        " ids shuffled."
    ) * ("text_matching_excess" in measures)
    return (
        "Sequences repeat S distinct random tokens (Olsson et al., 2022), at several periods S. Prefix matching is the"
        " mean attention of later repeats' tokens to the tokens after their earlier occurrences (offset S - 1)."
        " Its excess is over the larger of two controls: the same read-out of sequences without repeats, and"
        " attention at the offsets of the other periods. One-sided p values come from sign flips of the sequences'"
        " excesses, with the Benjamini-Hochberg procedure over heads. The excess of an induction head, its strength,"
        f" has a 95 % interval above {thresholds.matching:g}, and above the 99th percentile of heads with permuted W_Q"
        f" and W_K, at every period, at a false discovery rate of {thresholds.level:g}.{text} It also copies: the"
        " eigenvalue score of W_E W_V W_O W_U (Elhage et al., 2021; norms folded) is at least"
        f" {thresholds.copying:g}. If that score is closer to 0, the direct effect on the repeated token's logit must"
        " exceed the 99th percentile of heads with permuted weights. Strength is weak below"
        f" {thresholds.weak_below:g} and strong from {thresholds.strong_from:g}. Anti-induction heads match and lower"
        " that logit. A head is named by position if its attention to one exceeds even attention by"
        f" {thresholds.positional:g} without repeats. In the shuffled repeat the same tokens come again in another"
        f" order. Groups of heads were chosen on one half of the sequences and ablated on the other.{spent}"
    )
