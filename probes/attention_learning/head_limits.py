"""What a report on a language model's heads does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..comparing.evidence import over_checkpoints
from ..comparing.numbers import rounded
from ..measure import Measure, numbers
from .head_measures import SAME
from .head_verdicts import beside_nulls, head_agreement, too_few
from .names import BETA, CHANCE, OTHER_TARGETS, PAIR, SHUFFLED, TASK, UNIFORM

DIRECT_PATH = (
    "Beta is an approximation: what a key adds to the next token's logit by the direct path, with the final norm held"
    " fixed. What later layers make of a head's write is left out."
)
NO_CAUSE = (
    "An agreement is a correlation in one checkpoint. It does not show whether beta or attention was learned first, or"
    " that one drives the other; compare several training steps (--revision)."
)
NOT_THE_TARGET = (
    "Part of the agreement is not about the target: keys that are attended to also say much about the next token of"
    " other queries ({} with other targets, {} shuffled)."
)
NO_TWIN = "No twin with uniform attention was read: what this model would know without attention is not measured."
BY_SEED = "Heads of different {}s do not correspond. Only means over heads are compared."
SHARED = (
    "The heads share their sequences and the draws of the nulls. How many lie beyond all draws by chance varies more"
    " than for independent heads."
)
NOT_PREDICTED = (
    "The model predicts these tokens no better than chance. What its heads attend to says little about how it predicts"
    " text that it knows."
)
WRITES_NOTHING = "The beta of some heads is the same for every source. Their agreements are at chance by definition."


def head_limits(measures: Mapping[str, Measure]) -> Iterator[str]:
    """All limits of one claim, of measures that have numbers."""
    agreement = measures["agreement"].sel(**{PAIR: BETA.name})
    yield DIRECT_PATH
    yield NO_CAUSE
    yield from _other_targets(agreement)
    if not measures["agreement"].sel(**{PAIR: UNIFORM.name}).has_number:
        yield NO_TWIN
    yield from _accuracy(measures[f"{TASK}_accuracy"])
    heads, compared = head_agreement(measures), beside_nulls(measures)
    if heads is not None and SAME in heads.message:
        yield WRITES_NOTHING
    if compared is not None and (compared.above | compared.below).any():
        yield SHARED
    yield from _evidence(agreement)


def _other_targets(agreement: Measure) -> Iterator[str]:
    """Where what keys say about other targets lies above shuffled keys, draw by draw."""
    if not {SHUFFLED, OTHER_TARGETS} <= agreement.nulls.keys():
        return
    shuffled, others = (numbers(agreement.nulls[name]) for name in (SHUFFLED, OTHER_TARGETS))
    if others.min() > shuffled.max():
        yield NOT_THE_TARGET.format(*(rounded(float(np.mean(draws))) for draws in (others, shuffled)))


def _accuracy(task: Measure) -> Iterator[str]:
    if task.n > 1 and CHANCE in task.nulls and task.interval[0] <= task.nulls[CHANCE].max():
        yield NOT_PREDICTED


def _evidence(agreement: Measure) -> Iterator[str]:
    """What there was too little of."""
    if over_checkpoints(agreement):
        yield BY_SEED.format(agreement.replicate)
    elif agreement.n == 1:
        yield "One sequence has no interval."
    elif too_few(agreement):
        yield f"The bootstrap resamples only {agreement.n} sequences: its intervals are too narrow."
