"""What a report of spectral-filter does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ...models.subject import Source
from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, GRADIENT_FLOW, RIDGE
from ..comparing.numbers import rounded
from ..measure import Measure
from ..regression.limits import notes, turned
from ..regression.reading_measures import assumed_layout, found_layout, in_words
from .names import KIND
from .standing import Standing

SQUARES = "Shares are of squares: 1 % of E|W|² is a tenth of the norm of W."
NOT_INSIDE = "The same filter does not show that the model computes it in this way."
AT_THE_QUERY = "W is the derivative of the answer at the query. What else the answer does elsewhere is not in it."
OTHER_TASKS = "The filter is that of these tasks. A model may have another one for another law, or another N."
FILE_LAW = "The law of the tasks in the file is not known, so nothing is said of others like them."
DEGREE = (
    "The exact degree is a lower bound: terms that leave less than a billionth of E|W|² are not seen on these tasks."
)


def limits(
    found: Sequence[Standing],
    measures: Mapping[str, Measure],
    sources: tuple[Source, ...],
    tasks_file: str | None,
    sign: int | None,
    exact: bool,
) -> tuple[str, ...]:
    """All limits of one claim."""
    output = found[-1]
    named = output.called in ("named", "untrained alike")
    return (
        *([NOT_INSIDE] if named else []),
        *(_steps(output) if named else []),
        *(_bayes(output) if named else []),
        SQUARES,
        *([] if exact else [AT_THE_QUERY]),
        *([FILE_LAW] if tasks_file is not None else [OTHER_TASKS]),
        *([DEGREE] if np.isfinite(measures["polynomial_degree"].sel(**{KIND: "exact"}).values).any() else []),
        *reading_limits(measures, sign),
        *notes(sources),
    )


def reading_limits(measures: Mapping[str, Measure], sign: int | None) -> list[str]:
    """Of how the model was read."""
    found, assumed = found_layout(measures), assumed_layout(measures)
    if assumed is not None:
        layout = [f"mesascope assumed {in_words(assumed)}. These tasks do not show how the model reads them."]
    else:
        layout = [] if found is None else [f"By the labels of the tuning tasks the model reads {in_words(found.name)}."]
    return [*layout, *turned(measures, sign)]


def _steps(output: Standing) -> list[str]:
    """How well the filter tells how many steps it takes."""
    if output.rule not in (GRADIENT_DESCENT.name, GRADIENT_FLOW.name, GDPP.name):
        return []
    name = GDPP.name if output.rule == GDPP.name else GRADIENT_DESCENT.name
    steps = output.of("steps", name)
    if steps.points is not None:
        return []
    fewest, most = (int(end) for end in steps.interval)
    words = output.family(name).words
    if name == GRADIENT_DESCENT.name and output.small_steps:
        time = rounded(output.time)
        return [
            f"{fewest} or more steps of {words} are as close: only the product of steps and learning rate, {time}, is"
            " known."
        ]
    return [] if fewest == most else [f"{fewest} to {most} steps of {words} are as close."]


def _bayes(output: Standing) -> list[str]:
    """What ridge's penalty stands for."""
    noise = output.measures["noise_variance"]
    if output.rule != RIDGE.name or not noise.has_number:
        return []
    return [
        "With this penalty ridge regression is Bayes' rule for labels with noise of variance"
        f" {rounded(noise.at(layer=output.layer).estimate)}. That these tasks have it is not said."
    ]
