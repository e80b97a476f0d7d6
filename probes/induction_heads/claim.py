"""The claim card of induction-heads: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ...models.subject import Source
from ..findings import Head, head_name
from ..measure import Claim, Measure
from .names import NO_REPEATS, RANDOM_HEADS, Verdict
from .verdicts import Evidence, Thresholds, copying_sign, heads_called, matching
from .words import head_names, listed, spread, with_interval

CITATIONS = (
    "C. Olsson, N. Elhage, N. Nanda, N. Joseph, N. DasSarma, T. Henighan, et al. In-context learning and induction"
    " heads. Transformer Circuits Thread, 2022. arXiv:2209.11895.",
    "N. Elhage, N. Nanda, C. Olsson, T. Henighan, N. Joseph, B. Mann, et al. A mathematical framework for transformer"
    " circuits. Transformer Circuits Thread, 2021.",
)
Verdicts = Mapping[Head, str]
LEARNS = 0.05
"""In-context learning score in nat, and that without repeats, which a model must exceed to learn in context."""


def induction_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], thresholds: Thresholds, verdicts: Verdicts
) -> Claim:
    """Sentences from numbers; without verdicts, over several seeds, those about heads are left out."""
    notes = (note for source in sources for note in source.notes)
    return Claim(
        found=" ".join(_found(measures, verdicts)),
        rival=_rival(measures, thresholds, verdicts),
        evidence=_evidence(measures),
        limits=tuple(dict.fromkeys((*_limits(measures, thresholds, verdicts), *notes))),
        methods=_methods(measures, thresholds),
        citations=CITATIONS,
    )


def _single(measures: Mapping[str, Measure], name: str, **labels: str) -> Measure | None:
    """A single number among the measures; None where there is none."""
    measure = measures.get(name)
    if measure is None or not set(labels) <= set(measure.axes):
        return None
    chosen = measure.sel(**labels)
    return chosen if chosen.status == "ok" and not chosen.axes and chosen.has_number else None


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], verdicts: Verdicts) -> Iterable[str]:
    induction = heads_called(verdicts, Verdict.INDUCTION)
    if not verdicts:
        yield "Heads are not compared over checkpoints; each checkpoint's own report names its heads."
    elif induction:
        scores = measures["prefix_matching_score"].values[tuple(np.array(induction).T)]
        are = "is an induction head" if len(induction) == 1 else "are induction heads"
        named = f"{head_names(induction)} (prefix matching {spread(scores)})"
        yield f"{len(induction)} of {len(verdicts)} heads {are}: {named}."
    else:
        yield f"None of the {len(verdicts)} heads is an induction head."
    yield from _loss(measures, induction)


def _loss(measures: Mapping[str, Measure], induction: list[Head]) -> Iterable[str]:
    """What the induction heads are needed for; where none was ablated, what the model learns in context."""
    rise = _rise(measures)
    if rise is not None and induction:
        them = "it" if len(induction) == 1 else "all of them"
        yield f"Mean-ablating {them} raises the loss on the second repeat by {with_interval(rise, 'nat')}."
    elif (score := _single(measures, "in_context_learning_score")) is not None:
        words = "In-context learning score (loss on the first repeat minus loss on the second)"
        yield f"{words}: {with_interval(score, 'nat')}."


def _rise(measures: Mapping[str, Measure]) -> Measure | None:
    """Of the loss on the second repeat, without all induction heads."""
    return _single(measures, "group_ablation", replacement="mean", group=str(Verdict.INDUCTION))


# -- the strongest rival or null ---------------------------------------------------------------------------------------


def _rival(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> str:
    if Evidence.of(measures) is None:
        return "No head is compared with a control over several checkpoints."
    induction, rise = heads_called(verdicts, Verdict.INDUCTION), _rise(measures)
    if induction and rise is not None and RANDOM_HEADS in rise.nulls:
        draws = rise.nulls[RANDOM_HEADS]
        return f"Random heads: {spread(draws)} nat (minimum to maximum of {len(draws)} draws)."
    return _rival_excess(measures["excess"], induction, thresholds)


def _rival_excess(excess: Measure, induction: list[Head], thresholds: Thresholds) -> str:
    """The called head that is nearest to its controls, or of those without a name the one farthest from them."""
    if induction:
        head, words = min(induction, key=lambda place: float(excess.values[place])), "Smallest"
    else:
        filled = np.nan_to_num(excess.values, nan=-np.inf)
        layer, place = np.unravel_index(int(filled.argmax()), filled.shape)
        head, words = (int(layer), int(place)), "Largest"
    found = with_interval(excess.at(layer=head[0], head=head[1]))
    return (
        f"{words} excess over controls: {head_name(head)}, {found}."
        f" An induction head needs {thresholds.matching:g} at every period."
    )


# -- evidence, limits, methods -----------------------------------------------------------------------------------------


def _evidence(measures: Mapping[str, Measure]) -> str:
    like = next((m for m in measures.values() if m.status == "ok" and m.replicate not in ("none", "")), None)
    if like is None:
        return "None."
    if like.replicate != "sequence":
        return f"t-interval over {like.n} {like.replicate}s."
    periods = [str(period) for period in measures["excess_by_period"].labels("period")]
    several = "s" * (len(periods) > 1)
    return f"Bootstrap over {measures['excess'].n} sequences (period{several} {listed(periods)})."


def _limits(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> Iterable[str]:
    yield "The sequences are random tokens. The verdicts do not show what a head does on natural text."
    evidence = Evidence.of(measures)
    if evidence is not None:
        yield from _about_heads(measures, thresholds, evidence)
    if induction := heads_called(verdicts, Verdict.INDUCTION):
        yield from _smaller_groups(measures, induction)
        yield "Heads can stand in for each other. A small rise without one head does not show that it is unused."
    elif _learns(measures) and verdicts:
        yield (
            "The loss falls on the second repeat without any induction head. Raising the logits of all earlier tokens"
            " does that, too."
        )
    yield "Copying and composition follow the direct path through the weights, without MLPs and other heads."
    if "text_matching_excess" in measures:
        yield "On the user's own text, matches are single tokens. Longer repeats are not distinguished."


def _smaller_groups(measures: Mapping[str, Measure], induction: list[Head]) -> Iterable[str]:
    rise = _rise(measures)
    of_layers = [layer for layer, _ in induction]
    n_heads = measures["excess"].values.shape[1]
    if rise is not None and RANDOM_HEADS in rise.nulls and any(2 * of_layers.count(at) > n_heads for at in of_layers):
        yield "The random groups have fewer heads than the ablated ones: their layers have too few others."


def _about_heads(measures: Mapping[str, Measure], thresholds: Thresholds, evidence: Evidence) -> Iterable[str]:
    unclear = np.argwhere(matching(evidence, thresholds) & (copying_sign(evidence, thresholds) == 0))
    if len(unclear):
        match, it = ("matches", "it copies") if len(unclear) == 1 else ("match", "they copy")
        names = head_names([(int(layer), int(head)) for layer, head in unclear])
        yield f"{names} {match}, but neither weights nor direct effects show that {it}: no verdict by content."
    near = measures.get("near_threshold")
    if near is not None and near.values.any():
        yield near.message[0].upper() + near.message[1:] + "."
    periods = measures["excess_by_period"].labels("period")
    if len(periods) == 1:
        yield "Only 1 period was used. Whether the attention peak moves with the period is not tested."
    if len(periods) == 2:
        yield "Only 2 periods were used. Whether the attention peak moves with the period is tested at two."
    if not np.isfinite(evidence.copying).any() and not np.isfinite(evidence.attribution).any():
        yield "The probe can read neither weights nor logits, so it can call no head an induction head."


def _learns(measures: Mapping[str, Measure]) -> bool:
    score = _single(measures, "in_context_learning_score")
    if score is None:
        return False
    without = score.nulls.get(NO_REPEATS, np.zeros(1))
    return bool(score.interval[0] > max(LEARNS, float(np.nanmax(without))))


def _methods(measures: Mapping[str, Measure], thresholds: Thresholds) -> str:
    cost = measures.get("forward_passes")
    spent = f" In all, {cost.message}." if cost is not None and cost.status == "ok" else ""
    return (
        "Sequences repeat S distinct random tokens (Olsson et al., 2022), at several periods S. Prefix matching is the"
        " mean attention of later repeats' tokens to the tokens after their earlier occurrences (offset S - 1)."
        " Its excess is over the larger of two controls: the same read-out of sequences without repeats, and"
        " attention at the offsets of the other periods. One-sided p values come from sign flips of the sequences'"
        " excesses, with the Benjamini-Hochberg procedure over heads. An induction head exceeds its controls by"
        f" {thresholds.matching:g} at every period, at a false discovery rate of {thresholds.level:g}, and by more than"
        " the 99th percentile of heads with permuted W_Q and W_K. It also copies: the eigenvalue score of W_E W_V W_O"
        f" W_U (Elhage et al., 2021; norms folded) is at least {thresholds.copying:g}. If that score is closer to 0,"
        " the direct effect on the repeated token's logit must exceed the 99th percentile of heads with permuted"
        " weights. Anti-induction heads match and lower that logit. A head is named by position if its attention"
        f" to one exceeds even attention by {thresholds.positional:g} without repeats. Groups of heads were chosen on"
        f" one half of the sequences and ablated on the other.{spent}"
    )
