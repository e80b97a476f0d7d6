"""The claim card of icl-vs-gd: the verdict, the nearest rival, and the numbers behind both, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...models.subject import Source
from ..comparing.evidence import evidence_of, interval_over
from ..comparing.numbers import number
from ..measure import Claim, Measure
from .evidence import evidence_sentences
from .facts import EVERY_PARAMETER, told
from .limits import limits
from .names import (
    ACCURACY,
    BETWEEN,
    DISTANCE,
    GAIN,
    IN_CONTEXT,
    LEARNED,
    PASSES,
    RATE,
    RIVAL_AHEAD,
    RULE,
    SHUFFLED,
    TITLES,
    WAY,
    ZERO_SHOT,
    Rule,
)
from .verdicts import TOO_FEW, Called, Evidence, Verdict, can_be_compared, capital, verdict

CITATIONS = (
    "D. Dai, Y. Sun, L. Dong, Y. Hao, S. Ma, Z. Sui, F. Wei. Why can GPT learn in-context? Language models secretly"
    " perform gradient descent as meta-optimizers. Findings of ACL 2023. arXiv:2212.10559.",
    "G. Deutch, N. Magar, T. Bar Natan, G. Dar. In-context learning and gradient descent revisited. NAACL 2024."
    " arXiv:2311.07772.",
    "L. Shen, A. Mishra, D. Khashabi. Do pretrained transformers learn in-context by gradient descent? ICML 2024."
    " arXiv:2310.08540.",
    "B. Dherin, M. Munn, H. Mazzawi, M. Wunder, J. Gonzalvo. Learning without training: the implicit dynamics of"
    " in-context learning. 2025. arXiv:2507.16003.",
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
)
BADGES: Mapping[Called, str] = {
    "none": "No in-context learning",
    "not compared": "No rule could be compared",
    "not learned": "Gradient descent does not learn these tasks",
    "no trace": "No trace of gradient descent",
    "elsewhere": "Not like gradient descent in the first layer",
    "apart": "Answers are not those of gradient descent",
    "rival": "Closest: a rival without gradients",
    "undecided": "Not decided",
}


def icl_vs_gd_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    found = verdict(Evidence.of(measures))
    notes = (note for source in sources for note in source.notes)
    return Claim(
        found=" ".join([*found.sentences, *_not_compared(measures, found)]),
        rival=_rival(measures, found),
        evidence=" ".join([evidence_of(measures[GAIN]), *evidence_sentences(measures, _told_of(measures, found))]),
        limits=tuple(dict.fromkeys((*limits(measures, found), *notes))),
        methods=" ".join(_methods(measures)),
        citations=CITATIONS,
        badge=_badge(measures, found),
    )


def _badge(measures: Mapping[str, Measure], found: Verdict) -> str:
    if found.sentences[0] == TOO_FEW:
        return "In-context learning not found"
    if found.rule is None:
        return BADGES[found.called]
    nearer = number(measures[RIVAL_AHEAD]).low > 0
    return f"Closest {'rule' if nearer else 'rival'}: {TITLES[found.rule]}"


def _not_compared(measures: Mapping[str, Measure], found: Verdict) -> Iterator[str]:
    """Rules without a setting, or without an interval, and why; nothing where there is nothing to explain."""
    if found.called == "none" or measures[GAIN].n < 2:
        return
    rates = measures.get(RATE)
    for rule, rate in rates.apart().items() if rates is not None else ():
        if rule in TITLES and not rate.has_number:
            why = rate.message.removeprefix(f"{TITLES[rule]}: ").rstrip(".")
            yield f"mesascope did not compare {TITLES[rule]}: {why}."
    for rule, learned in measures[LEARNED].apart().items():
        if not can_be_compared(learned):
            yield f"mesascope did not compare {TITLES[rule]}: {learned.message}."


def _rival(measures: Mapping[str, Measure], found: Verdict) -> str:
    """The strongest alternative."""
    if found.called == "none":
        accuracy = measures[ACCURACY]
        zero_shot, shuffled = (number(accuracy.sel(**{WAY: way})) for way in (ZERO_SHOT, SHUFFLED))
        return f"Accuracy without demonstrations: {zero_shot}. With shuffled labels: {shuffled}."
    return found.rival or "No rival without gradients was compared."


def _told_of(measures: Mapping[str, Measure], found: Verdict) -> Rule | None:
    """The rule whose numbers stand on the card: the one that the verdict names, else the one with the nearest answers,
    of those that learn the demonstrations if any does.
    """
    if found.rule is not None:
        return found.rule
    rules: Sequence[Rule] = found.compared or _rules(measures)
    if not rules:
        return None
    return min(rules, key=lambda rule: measures[DISTANCE].sel(**{RULE: rule, BETWEEN: IN_CONTEXT}).estimate)


def _rules(measures: Mapping[str, Measure]) -> list[Rule]:
    """Those that were compared."""
    return [rule for rule, own in measures[LEARNED].apart().items() if can_be_compared(own)]


# -- methods -----------------------------------------------------------------------------------------------------------


def _methods(measures: Mapping[str, Measure]) -> Iterator[str]:
    parameters = "all parameters" if EVERY_PARAMETER in told(measures) else "W_K and W_V of every layer"
    rules = [TITLES[rule] for rule in _rules(measures)]
    yield (
        "The model was given the same demonstrations twice: in the prompt, and one by one as training examples of"
        f" {' and '.join(rules) or 'gradient descent'} on {parameters}."
    )
    yield from _tuning(measures)
    yield ("Other runs of a rule, at a third of the rate and by Adam, stand in for a model that does gradient descent.")
    yield (
        "Exchanging the labels of the demonstrations changes the direction of attention's output at the last position."
        " The label-swap contrast is the cosine of the change in context and the change after gradient descent. Its"
        " floors: another task's demonstrations, and weights moved as far in random directions."
    )
    yield (
        "SimAOU (Dai et al., 2023) is the cosine of two changes from zero-shot: that of attention's output in context,"
        " and that after gradient descent. Shuffled labels: half of the labels of each class are wrong."
    )
    gain = measures[GAIN]
    if gain.n > 1:
        yield f"95 % confidence intervals: {interval_over(gain)}."
    passes = measures.get(PASSES)
    if passes is not None and passes.has_number and passes.message:
        yield f"In all, {passes.message}."


def _tuning(measures: Mapping[str, Measure]) -> Iterator[str]:
    """gradient descent: rate 1, 64 steps (…)"""
    rates = measures.get(RATE)
    yield "Rates and steps were chosen on other tasks."
    for own in rates.apart().values() if rates is not None else ():
        if own.has_number and own.message:
            yield f"{capital(own.message)}."
