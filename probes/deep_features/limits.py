"""What a report of deep-features does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from ...models.subject import Source
from ..regression.limits import notes, turned
from .names import ATTENDED_GD
from .standing import Standing

AS_THEY_STAND = (
    "Gradient descent is taken on features by their inner products as they stand. Attention may weigh them by W_Q and"
    " W_K: a step on features that are linear in these is not found here."
)
ATTENDED = (
    "A step on features as attention reads them takes keys and the query's reading as given. It says that values are"
    " the labels, not that keys and queries are the same features, as gradient descent has them."
)
OUTPUT = "Answers that agree do not show how they are made. What attention reads is compared, not its weights."
LABELS = "Features of context tokens may hold their labels, since the embedding reads both; those of the query cannot."
NO_TWIN = "No twin was given: whether a model with a written step answers alike is not measured."
SLOPES = "With one input the agreement of slopes is one of signs: it counts slopes near 0 as much as others."
READ_OUT = "That a label can be read linearly off a state does not show that the model reads it so."


def limits(order: Standing, sources: tuple[Source, ...], tasks_file: str | None, sign: int | None) -> tuple[str, ...]:
    """All limits of one claim."""
    return (
        *([OUTPUT] if order.called == "agrees" else []),
        *([ATTENDED] if ATTENDED_GD in order.rules else [AS_THEY_STAND]),
        LABELS,
        SLOPES,
        READ_OUT,
        *([] if order.has_twin else [NO_TWIN]),
        *turned(order.measures, sign),
        *notes(sources),
    )
