"""What a report of shift-battery does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..algorithms.filtered import MOST_STEPS
from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.numbers import number
from ..comparing.verdicts import AGREES
from ..measure import Measure
from ..regression.limits import notes, turned
from ..regression.reading_measures import assumed_layout, found_layout, in_words
from ..regression.splits import recorded_law
from .names import BAYES, GD, GD_MEAN, SHIFTS
from .standing import Standing

NOT_INSIDE = "Following a rule on shifted tasks does not show that the model computes it in this way."
OTHER_RULES = "Other rules than those of the table were not tried, Bayes' rule over a finite set of tasks among them."
OTHER_SHIFTS = (
    "Each shift was made by itself. The query was scaled, not moved; teachers were moved, not made longer; inputs kept"
    " the shape of their distribution."
)
FILE_LAW = "The law of the tasks in the file is not known, so there was no shift of their {}, and no longer context."
FILE_SCALE = "Labels of the file were scaled along with its inputs, as those of a linear teacher would be."
NO_NOISE = (
    "Without noise in training, Bayes' rule under the law of training is minimum-norm least squares, and has no row of"
    " its own."
)
NO_PRIOR = (
    "The law of training is not recorded. The tasks that were drawn, and Bayes' rule, may be those of another law."
)
NEVER_AGREED = "On tasks as in training no rule agrees with the model, so none was expected to follow it elsewhere."
SUMS = "With fixed weights a layer of linear attention sums over its pairs. A step as large as that is what `gd` takes."
MOST = f"{MOST_STEPS} steps of gradient descent are the end of the search: on tasks as in training, next to a solution."
CORRUPTED = "The recorded law replaces labels by noise. The shifted tasks do not."


def limits(order: Standing, sources: tuple[Source, ...], tasks_file: str | None, sign: int | None) -> tuple[str, ...]:
    """All limits of one claim."""
    return (
        *([NOT_INSIDE] if order.leader else []),
        *_training(order.measures),
        OTHER_RULES,
        OTHER_SHIFTS,
        *([SUMS] if order.leader == GD else []),
        *([MOST] if MOST_STEPS in order.steps(GD) and _named(order) else []),
        *(_file() if tasks_file is not None else _law(order, sources)),
        *_left_out(order.measures),
        *_layout(order.measures),
        *turned(order.measures, sign),
        *notes(sources),
    )


def _named(order: Standing) -> bool:
    """Whether gradient descent stands in the sentences on shifts."""
    return any({GD, GD_MEAN} & {verdict.rule, *verdict.others} for verdict in order.verdicts)


def _training(measures: Mapping[str, Measure]) -> list[str]:
    """Whether some rule agreed before anything was shifted: at the strength of training, the same for every shift."""
    shares = measures["unexplained_scale"]
    if "input_scale" not in shares.axes:
        return []
    held = (number(shares.sel(**{CANDIDATE: name, "input_scale": 1.0})) for name in shares.labels(CANDIDATE))
    return [] if any(share.value <= AGREES**2 for share in held) else [NEVER_AGREED]


def _file() -> list[str]:
    absent = [shift.title for shift in SHIFTS if shift.of_law]
    return [FILE_LAW.format(f"{', '.join(absent[:-1])} or {absent[-1]}"), FILE_SCALE]


def _law(order: Standing, sources: tuple[Source, ...]) -> list[str]:
    laws = [recorded_law(source.record) for source in sources]
    return [
        *([] if BAYES in order.names else [NO_NOISE]),
        *([] if all(laws) else [NO_PRIOR]),
        *([CORRUPTED] if any(law.get("n_corrupted") for law in laws) else []),
    ]


def _left_out(measures: Mapping[str, Measure]) -> list[str]:
    """Strengths that the model refuses, or answers with what is no number."""
    found = []
    for shift in SHIFTS:
        response = measures[f"response_{shift.name}"]
        part = response.sel(**{CANDIDATE: MODEL}) if CANDIDATE in response.axes else response
        reasons = (text for text in part.message.split("; ") if text.startswith("the model"))
        found += [f"Left out of {shift.title}: {reason}." for reason in reasons]
    return found


def _layout(measures: Mapping[str, Measure]) -> list[str]:
    found, assumed = found_layout(measures), assumed_layout(measures)
    if assumed is not None:
        return [f"mesascope assumed {in_words(assumed)}. These tasks do not show how the model reads them."]
    return [] if found is None else [f"By the labels of the tuning tasks the model reads {in_words(found.name)}."]
