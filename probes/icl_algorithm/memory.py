"""About how much memory and how much work the probe takes."""

from __future__ import annotations

from ...models.subject import Regressor
from ..probe import Cost

_STATISTICS = 150_000_000  # bytes of resamples, matrices and libraries, as measured
_COPIES = 40  # of the tasks in float64, alive at the peak; as measured
_PASSES = 44  # plain passes over the tasks that take as long as what is done with them
_OPERATIONS = 600_000  # of all fits, as measured


def memory_in_bytes(tasks_in_bytes: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    return _STATISTICS + _COPIES * tasks_in_bytes


def cost(subject: Regressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
    tokens = tasks_in_bytes / (8 * (subject.d_in + subject.d_out))
    n_tasks = max(int(tokens) // (n_context + 1), 1)
    return Cost(_PASSES * tokens, 0, 0, _OPERATIONS, (min(batch_size, n_tasks), n_context + 1))
