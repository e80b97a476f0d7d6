"""What a report of icl-vs-gd does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..comparing.evidence import over_checkpoints
from ..comparing.numbers import number, rounded
from ..measure import Measure
from .facts import FREE_TEXT, GENERATED, HALF, LEARNED_POSITIONS, ONE_TASK, RECALL, SHARED, told
from .names import ACCURACY, CHANCE, GAIN, GAIN_BY_LABELS, IN_CONTEXT, LEFT, RATE, TITLES, WAY, ZERO_SHOT
from .tuning import EDGE
from .verdicts import Verdict, capital, open_gain

FEW = 20
"""Tasks below which bootstrap intervals are clearly too narrow."""
RIGHT = 0.95
"""Accuracy above which a model is nearly always right."""

NOT_EXCLUDED = "These tasks do not exclude that {} by up to {}. More of them would tell (`--n-tasks`)."
ON_THESE_TASKS = "Other tasks, more demonstrations or another template may give another answer."
KNOWN_ALREADY = (
    "Without demonstrations accuracy is {} already, and chance is {}. What the model knows beforehand leaves less to"
    " learn in context."
)
NEVER_PERFORMS = (
    "Closest of these rivals does not mean that the model performs {}. Other algorithms may give the same answers."
)
SAME_ANSWERS = (
    "Over all layers the label-swap contrast does not tell gradient descent from other ways to the same answers: the"
    " last layer also sees that the answers agree."
)
NEARLY_ALWAYS_RIGHT = (
    "In context the model is nearly always right, and right answers are alike however they come about. Tasks on which"
    " it errs would tell more."
)
SMALL_MODELS = (
    "The conditions of this verdict come from models of one and two layers that were trained on such tasks. They were"
    " not tested on larger models."
)
OTHER_DESCENTS = "Gradient descent on other parameters, with another loss or another optimizer may learn these tasks."
FIRST_TOKEN = "The outputs are free text. Only the first token of each is judged."
SAME_EXAMPLES = "Several tasks are draws from the same examples of the file. The intervals are too narrow."
NO_OTHER_TASK = "The file holds one task, so the control with another task's demonstrations is not there."
RANDOM_TOKENS = "The tasks are generated. They do not show what the model does with text."
REPEATED = "Queries repeat demonstrations, so gradient descent only has to memorise them, and copying answers them all."
POSITIONS = (
    "Positions are learned, and a query stands at a later position in context than zero-shot. A part of every"
    " difference from zero-shot, SimAOU among them, is that."
)
IN_FLOAT64 = "The weights are in half precision. Gradient descent ran on a copy of higher precision."
AT_EDGE = "{} was tuned to an end of its grid and may not have converged; see `--rates` and `--steps`."
NO_CEILING = "No parameters were fitted to attention in context, so the most that gradient steps can do is not known."
OVER_SEEDS = "These are means over {}s. One {} may learn in another way than the next."


def limits(measures: Mapping[str, Measure], found: Verdict) -> Iterator[str]:
    """All limits of one claim."""
    yield from _of_verdict(measures, found)
    yield from _of_tasks(measures)
    yield from _of_rules(measures, found)
    yield from _of_evidence(measures[GAIN])


def _of_verdict(measures: Mapping[str, Measure], found: Verdict) -> Iterator[str]:
    if found.called == "none":
        yield from _not_excluded(measures)
        yield ON_THESE_TASKS
        yield from _known_already(measures)
    if found.rule is not None:
        yield NEVER_PERFORMS.format(TITLES[found.rule])
    if found.called == "not learned":
        yield OTHER_DESCENTS
    if found.compared:
        yield SAME_ANSWERS
        if measures[ACCURACY].sel(**{WAY: IN_CONTEXT}).estimate > RIGHT:
            yield NEARLY_ALWAYS_RIGHT
        yield SMALL_MODELS


def _not_excluded(measures: Mapping[str, Measure]) -> Iterator[str]:
    """Where an interval reaches down to 0 because it is wide: the first of the two gains that does."""
    gains = [number(measures[name]) for name in (GAIN, GAIN_BY_LABELS)]
    place = open_gain(gains)
    if place is not None:
        words = ("demonstrations raise accuracy", "right labels raise it")[place]
        yield NOT_EXCLUDED.format(words, rounded(gains[place].high))


def _known_already(measures: Mapping[str, Measure]) -> Iterator[str]:
    accuracy, chance = measures[ACCURACY], measures.get(CHANCE)
    if chance is None or not chance.has_number:
        return
    zero_shot = number(accuracy.sel(**{WAY: ZERO_SHOT}))
    if zero_shot.low > chance.estimate:
        yield KNOWN_ALREADY.format(zero_shot, rounded(chance.estimate))


def _of_tasks(measures: Mapping[str, Measure]) -> Iterator[str]:
    facts = told(measures)
    for fact, limit in (
        (GENERATED, RANDOM_TOKENS),
        (RECALL, REPEATED),
        (FREE_TEXT, FIRST_TOKEN),
        (SHARED, SAME_EXAMPLES),
        (ONE_TASK, NO_OTHER_TASK),
        (LEARNED_POSITIONS, POSITIONS),
        (HALF, IN_FLOAT64),
    ):
        if fact in facts:
            yield limit


def _of_rules(measures: Mapping[str, Measure], found: Verdict) -> Iterator[str]:
    """Only where rules are compared."""
    rates = measures.get(RATE)
    for rule, rate in rates.apart().items() if rates is not None else ():
        if rule in found.tried and EDGE in rate.message:
            yield AT_EDGE.format(capital(TITLES[rule]))
    left = measures.get(LEFT)
    if found.compared and (left is None or not left.has_number):
        yield NO_CEILING


def _of_evidence(gain: Measure) -> Iterator[str]:
    if over_checkpoints(gain):
        yield OVER_SEEDS.format(gain.replicate, gain.replicate)
    elif gain.n < FEW:
        yield f"The bootstrap resamples only {gain.n} tasks: its intervals are too narrow."
