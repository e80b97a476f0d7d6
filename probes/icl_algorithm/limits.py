"""What a report of icl-algorithm does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..algorithms.preconditioned import ONE_STEP
from ..algorithms.preconditioned_steps import SEVERAL_STEPS
from ..comparing.by_candidate import CANDIDATE
from ..comparing.numbers import number
from ..comparing.verdicts import percent, percent_with_interval
from ..measure import Measure
from ..regression.limits import notes, turned
from ..regression.reading_measures import assumed_layout, found_layout, in_words
from .names import EQUAL, TASK_SET
from .standing import WORDS, Standing

NOT_INSIDE = "Agreement in what is answered does not show that the model computes it in this way."
OTHER_RULES = "Other rules than those of the contest were not tried."
OTHER_TASKS = "On tasks of another law the order of the rules may be another."
FILE_LAW = "The law of the tasks in the file is not known, so nothing is said of others like them."
ORDER_MATTERS = "The model's answers change with the order of the pairs"
NO_TASK_SET = "Bayes' rule over a finite task set was not in the contest: no task set is recorded, and none was given."


def limits(order: Standing, sources: tuple[Source, ...], tasks_file: str | None, sign: int | None) -> tuple[str, ...]:
    """All limits of one claim."""
    named = order.verdict in ("agrees", "untrained alike")
    return (
        *([NOT_INSIDE] if named else []),
        OTHER_RULES,
        *_order_of_pairs(order.measures["order_share"]),
        *([FILE_LAW] if tasks_file is not None else [OTHER_TASKS]),
        *_equals(order),
        *_steps(order),
        *_most_steps(order),
        *_preconditioner(order),
        *_left_out(order),
        *_layout(order.measures),
        *turned(order.measures, sign),
        *_no_sensitivities(order.measures),
        *([] if TASK_SET in order.names else [NO_TASK_SET]),
        *notes(sources),
    )


def _order_of_pairs(share: Measure) -> list[str]:
    """Where the order of the pairs changes more of an answer than rules may differ by and still be equal."""
    if not share.has_number or share.estimate < EQUAL:
        return []
    least = percent_with_interval(number(share))
    return [f"{ORDER_MATTERS}: every rule that ignores it leaves at least {least} unexplained."]


def _equals(order: Standing) -> list[str]:
    """Why the winner is not the closest."""
    if order.winner == order.closest or order.verdict == "none":
        return []
    shares = [percent(order.unexplained(name)) for name in (order.closest, order.winner)]
    if shares[0] == shares[1]:
        return []
    fewer = int(order.fitted_settings(order.winner))
    return [
        f"Closest of all is {order.title(order.closest)} ({shares[0]} against {shares[1]} unexplained), with"
        f" {int(order.fitted_settings(order.closest))} fitted settings instead of {fewer}."
    ]


def _steps(order: Standing) -> list[str]:
    """How well these tasks tell how many steps it takes."""
    if order.verdict == "none" or len(order.steps(order.winner)) != 1:
        return []
    steps = order.of("steps", order.winner)
    if steps.points is not None:
        return []
    fewest, most = (int(end) for end in steps.interval)
    if fewest == most:
        return []
    return [f"{fewest} to {most} steps do about as well as {int(steps.estimate)} on the tuning tasks."]


def _most_steps(order: Standing) -> list[str]:
    if order.verdict == "none" or not order.at_most_steps(order.winner):
        return []
    family = WORDS[order.winner]
    return [f"{family.tried[-1]} {family.noun}s are the end of the search. More may come closer."]


def _preconditioner(order: Standing) -> list[str]:
    shown = [one.name for one in (ONE_STEP, SEVERAL_STEPS) if one.name in (order.winner, *order.rivals)]
    return [f"The preconditioner has {int(order.fitted_settings(name))} fitted numbers." for name in shown[:1]]


def _left_out(order: Standing) -> list[str]:
    every = order.measures["prediction_difference"].labels(CANDIDATE)
    absent = [name for name in every if name not in order.names]
    if not absent:
        return []
    return [f"Not ranked, because their predictions are not finite everywhere: {order.titles(absent)}."]


def _layout(measures: Mapping[str, Measure]) -> list[str]:
    found, assumed = found_layout(measures), assumed_layout(measures)
    if assumed is not None:
        return [f"mesascope assumed {in_words(assumed)}. These tasks do not show how the model reads them."]
    return [] if found is None else [f"By the labels of the tuning tasks the model reads {in_words(found.name)}."]


def _no_sensitivities(measures: Mapping[str, Measure]) -> list[str]:
    cosine = measures["cosine"]
    if cosine.status != "not applicable":
        return []
    return [f"The verdict rests on predictions alone: {cosine.message}."]
