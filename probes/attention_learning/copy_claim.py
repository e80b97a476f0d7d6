"""The claim card of a copy model: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...models.subject import Source
from ..comparing.evidence import evidence_of, interval_over, over_checkpoints
from ..comparing.verdicts import percent, percent_with_interval
from ..measure import Claim, Measure
from .agreement_words import agreement_sentences
from .copy_limits import copy_limits
from .names import (
    ANTI_ATTENTION,
    ATTENTION,
    BETA,
    BY_ATTENTION,
    HALF,
    KTIW,
    NOT_LEARNED,
    OTHERWISE,
    OWN_PROXY,
    TASK,
    TWIN_PROXY,
    UNIFORM,
)  # fmt: skip
from .outcomes import outcome_of
from .papers import CITATIONS
from .standing import share_number
from .training_facts import has_frozen_beta, has_uniform_attention

BADGES = {
    BY_ATTENTION: "Copies by attention",
    ANTI_ATTENTION: "Copies by anti-attention",
    OTHERWISE: "Copies, not by attention to known words",
    NOT_LEARNED: "Has not learned to copy",
}
FOUND = {
    BY_ATTENTION: "The model copies, and it does so by attention to words that it knows.",
    ANTI_ATTENTION: (
        "The model copies, but by anti-attention: hardly any place attends most to its own word, and hardly any word is"
        " read out as itself."
    ),
    OTHERWISE: "The model copies, but not by attention to known words alone.",
    NOT_LEARNED: "The model has not learned to copy.",
}
KNOWS_ONLY = "It knows more than half of the words, but fewer than half of the places attend most to their own word."
ATTENDS_ONLY = "More than half of the places attend most to their own word, but it knows fewer than half of the words."
KNOWS_NEITHER = (
    "It knows fewer than half of the words, and fewer than half of the places attend most to their own word."
)
HELD_UNIFORM = "Its attention is uniform by construction."
HELD_BETA = "Its recipe left what values are formed from, and what is read out of them, as they were initialised."


def copy_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...], learned: float) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    task = measures[f"{TASK}_accuracy"]
    notes = dict.fromkeys(note for source in sources for note in source.notes)
    outcome = None if over_checkpoints(task) else _outcome(measures, learned)
    return Claim(
        found=" ".join(_found(measures, sources, outcome)),
        rival=" ".join(agreement_sentences(measures, (BETA, UNIFORM, TWIN_PROXY, OWN_PROXY))),
        evidence=evidence_of(task),
        limits=(*copy_limits(measures, sources), *notes),
        methods=" ".join(_methods(measures, learned)),
        citations=CITATIONS,
        badge=BADGES[outcome] if outcome else f"{percent(share_number(task))} of words right on average",
    )


def _outcome(measures: Mapping[str, Measure], learned: float) -> str | None:
    task, attention, ktiw = (measures[f"{name}_accuracy"].estimate for name in (TASK, ATTENTION, KTIW))
    return outcome_of(task, attention, ktiw, learned)


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], sources: tuple[Source, ...], outcome: str | None) -> Iterator[str]:
    if outcome is not None:
        yield FOUND[outcome]
    yield _accuracies(measures)
    if outcome == NOT_LEARNED:
        yield from _what_is_known(measures)
    if all(map(has_uniform_attention, sources)):
        yield HELD_UNIFORM
    if all(map(has_frozen_beta, sources)):
        yield HELD_BETA


def _accuracies(measures: Mapping[str, Measure]) -> str:
    accuracies = [measures[f"{name}_accuracy"] for name in (TASK, ATTENTION, KTIW)]
    task, attention, ktiw = (percent_with_interval(share_number(accuracy)) for accuracy in accuracies)
    of = f", means over {accuracies[0].n} {accuracies[0].replicate}s" if over_checkpoints(accuracies[0]) else ""
    return (
        f"Right: {task} of the words{of}. Attending most to their own word: {attention} of the places. Known (KTIW,"
        f" read out as themselves): {ktiw} of the words."
    )


def _what_is_known(measures: Mapping[str, Measure]) -> Iterator[str]:
    """Of a model that has not learned, with accuracies that are clearly on one side of one half."""
    (attends, does_not), (knows, knows_not) = (_sides(measures[f"{name}_accuracy"]) for name in (ATTENTION, KTIW))
    if knows and does_not:
        yield KNOWS_ONLY
    if attends and knows_not:
        yield ATTENDS_ONLY
    if knows_not and does_not:
        yield KNOWS_NEITHER


def _sides(accuracy: Measure) -> tuple[bool, bool]:
    """Whether the whole interval is above one half, and whether it is below."""
    low, high = (float(end) for end in accuracy.interval)
    return low > HALF, high < HALF


# -- methods -----------------------------------------------------------------------------------------------------------


def _methods(measures: Mapping[str, Measure], learned: float) -> Iterator[str]:
    yield (
        "A copy model answers every place of a source with a word. beta is the log-odds of a place's word when all"
        " heads attend to one source place only (the lexical probe of Snell et al., 2021). KTIW, knowledge to translate"
        " individual words, is the share of words that the model names when it attends to them only."
    )
    yield (
        "The agreement of u and v is how often, at the source where u is largest, v is among the largest 5 % (equals in"
        " random order). Nulls: v shuffled over the sources, and v of other targets."
    )
    yield f"A model has learned if at least {100 * learned:g} % of its words are right."
    task = measures[f"{TASK}_accuracy"]
    if task.n > 1:
        yield f"95 % confidence intervals: {interval_over(task)}."
