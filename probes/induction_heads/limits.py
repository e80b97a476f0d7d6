"""What a report of induction-heads does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from jaxtyping import Bool

from ..findings import Head
from ..measure import Measure
from ..statistics.sign_flips import sequences_needed
from .evidence import Evidence, Thresholds
from .losses import ignores_order, learns_in_context, single, uses_order
from .names import HEADS, LEFT_OUT, RANDOM_HEADS, Verdict
from .verdicts import copying_sign, heads_called, matching, matching_random, matching_text
from .words import head_names, with_interval

Verdicts = Mapping[Head, str]


def limits(measures: Mapping[str, Measure], thresholds: Thresholds, verdicts: Verdicts) -> Iterable[str]:
    """All limits of one claim; without verdicts, over several seeds, those about heads are left out."""
    yield from _about_inputs(measures, thresholds)
    evidence = Evidence.of(measures)
    if evidence is not None:
        yield from _about_heads(measures, thresholds, evidence)
    if induction := heads_called(verdicts, Verdict.INDUCTION):
        yield from _smaller_groups(measures, induction)
        yield "Heads can stand in for each other. A small rise without one head does not show that it is unused."
    elif verdicts:
        yield from _falls_without_them(measures)
    yield "Copying and composition follow the direct path through the weights, without MLPs and other heads."


def _about_inputs(measures: Mapping[str, Measure], thresholds: Thresholds) -> Iterable[str]:
    """Which tokens the model was shown, and what they cannot tell."""
    ids = measures.get("token_ids")
    if "text_matching_excess" in measures:
        yield "On the user's own text, matches are single tokens. Longer repeats are not distinguished."
        yield from _few_samples(measures, thresholds)
    else:
        yield "The sequences are random tokens. The verdicts do not show what a head does on natural text."
        if ids is not None and ids.status == "ok" and ids.sel(ids=LEFT_OUT).values.max() > 0:
            yield f"{ids.message[0].upper()}{ids.message[1:]}."
        yield "Without a text mesascope cannot tell which token ids the model knows. Give one with --text or --tokens."


def _few_samples(measures: Mapping[str, Measure], thresholds: Thresholds) -> Iterable[str]:
    """The text is too short for its test."""
    p = measures.get("text_p_adjusted")
    if p is not None and p.axes == HEADS and not _tested_on_text(measures, thresholds):
        needed = sequences_needed(p.values.size, thresholds.level)
        yield f"The text is too short to call heads by it: {p.n} {p.replicate}s, the test of all heads takes {needed}."


def _tested_on_text(measures: Mapping[str, Measure], thresholds: Thresholds) -> bool:
    """Whether the text could call a head: it has matches, and enough samples for the test of all heads."""
    p = measures.get("text_p_adjusted")
    return p is not None and p.axes == HEADS and p.n >= sequences_needed(p.values.size, thresholds.level)


def _about_heads(measures: Mapping[str, Measure], thresholds: Thresholds, evidence: Evidence) -> Iterable[str]:
    unclear = matching(evidence, thresholds) & (copying_sign(evidence, thresholds) == 0)
    if unclear.any():
        match, it = ("matches", "it copies") if unclear.sum() == 1 else ("match", "they copy")
        names = _names(unclear)
        yield f"{names} {match}, but neither weights nor direct effects show that {it}: no verdict by content."
    if _tested_on_text(measures, thresholds):
        yield from _one_of_both(evidence, thresholds)
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


def _one_of_both(evidence: Evidence, thresholds: Thresholds) -> Iterable[str]:
    """Heads that match on the text or on random tokens only."""
    random, text = matching_random(evidence, thresholds), matching_text(evidence, thresholds)
    for only, where in (
        (text & ~random, "on the text, but not on random tokens"),
        (random & ~text, "on random tokens, but not on the text"),
    ):
        if only.any():
            yield f"{_names(only)} {'matches' if only.sum() == 1 else 'match'} {where}."


def _names(heads: Bool[np.ndarray, "layer head"]) -> str:
    return head_names([(int(layer), int(head)) for layer, head in np.argwhere(heads)])


def _smaller_groups(measures: Mapping[str, Measure], induction: list[Head]) -> Iterable[str]:
    rise = single(measures, "group_ablation", replacement="mean", group=str(Verdict.INDUCTION))
    of_layers = [layer for layer, _ in induction]
    n_heads = measures["excess"].values.shape[1]
    if rise is not None and RANDOM_HEADS in rise.nulls and any(2 * of_layers.count(at) > n_heads for at in of_layers):
        yield "The random groups have fewer heads than the ablated ones: their layers have too few others."


def _falls_without_them(measures: Mapping[str, Measure]) -> Iterable[str]:
    """Why the loss falls on the second repeat though no head is an induction head, as far as that was tested."""
    if not learns_in_context(measures):
        return
    if uses_order(measures):
        gain = with_interval(measures["order_gain"], "nat")
        yield f"The loss falls on the second repeat, where the tokens' order is worth {gain}. No named head does it."
    elif ignores_order(measures):
        yield "The loss falls on the second repeat, but as much when its tokens are shuffled: their order is not used."
    else:
        yield "The loss falls on the second repeat. Whether the order of its tokens is used is not told."
