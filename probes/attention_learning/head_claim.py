"""The claim card of a language model: what the measures say of its heads, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.evidence import evidence_of, interval_over, over_checkpoints
from ..comparing.heads_beside_nulls import FEWEST, HeadsBesideNulls
from ..comparing.numbers import number
from ..findings import head_name
from ..measure import Claim, Measure
from .agreement_words import agreement_sentences, beside
from .head_limits import head_limits
from .head_verdicts import beside_nulls, head_agreement, too_few
from .names import BETA, CHANCE, OWN_PROXY, OWN_SALIENCY, PAIR, SALIENCY, TASK, TWIN_PROXY, UNIFORM
from .papers import CITATIONS
from .standing import standing_of

NO_NUMBER = "mesascope did not compare the attention of this model's heads with beta: {}."
FEW_SEQUENCES = f"Which heads follow beta cannot be told: {{}} too few, expected at least {FEWEST}."
FEW_DRAWS = "Which heads follow beta cannot be told: a null has too few draws."
NONE_FOLLOWS = (
    "No head follows beta: none attends most to a key that says much about the next token more often than by chance."
)
COULD_BE_CHANCE = "So few could be chance: this count alone is no evidence that heads follow beta."
OVER_HEADS = "Averaged over all heads:"
PAIRS_IN_WORDS = (BETA, UNIFORM, OWN_SALIENCY, SALIENCY, OWN_PROXY, TWIN_PROXY)
BADGES = {
    "above": "Attention agrees with beta",
    "below": "Attention avoids beta",
    "not told apart": "Attention and beta: not above chance",
    "cannot tell": "Attention and beta: cannot be told",
}
"""Where heads are not counted: over several seeds."""


def head_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step, which share no heads."""
    agreement = measures["agreement"].sel(**{PAIR: BETA.name})
    notes = tuple(dict.fromkeys(note for source in sources for note in source.notes))
    if standing_of(agreement) is None:
        return Claim(
            found=NO_NUMBER.format(agreement.message),
            rival="Nothing was compared.",
            evidence="None.",
            limits=notes,
            methods=" ".join(_definitions()),
            citations=CITATIONS,
            badge="Heads not compared with beta",
        )
    return Claim(
        found=" ".join(_found(measures, agreement)),
        rival=" ".join([OVER_HEADS, *agreement_sentences(measures, PAIRS_IN_WORDS)]),
        evidence=evidence_of(agreement),
        limits=(*head_limits(measures), *notes),
        methods=" ".join([*_definitions(), *_statistics(measures, agreement)]),
        citations=CITATIONS,
        badge=_badge(measures, agreement),
    )


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], agreement: Measure) -> Iterator[str]:
    compared = beside_nulls(measures)
    if compared is not None:
        yield from _counted(measures, compared)
    elif too_few(agreement):
        yield FEW_SEQUENCES.format(f"{agreement.n} sequence{'s are' if agreement.n > 1 else ' is'}")
    elif not over_checkpoints(agreement):
        yield FEW_DRAWS
    else:
        models = f"{agreement.n} {agreement.replicate}s"
        yield f"Averaged over heads and {models}, attention agrees with beta at {number(agreement)}."
    yield from _accuracy(measures)


def _counted(measures: Mapping[str, Measure], compared: HeadsBesideNulls) -> Iterator[str]:
    """How many heads follow beta, the one that does most, and how many do the reverse."""
    follow, against, told = (int(of.sum()) for of in (compared.above, compared.below, compared.told))
    heads = head_agreement(measures)
    if follow and heads is not None:
        place = np.unravel_index(np.argmax(np.where(compared.above, heads.values, -np.inf)), heads.values.shape)
        layer, head = map(int, place)
        most = heads.at(layer=layer, head=head)
        yield (
            f"{follow} of {told} heads follow{'s' * (follow == 1)} beta: more often than by chance they attend most to"
            " a key that says much about the next token."
        )
        yield f"The most: {head_name((layer, head))}, {number(most)}{beside(most)}."
    else:
        yield NONE_FOLLOWS
    if against:
        yield f"{against} of {told} attend{'s' * (against == 1)} most to such keys less often than by chance."
    yield f"By chance at most {compared.by_chance:.2g} heads would lie beyond all draws on each side, on average."
    if follow and compared.could_be_chance:
        yield COULD_BE_CHANCE


def _accuracy(measures: Mapping[str, Measure]) -> Iterator[str]:
    task = measures[f"{TASK}_accuracy"]
    if task.has_number:
        yield f"The model's next-token accuracy on these queries is {number(task)}; chance is {_chance(task)}."


def _chance(task: Measure) -> str:
    return f"{float(np.nanmean(task.nulls[CHANCE])):.2g}"


def _badge(measures: Mapping[str, Measure], agreement: Measure) -> str:
    compared = beside_nulls(measures)
    if compared is not None:
        follow, told = int(compared.above.sum()), int(compared.told.sum())
        return f"{follow} of {told} heads follow beta" if follow else "No head follows beta"
    if not over_checkpoints(agreement):
        return BADGES["cannot tell"]
    return BADGES[standing_of(agreement) or "cannot tell"]


# -- methods -----------------------------------------------------------------------------------------------------------


def _definitions() -> list[str]:
    return [
        "The target of a query is the next token y. For each attention head, beta of a key s is v_s W_O u_y (after the"
        " lexical probe of Snell et al., 2021): v_s is the head's value at s, W_O its output matrix, and u_y the"
        " column of y of the unembedding, minus the mean over all columns and scaled as the final norm does. It is what"
        " the head would add to the logit of y by the direct path if it attended to s only, beyond the mean over the"
        " vocabulary.",
        "The agreement of u and v is how often, at the key where u is largest, v is among the largest 5 % of the keys"
        " that the query attends to (equals in random order).",
    ]


def _statistics(measures: Mapping[str, Measure], agreement: Measure) -> Iterator[str]:
    yield "Numbers are means over evenly spaced queries of each sequence."
    if measures["agreement"].sel(**{PAIR: OWN_SALIENCY.name}).has_number:
        yield "Saliency is a token's embedding times the gradient of log p(y) with respect to it."
    yield (
        "Nulls: v shuffled over the keys of each query (one permutation a sequence), and v of another target, what the"
        " same keys say about the next token of another query."
    )
    if not over_checkpoints(agreement):
        yield "A head follows beta if its whole interval lies above all draws of both nulls."
    if agreement.n > 1:
        yield f"95 % confidence intervals: {interval_over(agreement)}."
