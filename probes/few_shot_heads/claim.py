"""The claim card of few-shot-heads: what the measures say, in sentences that do not say more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.evidence import interval_over, over_checkpoints
from ..comparing.numbers import number, rounded
from ..findings import Head, head_name
from ..measure import Claim, Measure
from .limits import limits
from .methods import methods
from .names import (
    ACCURACY,
    AHEAD,
    ANSWER,
    BEYOND,
    BEYOND_OF_PROBABILITY,
    DROP,
    DROP_OF_PROBABILITY,
    EXCESS,
    FUNCTION_VECTOR,
    GAIN,
    GAIN_BY_LABELS,
    GIVEN,
    GROUP,
    GROUP_EXCESS,
    IN_CONTEXT,
    OWN_PROMPT,
    PATCH,
    RANDOM_HEADS,
    RANKED,
    SHUFFLED,
    SIZE,
    TASK_MEAN,
    TOP_OWN,
    TOP_TASK,
    TOTAL,
    WAY,
    ZERO_SHOT,
    Group,
    Patch,
)
from .verdicts import called_sets, learns, of_one_checkpoint

CITATIONS = (
    "E. Todd, M. L. Li, A. Sen Sharma, A. Mueller, B. C. Wallace, D. Bau. Function vectors in large language models."
    " ICLR 2024. arXiv:2310.15213.",
    "K. Yin, J. Steinhardt. Which attention heads matter for in-context learning? ICML 2025. arXiv:2502.14010.",
)
NOT_LEARNED = "No few-shot learning of these tasks, so no head can carry it:"
NO_GAIN = "demonstrations do not clearly raise the accuracy ({})."
NO_GAIN_BY_LABELS = "the labels of the demonstrations do not clearly raise the accuracy ({})."
LEARNED = "The accuracy in context is {}, with shuffled labels {}, and zero-shot {}."
NO_HEAD = "The model learns these tasks in context, but no single head is a function-vector head or an answer head."
OVER_SEEDS = "Heads of different {}s do not correspond; each checkpoint's own report names its heads."
PATCHES: dict[Group, tuple[Patch, str]] = {
    FUNCTION_VECTOR: (TASK_MEAN, "mean over clean prompts of the task"),
    ANSWER: (OWN_PROMPT, "output in the query's own clean prompt"),
}
_NAMED = 4
_NOTHING = 1e-6


def few_shot_claim(measures: Mapping[str, Measure], sources: tuple[Source, ...], level: float) -> Claim:
    """Sentences from numbers: of one checkpoint, or of several seeds, which share no heads."""
    sets = called_sets(measures, level)
    notes = (note for source in sources for note in source.notes)
    return Claim(
        found=" ".join(_found(measures, sets)),
        rival=" ".join(_rival(measures)) or "No heads were compared.",
        evidence=_evidence(measures),
        limits=tuple(dict.fromkeys((*limits(measures, sets), *notes))),
        methods=" ".join(methods(measures, level)),
        citations=CITATIONS,
        badge=_badge(measures, sets),
    )


def _badge(measures: Mapping[str, Measure], sets: Mapping[Group, tuple[Head, ...]]) -> str:
    if not learns(measures):
        return "No few-shot learning"
    if not of_one_checkpoint(measures):
        return "Few-shot learning; heads are not compared"
    if not any(sets.values()):
        return "Few-shot learning by no single head"
    counts = [f"{len(sets[name]) or 'No'} {name} head{'s' * (len(sets[name]) != 1)}" for name in PATCHES]
    return f"{counts[0]}, {counts[1].replace('No', 'no')}"


# -- what was found ----------------------------------------------------------------------------------------------------


def _found(measures: Mapping[str, Measure], sets: Mapping[Group, tuple[Head, ...]]) -> Iterator[str]:
    if not learns(measures):
        yield NOT_LEARNED
        gain, by_labels = measures[GAIN], measures[GAIN_BY_LABELS]
        sentence, about = (NO_GAIN, gain) if not gain.interval[0] > 0 else (NO_GAIN_BY_LABELS, by_labels)
        yield sentence.format(_amount(about))
        return
    if not of_one_checkpoint(measures):
        yield OVER_SEEDS.format(measures[GAIN].replicate)
    else:
        yield _counted(measures, sets)
    for group in PATCHES:
        yield from _ablation(measures, group)
        yield from _put_in(measures, group, sets[group])
    yield LEARNED.format(*(_amount(measures[ACCURACY].sel(**{WAY: way})) for way in (IN_CONTEXT, SHUFFLED, ZERO_SHOT)))


def _counted(measures: Mapping[str, Measure], sets: Mapping[Group, tuple[Head, ...]]) -> str:
    """1 of 8 heads is a function-vector head: L0H2. 2 of 8 heads are answer heads: …"""
    n, words = int(np.prod(measures[EXCESS].values.shape[1:])), []
    for group in PATCHES:
        heads = sets[group]
        if heads:
            article = "an" if group == ANSWER else "a"
            kind = f"is {article} {group} head" if len(heads) == 1 else f"are {group} heads"
            words.append(f"{len(heads)} of {n} heads {kind}: {_names(heads)}.")
        elif any(sets[other] for other in PATCHES):
            words.append(f"No head is {'an' if group == ANSWER else 'a'} {group} head.")
    return " ".join(words) or NO_HEAD


def _names(heads: tuple[Head, ...]) -> str:
    """L1H0, L1H2; of many the first few, and how many more."""
    shown = ", ".join(map(head_name, heads[:_NAMED]))
    return shown + (f" and {len(heads) - _NAMED} more" if len(heads) > _NAMED else "")


def _amount(measure: Measure) -> str:
    """The number with its interval; 0 where it is nothing."""
    low, high = (float(bound) for bound in measure.interval)
    return "0" if max(abs(measure.estimate), abs(low), abs(high)) < _NOTHING else str(number(measure))


def _ablation(measures: Mapping[str, Measure], group: Group) -> Iterator[str]:
    if not measures[DROP].sel(**{GROUP: group}).has_number:
        return
    yield f"On held-out tasks, mean-ablating the {group} heads {_lowers(measures, group)}."
    beyond, likely = (measures[name].sel(**{GROUP: group}) for name in (BEYOND, BEYOND_OF_PROBABILITY))
    if beyond.has_number and not beyond.interval[0] > 0 and not likely.interval[0] > 0:
        yield "Random heads of the same layers cost as much or more."
    elif beyond.has_number:
        yield (
            f"Beyond random heads of the same layers, the accuracy falls by {_amount(beyond)} and the probability by"
            f" {_amount(likely)}."
        )


def _lowers(measures: Mapping[str, Measure], group: Group) -> str:
    """lowers the accuracy in context by 0.4 (95 % CI …) and …; or does not."""
    drop, likely = (measures[name].sel(**{GROUP: group}) for name in (DROP, DROP_OF_PROBABILITY))
    if drop.interval[0] > 0:
        return (
            f"lowers the accuracy in context by {_amount(drop)}, and the right label's probability by {_amount(likely)}"
        )
    return (
        f"does not clearly lower the accuracy in context (by {_amount(drop)}); the right label's probability falls by"
        f" {_amount(likely)}"
    )


def _put_in(measures: Mapping[str, Measure], group: Group, heads: tuple[Head, ...]) -> Iterator[str]:
    """What the set does on tasks that did not choose it, and its strongest head on those that did."""
    patch, what = PATCHES[group]
    together = measures[GROUP_EXCESS].sel(**{PATCH: patch, GROUP: group})
    if not together.has_number or not heads:
        return
    clearly = "" if together.interval[0] > 0 else ", not clearly above 0"
    worth = rounded(float(measures[TOTAL].values))
    yield (
        f"Put into held-out prompts with shuffled labels, their {what} raises the right label's probability by"
        f" {_amount(together)} beyond another shuffle{clearly}; all labels together are worth {worth}."
    )
    if len(heads) > 1:
        excess = measures[EXCESS].sel(**{PATCH: patch})
        layer, head = max(heads, key=lambda place: excess.values[place])
        yield f"The strongest by itself is {head_name((layer, head))}: {_amount(excess.at(layer=layer, head=head))}."


# -- the strongest rival -----------------------------------------------------------------------------------------------


def _rival(measures: Mapping[str, Measure]) -> Iterator[str]:
    """The heads that the user gave, or the strongest heads where none was given."""
    if not learns(measures):
        return
    given = measures[DROP].sel(**{GROUP: GIVEN})
    if given.has_number:
        yield f"Ablating the given heads ({measures[SIZE].sel(**{GROUP: GIVEN}).message}) {_lowers(measures, GIVEN)}."
        for group in PATCHES:
            yield from _ahead(measures[AHEAD].sel(**{GROUP: group}), group)
        yield from _rank(measures[RANKED])
        return
    strongest: dict[Group, str] = {TOP_TASK: "by the task mean", TOP_OWN: "by the query's own prompt"}
    for group, words in strongest.items():
        drop = measures[DROP].sel(**{GROUP: group})
        if drop.has_number:
            random = float(np.nanmean(drop.nulls[RANDOM_HEADS])) if RANDOM_HEADS in drop.nulls else np.nan
            beside = "" if np.isnan(random) else f"; random heads of the same layers cost {rounded(random)}"
            yield f"Ablating the strongest heads {words} {_lowers(measures, group)}{beside}."


def _ahead(ahead: Measure, group: Group) -> Iterator[str]:
    if not ahead.has_number:
        return
    low, high = (float(bound) for bound in ahead.interval)
    if low > 0 or high < 0:
        yield f"The {group} heads cost {_amount(ahead)} more." if low > 0 else f"They cost more than the {group} heads."
    else:
        yield f"The {group} heads do not clearly cost more or less ({_amount(ahead)})."


def _rank(ranked: Measure) -> Iterator[str]:
    for patch, words in ((TASK_MEAN, "the task mean"), (OWN_PROMPT, "the query's own prompt")):
        one = ranked.sel(**{PATCH: patch})
        if one.has_number and not one.axes:
            yield (
                f"By {words}, a given head has a larger excess than another head with probability {_amount(one)}; one"
                " half by chance."
            )


def _evidence(measures: Mapping[str, Measure]) -> str:
    total, gain = measures[TOTAL], measures[GAIN]
    if over_checkpoints(gain) or gain.n == 1:
        return f"{interval_over(gain)}.".replace("bootstrap", "Bootstrap")
    return (
        f"Bootstrap over {gain.n:,} tasks. Heads were chosen on {total.n:,} of them and ablated on the other"
        f" {gain.n - total.n:,}."
    )
