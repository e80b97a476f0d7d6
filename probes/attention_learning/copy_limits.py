"""What a report on copy models does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ...models.subject import Source
from ..measure import Measure
from .names import PAIR, TASK, UNIFORM
from .training_facts import co_occurrence_is_told, has_uniform_attention

NO_CAUSE = (
    "An agreement does not show which came first, or that one drives the other: compare with a training whose attention"
    " is held uniform, and with one whose beta is frozen."
)
ONE_TASK = (
    "Words are copied, so their translation is known. What is found holds for this task and this model, with its"
    " initialisation, and not for translation in general."
)
SAME_BAGS = (
    "Every source holds all words: which words occur together says nothing. Agreements with co-occurrence are at chance"
    " whatever the model does."
)
NO_TWIN = "No twin with uniform attention was read: what co-occurrence alone would teach this model is not known."


def copy_limits(measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Iterator[str]:
    """All limits of one claim."""
    yield NO_CAUSE
    yield ONE_TASK
    if all(co_occurrence_is_told(source) is False for source in sources):
        yield SAME_BAGS
    lacks_twin = measures["agreement"].sel(**{PAIR: UNIFORM.name}).status != "ok"
    if lacks_twin and not all(map(has_uniform_attention, sources)):
        yield NO_TWIN
    task = measures[f"{TASK}_accuracy"]
    if task.n == 1:
        yield f"One {task.replicate} has no interval."
