"""The paragraph on methods that a reader copies into a paper."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..measure import Measure
from .choosing import LEAST
from .verdicts import of_one_checkpoint

EFFECTS = (
    "The indirect effect of a head (after Todd et al., 2024): on prompts whose labels carry no rule, its output before"
    " W_O at the last position is replaced by its mean over clean prompts of the task (every label with the same"
    " weight, the query's own prompt left out), or by its output in the query's own clean prompt. The effect is the"
    " change of the right label's probability, averaged over queries and then over tasks."
)
NULL = "Null: the same replacement from prompts whose labels are shuffled another time. The excess is the difference."
CALLED = (
    "A head is called function-vector if its effect by the task mean and its excess have intervals above 0, and the"
    " excess has a false discovery rate over heads of at most {level:g} (sign flips of tasks) and at least {least:.0%}"
    " of the labels' total effect. It is called answer if this holds by the query's own prompt only."
)
SETS = (
    "Sets of heads were chosen on half of the tasks. On the other half their outputs at the last position were replaced"
    " by their means over prompts with shuffled labels of the first half, beside random sets of as many heads of the"
    " same layers."
)


def methods(measures: Mapping[str, Measure], level: float) -> Iterator[str]:
    """Sentence by sentence; what is said of single heads only where there are some."""
    yield EFFECTS
    yield NULL
    if of_one_checkpoint(measures):
        yield CALLED.format(level=level, least=LEAST)
    yield SETS
