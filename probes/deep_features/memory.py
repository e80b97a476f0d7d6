"""About how much memory and how much work the probe takes."""

from __future__ import annotations

from ...models.regressors import TransformerRegressor
from ..probe import Cost

_STATISTICS = 100_000_000  # bytes of resamples and libraries, as measured
_COPIES = 14  # of the tasks in float64, alive at the peak; as measured
_STATES = 1.5  # tensors of a batch's tokens that an embedding and its gradient hold; as measured
_QUERY_STATES = 4  # in float64, of all tasks, for the read-out; as measured
_PASSES = 15  # over the tasks
_OPERATIONS = 180_000  # of null models and fits, as measured


def memory_in_bytes(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    config, n_tokens = subject.config, n_context + 1
    n_tasks = tasks_in_bytes // (8 * n_tokens * (config.d_in + config.d_out))
    of_a_task = n_tokens * (5 * config.d_model + config.n_heads * (n_tokens + 4 * config.d_head))
    of_queries = 8 * _QUERY_STATES * (config.n_layers + 1) * config.d_model * n_tasks
    of_a_batch = int(8 * _STATES * min(batch_size, n_tasks) * of_a_task)
    return _STATISTICS + _COPIES * tasks_in_bytes + of_queries + of_a_batch


def cost(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
    n_tokens = n_context + 1
    n_tasks = max(tasks_in_bytes // (8 * n_tokens * (subject.d_in + subject.d_out)), 1)
    return Cost(_PASSES * n_tasks * n_tokens, 0, 0, _OPERATIONS, (min(batch_size, n_tasks), n_tokens))
