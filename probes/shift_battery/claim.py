"""The claim card of shift-battery: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.evidence import interval_over
from ..comparing.numbers import Number, number
from ..comparing.verdicts import at_most, percent
from ..measure import Claim, Measure
from ..regression.limits import notes
from ..regression.sign import turned_words
from .limits import limits
from .names import FOLLOWS, GD_MEAN, KIND, ZERO, Shift
from .standing import WORDS, Called, Standing, Verdict, in_words

CITATIONS = (
    "R. Zhang, S. Frei, P. L. Bartlett. Trained transformers learn linear models in-context. JMLR 25, 2024."
    " arXiv:2306.09927.",
    "S. Garg, D. Tsipras, P. Liang, G. Valiant. What can transformers learn in-context? A case study of simple function"
    " classes. NeurIPS 2022. arXiv:2208.01066.",
    "J. von Oswald, E. Niklasson, E. Randazzo, J. Sacramento, A. Mordvintsev, A. Zhmoginov, M. Vladymyrov."
    " Transformers learn in-context by gradient descent. ICML 2023. arXiv:2212.07677.",
    "L. Shen, A. Mishra, D. Khashabi. Do pretrained transformers really learn in-context by gradient descent?"
    " arXiv:2310.08540.",
)
"""Shift laws; tests away from training; the same of gradient descent; the order of demonstrations."""
MANY, TOO_MANY = 10, 100_000
"""Shares from which on they are said as multiples, and from which on nobody asks how large they are."""
NOTHING = "The model's answers do not vary between these tasks, or are not finite, so no rule explains them."


def battery_claim(
    measures: Mapping[str, Measure], sources: tuple[Source, ...], tasks_file: str | None, sign: int | None
) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds at the same step."""
    order = Standing(measures)
    judged = [verdict for verdict in order.verdicts if verdict.called != "undefined"]
    if not judged:
        return Claim(
            found=NOTHING,
            rival="No rule was compared.",
            evidence="None.",
            limits=notes(sources),
            methods=_methods(order, tasks_file),
            citations=CITATIONS,
            badge="No answers to compare",
        )
    return Claim(
        found=turned_words(measures) + _found(order),
        rival=_rival(order),
        evidence=_evidence(measures),
        limits=limits(order, sources, tasks_file, sign),
        methods=_methods(order, tasks_file),
        citations=CITATIONS,
        badge=_badge(order),
    )


def _found(order: Standing) -> str:
    """The rule of most shifts first, then what else there is, each kind of verdict in a sentence of its own."""
    contrast = order.contrast if order.leader else None
    sentences = [
        *_followed(order),
        *([f"{_capital(WORDS[contrast])} under none."] if contrast else []),
        *_several(order, "untrained alike", "So do untrained models"),
        *_unseparated(order),
        *_several(order, "closest", "Closest, but not followed"),
        *_unexplained(order),
        *_undefined(order),
    ]
    return " ".join(sentences)


def _followed(order: Standing) -> list[str]:
    n = len(order.verdicts)
    if order.leader is None:
        return [f"Follows no rule under any of {n} shifts."] if not order.of("not separated", "untrained alike") else []
    first, *others = order.followed
    held = order.followed[first]
    where = f" ({_titles(held)})" * (len(held) < n)
    rest = [f"{_capital(order.title(rule))} under {_titles(order.followed[rule])}." for rule in others]
    return [f"Follows {order.title(first)} under {len(held)} of {n} shifts{where}.", *rest]


def _several(order: Standing, called: Called, words: str) -> list[str]:
    """Shifts of one verdict, those of the same rule together, with what it leaves."""
    found = order.of(called)
    groups = [[verdict for verdict in found if verdict.rule == rule] for rule in dict.fromkeys(v.rule for v in found)]
    return [
        f"{words}: {order.title(held[0].rule)} under {_titles([v.shift for v in held])} ({_range(held)} unexplained)."
        for held in groups
    ]


def _unexplained(order: Standing) -> list[str]:
    held = order.of("none")
    if not held:
        return []
    where = f" under {_titles([v.shift for v in held])}" * (len(held) < len(order.verdicts))
    return [f"The closest leaves {_range(held)} unexplained{where}."]


def _range(held: Sequence[Verdict]) -> str:
    """The least and the largest share of several verdicts."""
    shares = sorted((verdict.share for verdict in held), key=lambda share: share.value)
    return " to ".join(dict.fromkeys(percent(share) for share in (shares[0], shares[-1])))


def _unseparated(order: Standing) -> list[str]:
    """Shifts that leave the same rules together."""
    groups: dict[tuple[str, ...], list[Verdict]] = {}
    for verdict in order.of("not separated"):
        groups.setdefault((verdict.rule, *verdict.others), []).append(verdict)
    return [
        f"{_capital(_titles([v.shift for v in held]))} {'do' if len(held) > 1 else 'does'} not separate"
        f" {order.title(rules[0])} from {in_words([order.title(rule) for rule in rules[1:]])},"
        f" {at_most(_apart(order, held))} of the variance apart."
        for rules, held in groups.items()
    ]


def _apart(order: Standing, held: Sequence[Verdict]) -> str:
    """How far the rules that a shift does not separate are from the one that is named, at most."""
    distances = (order.apart(verdict.rule, other, verdict.shift) for verdict in held for other in verdict.others)
    return percent(max(distances, key=lambda distance: distance.value))


def _undefined(order: Standing) -> list[str]:
    held = [verdict.shift for verdict in order.of("undefined")]
    return [f"Under {_titles(held)} there is nothing to compare."] if held else []


def _badge(order: Standing) -> str:
    n = len(order.verdicts)
    if order.leader is None:
        return "Follows no rule" if not order.of("not separated", "untrained alike") else "No rule is singled out"
    return f"Follows {order.title(order.leader)} under {len(order.followed[order.leader])} of {n} shifts"


def _rival(order: Standing) -> str:
    """The rule that stays closest, of those of another kind than the one that is followed, where it is furthest."""
    kinds = {KIND[ZERO], KIND[order.leader] if order.leader else ""}
    held = {rule: _finite(order, rule) for rule in order.names if KIND[rule] not in kinds and rule != GD_MEAN}
    furthest = {rule: max(shares, key=lambda pair: pair[1].value) for rule, shares in held.items() if shares}
    if not furthest:
        return "Next: none. No rule of another kind has finite answers."
    rule = min(furthest, key=lambda name: furthest[name][1].value)
    shift, share = furthest[rule]
    beside = f"; {order.title(order.leader)} leaves {percent(order.share(order.leader, shift))}" if order.leader else ""
    return (
        f"{'Next' if order.leader else 'Nearest on the whole'}: {order.title(rule)}. Under {shift.title}, where it is"
        f" furthest from the model, it leaves {of_variance(share)} unexplained{beside}."
    )


def _finite(order: Standing, rule: str) -> list[tuple[Shift, Number]]:
    """What a rule leaves under every shift under which that is a number."""
    shares = [(verdict.shift, order.share(rule, verdict.shift)) for verdict in order.verdicts]
    return [pair for pair in shares if np.isfinite(pair[1].value)]


def _evidence(measures: Mapping[str, Measure]) -> str:
    """What was resampled, the law of scales and the order of pairs."""
    shares = measures["worst_unexplained"]
    alike = ", the same at every strength of every shift" * (shares.replicate == "task")
    sentences = [f"{shares.n:,} {shares.replicate}{'s' * (shares.n != 1)}{alike}."]
    power = measures["scale_exponent"].sel(**{CANDIDATE: MODEL})
    if power.has_number:
        sentences.append(
            f"As inputs shrink by c the response goes as c to the power {_exponent(number(power))}: 2 for one step of"
            " gradient descent, 0 for least squares."
        )
    order = measures["order_sensitivity"]
    if order.has_number:
        sentences.append(f"The order of the pairs makes {percent(number(order))} of the answers' variance.")
    return " ".join(sentences)


def _exponent(power: Number) -> str:
    value, *ends = (f"{round(number, 2) + 0.0:.2f}" for number in (power.value, power.low, power.high))
    return value if np.isnan(power.low) else f"{value} (95 % CI {ends[0]} to {ends[1]})"


def _methods(order: Standing, tasks_file: str | None) -> str:
    shares = order.measures["worst_unexplained"]
    source = "Tasks supplied by the user" if tasks_file else "Tasks of the training law"
    titles = in_words([verdict.shift.title for verdict in order.verdicts]) or "no shift"
    how = f"paired bootstrap over {shares.n:,} tasks" if shares.replicate == "task" else interval_over(shares)
    return (
        f"{source} were shifted in {titles}, with the same teachers, inputs and noise at every strength. Gradient"
        " descent, preconditioned gradient descent, GD++ and ridge regression were fitted to the model's predictions on"
        " tasks that were not shifted, and kept as they were; steps sum over pairs at the rate of training. The"
        " unexplained share is the mean squared difference of model and rule over the variance of the model's answers;"
        f" a rule is followed that leaves at most {100 * FOLLOWS:g} % at every strength, by the upper end of its"
        f" interval. 95 % confidence intervals: {how}."
    )


def of_variance(share: Number) -> str:
    """ "0.2 % of the variance"; of a share that is much more than all, how many times as much."""
    if not share.value > MANY:
        return f"{percent(share)} of the variance"
    times = f"{share.value:,.0f}" if share.value < TOO_MANY else f"over {TOO_MANY:,}"
    return f"{times} times the variance"


def _titles(shifts: Sequence[Shift]) -> str:
    return in_words([shift.title for shift in shifts])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
