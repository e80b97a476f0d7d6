"""About how much memory and how much work the probe takes: by the number of tasks, and steps of constructed models."""

from __future__ import annotations

from ...models.subject import Regressor
from ..probe import Cost

_STATISTICS = 40_000_000  # bytes of resamples, models and libraries, whatever the tasks; as measured
_COPIES, _COPIES_A_STEP = 17, 8  # of the tasks in float64, alive at the peak; as measured with one and two layers
_PASSES, _PASSES_A_STEP = 220, 200  # plain passes over the tasks that take as long as what is done with them
_OPERATIONS = 150_000
_SHARED = 0.85  # drawing and fitting, as measured


def memory_in_bytes(tasks_in_bytes: int, steps: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    return _STATISTICS + tasks_in_bytes * (_COPIES + _COPIES_A_STEP * steps)


def cost(subject: Regressor, tasks_in_bytes: int, steps: int, n_context: int, batch_size: int) -> Cost:
    """Of one checkpoint: the others of a family share its tasks and what is fitted on them."""
    tokens = tasks_in_bytes / (8 * (subject.d_in + subject.d_out))
    n_tasks = max(int(tokens) // (n_context + 1), 1)
    passes = _PASSES + _PASSES_A_STEP * steps
    return Cost(passes * tokens, 0, 0, _OPERATIONS, (min(batch_size, n_tasks), n_context + 1), _SHARED)
