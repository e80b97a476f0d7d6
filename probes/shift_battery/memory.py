"""About how much memory and how much work the probe takes."""

from __future__ import annotations

from ...models.subject import Regressor
from ..probe import Cost
from .battery import NULL_TASKS, NULL_TUNING, SHIFTED_TASKS, UNTRAINED

_STATISTICS = 150_000_000  # bytes of resamples and libraries, as measured
_COPIES = 12  # of the tasks of the longest contexts in float64, alive at the peak
_PASSES = 40  # over the tasks at N pairs that all strengths take; as counted, with longer contexts
_OPERATIONS = 150_000  # of fits and untrained models, as measured
_LONGEST = 4


def memory_in_bytes(tasks_in_bytes: int, n_tasks: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    shifted = min(n_tasks, SHIFTED_TASKS) * tasks_in_bytes // max(n_tasks, 1)
    return _STATISTICS + tasks_in_bytes * 4 + _COPIES * _LONGEST * shifted


def cost(subject: Regressor, n_tasks: int, n_context: int, batch_size: int) -> Cost:
    shifted = min(n_tasks, SHIFTED_TASKS)
    nulls = UNTRAINED * (NULL_TASKS + NULL_TUNING / _PASSES)
    tokens = _PASSES * (shifted + nulls) * (n_context + 1)
    return Cost(tokens, 0, 0, _OPERATIONS, (min(batch_size, shifted), n_context + 1))
