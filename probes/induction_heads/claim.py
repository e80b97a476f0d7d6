"""The claim card of induction-heads: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...models.subject import Source
from ..measure import Claim, Measure
from .ablation import RANDOM
from .composition import FROM_PREVIOUS, ROTATED
from .nulls import NO_REPEATS, PERMUTED
from .verdicts import LABELS, Evidence, Thresholds, copying_sign, heads_named, matching

CITATIONS = (
    "C. Olsson, N. Elhage, N. Nanda, N. Joseph, N. DasSarma, T. Henighan, et al. In-context learning and induction"
    " heads. Transformer Circuits Thread, 2022. arXiv:2209.11895.",
    "N. Elhage, N. Nanda, C. Olsson, T. Henighan, N. Joseph, B. Mann, et al. A mathematical framework for transformer"
    " circuits. Transformer Circuits Thread, 2021.",
)
Verdicts = Mapping[str, str]
_NAMED = 8  # heads of one verdict that are listed by name


def induction_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], thresholds: Thresholds, verdicts: Verdicts
) -> Claim:
    """Sentences from numbers; without verdicts, over several seeds, those about heads are left out."""
    return Claim(
        found=" ".join(_found(measures, verdicts)),
        rival=" ".join(_rivals(measures, thresholds, verdicts)),
        evidence=_evidence(measures, thresholds, sources),
        limits=tuple(
            dict.fromkeys(
                (*_limits(measures, thresholds, verdicts), *(note for source in sources for note in source.notes))
            )
        ),
        methods=_methods(measures, thresholds),
        citations=CITATIONS,
    )


def number(value: float, low: float = np.nan, high: float = np.nan) -> str:
    """An estimate with its interval, where there is one."""
    interval = "" if np.isnan(low) else f" [{_short(low)}, {_short(high)}]"
    return _short(value) + interval


def _short(value: float) -> str:
    """Three digits; what rounding leaves of nothing is 0."""
    return "0" if abs(value) < 5e-4 else f"{value:.3g}"


def _cell(measure: Measure, cell: tuple[int, ...] = ()) -> str:
    return number(float(measure.values[cell]), *(float(bound[cell]) for bound in measure.interval))


def _ok(measures: Mapping[str, Measure], name: str) -> bool:
    return name in measures and measures[name].status == "ok"


def _names(heads: Sequence[tuple[int, int]]) -> str:
    shown = ", ".join(f"L{layer}H{head}" for layer, head in heads[:_NAMED])
    return shown + f" and {len(heads) - _NAMED} more" * (len(heads) > _NAMED)


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], verdicts: Verdicts) -> Iterable[str]:
    if not verdicts:
        yield "Heads are not compared here: each checkpoint's own report names its heads."
    elif induction := heads_named(verdicts, "induction"):
        scores = measures["prefix_matching_score"].values[tuple(np.array(induction).T)]
        span = _short(scores.min()) if len(scores) == 1 else f"{_short(scores.min())} to {_short(scores.max())}"
        are = "is an induction head" if len(induction) == 1 else "are induction heads"
        yield f"{len(induction)} of {len(verdicts)} heads {are}: {_names(induction)} (prefix matching {span})."
    else:
        yield f"None of the {len(verdicts)} heads is an induction head."
    others = [(label, heads) for label in LABELS[1:7] if (heads := heads_named(verdicts, label))]
    if others:
        listed = "; ".join(f"{label}: {_names(heads)}" for label, heads in others)
        yield f"By the same rules, {listed}."
    yield from _without(measures, verdicts)


def _without(measures: Mapping[str, Measure], verdicts: Verdicts) -> Iterable[str]:
    """What in-context learning there is, and what is left of it without the heads."""
    if not _ok(measures, "in_context_learning_score"):
        return
    score = measures["in_context_learning_score"]
    without = score.nulls.get(NO_REPEATS)
    beside = "" if without is None else f", {_short(float(np.nanmean(without)))} without repeats"
    yield f"In-context learning, the loss of the first run minus that of the second, is {_cell(score)} nat{beside}."
    for place, group in _groups(measures, "group_ablation_mean"):
        rise, left = (measures[f"{name}_mean"] for name in ("group_ablation", "in_context_learning_without"))
        yield (
            f"With all {group} heads set to their means together the loss of the second run rises by"
            f" {_cell(rise, (place,))} nat, and {_cell(left, (place,))} nat of in-context learning are left."
        )


def _groups(measures: Mapping[str, Measure], name: str) -> list[tuple[int, str]]:
    """Groups that were taken away, each with its place."""
    if not _ok(measures, name) or measures[name].axes != ("group",):
        return []
    present = np.isfinite(measures[name].values)
    return [(place, group) for place, group in enumerate(measures[name].labels("group")) if present[place]]


# -- rivals and nulls --------------------------------------------------------------------------------------------------


def _rivals(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> Iterable[str]:
    evidence = Evidence.of(measures)
    if evidence is None:
        yield "No head is compared with a control over several checkpoints."
        return
    excess, induction = measures["excess"], heads_named(verdicts, "induction")
    if induction:
        head = min(induction, key=lambda place: float(excess.values[place]))
        words = f"Least of them over its controls: {_names([head])}, by {_cell(excess, head)} of attention"
    else:
        flat = int(np.nan_to_num(excess.values, nan=-np.inf).argmax())
        head = tuple(int(part) for part in np.unravel_index(flat, excess.values.shape))
        words = f"Strongest of all heads over its controls: {_names([(head[0], head[1])])}, by {_cell(excess, head)}"
    if PERMUTED in excess.nulls:
        draws = len(excess.nulls[PERMUTED])
        words += f"; with W_Q and W_K permuted, {draws} draws, 99 % of heads stay below {_short(evidence.floor)}"
    yield f"{words}; an induction head needs {thresholds.matching:g} at every period."
    for place, group in _groups(measures, "group_ablation_mean"):
        samples = measures["group_ablation_mean"].nulls.get(RANDOM)
        if samples is not None and np.isfinite(samples[:, place]).any():
            known = samples[:, place][np.isfinite(samples[:, place])]
            yield (
                f"Random groups from the same layers instead of the {group} heads: rise {_short(known.min())} to"
                f" {_short(known.max())} nat ({len(known)} draws)."
            )
    yield from _composition(measures, verdicts)


def _composition(measures: Mapping[str, Measure], verdicts: Verdicts) -> Iterable[str]:
    """Of previous-token heads into the induction head that composes most with one, beside random rotations."""
    if not _ok(measures, FROM_PREVIOUS):
        return
    measure = measures[FROM_PREVIOUS]
    later = [head for head in heads_named(verdicts, "induction") if np.isfinite(measure.values[head])]
    if later:
        best = max(later, key=lambda head: float(measure.values[head]))
        samples = measure.nulls[ROTATED][(slice(None), *best)]
        yield (
            f"K-composition of a previous-token head into {_names([best])} is {_short(measure.values[best])}, under"
            f" random rotations {_short(samples.min())} to {_short(samples.max())}."
        )


# -- evidence, limits, methods -----------------------------------------------------------------------------------------


def _evidence(measures: Mapping[str, Measure], thresholds: Thresholds, sources: tuple[Source, ...]) -> str:
    like = next((m for m in measures.values() if m.status == "ok" and m.replicate not in ("none", "")), None)
    if like is None:
        return "None."
    if like.replicate != "sequence":
        return f"95 % intervals: t-interval over {like.n} {like.replicate}s."
    excess = measures["excess"]
    periods = ", ".join(str(period) for period in measures["excess_by_period"].labels("period"))
    return (
        f"95 % intervals: bootstrap over {excess.n} sequences, as many of each period ({periods}); losses and heads"
        " taken away: those of the longest. False discovery rate over"
        f" {excess.values.size} heads: {thresholds.level:g}."
    )


def _limits(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> Iterable[str]:
    yield "Random tokens: what the heads do on natural text is not shown by their verdicts."
    evidence = Evidence.of(measures)
    if evidence is not None:
        yield from _about_heads(measures, thresholds, evidence)
    if heads_named(verdicts, "induction"):
        yield "Single heads stand in for each other: a small rise without one head does not show that it is idle."
    elif _learns(measures) and verdicts:
        yield (
            "The loss falls on the second run without any induction head: raising tokens that were seen before, in any"
            " order, does that too."
        )
    yield "Copying and composition by weights follow the direct path: what MLPs and other heads change is not in them."
    if "text_matching_excess" in measures:
        yield "On the user's own text matches are those of single tokens; longer repeats are not told apart."


def _about_heads(measures: Mapping[str, Measure], thresholds: Thresholds, evidence: Evidence) -> Iterable[str]:
    unclear = np.argwhere(matching(evidence, thresholds) & (copying_sign(evidence, thresholds) == 0))
    if len(unclear):
        yield (
            f"{_names([(int(a), int(b)) for a, b in unclear])}: matches, but neither its weights nor its direct effect"
            " say that it copies; no verdict of a copying head."
        )
    near = measures.get("near_threshold")
    if near is not None and near.values.any():
        yield near.message[0].upper() + near.message[1:] + "."
    periods = measures["excess_by_period"].labels("period")
    if len(periods) < 3:
        yield f"Only {len(periods)} period{'s' * (len(periods) > 1)} fit: whether a peak moves with it is hardly seen."
    if not np.isfinite(evidence.copying).any() and not np.isfinite(evidence.attribution).any():
        yield "Without weights or logits nothing says whether a head copies: no head can be called an induction head."


def _learns(measures: Mapping[str, Measure]) -> bool:
    if not _ok(measures, "in_context_learning_score"):
        return False
    score = measures["in_context_learning_score"]
    without = score.nulls.get(NO_REPEATS)
    return bool(score.interval[0] > max(0.05, 0.0 if without is None else float(np.nanmax(without))))


def _methods(measures: Mapping[str, Measure], thresholds: Thresholds) -> str:
    spent = measures["forward_passes"].message if _ok(measures, "forward_passes") else ""
    cost = f" Cost: {spent}." if spent else ""
    return (
        "Sequences were runs of distinct random tokens said again (Olsson et al., 2022), at several periods S. Prefix"
        " matching is the mean attention of the later runs' queries to the tokens after earlier occurrences of their"
        " own (offset S - 1). Its excess is over the larger of two controls: the same read-out with later runs redrawn,"
        " and attention at the other periods' offsets. One-sided p: sign flips of the excess, sequence by sequence,"
        " with the Benjamini-Hochberg procedure over heads. An induction head exceeds its controls by"
        f" {thresholds.matching:g} at every period, at a false discovery rate of {thresholds.level:g}, by more than the"
        " 99th percentile of heads with W_Q and W_K permuted, and copies: the eigenvalues of W_E W_V W_O W_U (Elhage et"
        f" al., 2021; norms folded) score at least {thresholds.copying:g}, or, within that of 0, its direct effect on"
        " the right logit exceeds that of 99 % of those. Anti-induction heads lower it. Heads are named by position"
        f" where attention to one exceeds even attention by {thresholds.positional:g} without repeats. Groups were"
        f" chosen on one half of the sequences and taken away on the other.{cost}"
    )
