"""About how much memory and how much work the probe takes, and how many tasks it takes gradients of."""

from __future__ import annotations

from ...models.regressors import TransformerRegressor
from ..probe import Cost
from ..regression.nulls import UNTRAINED

NULL_TASKS = 100
"""Of every untrained model."""
_GRADIENT_TOKENS, _OF_A_NULL = 42_000, 2_100
"""Of all tasks whose gradients are taken, one for each token: 2,000 tasks of ten pairs, 100 for an untrained model."""
_FEWEST = 20
_STATISTICS = 80_000_000  # bytes of resamples and libraries, as measured
_COPIES = 13  # of the tasks in float64, alive at the peak; as measured
_STATES = 1.5  # tensors of a batch's tokens, and patterns, that a layer and its gradient hold; as measured
_PASSES = 10  # over the tasks, with and without edits
_OPERATIONS = 20_000  # of untrained models, as measured


def sensitive_tasks(n_context: int, null: bool = False) -> int:
    """Whose gradients are taken: fewer of longer contexts."""
    return max((_OF_A_NULL if null else _GRADIENT_TOKENS) // (2 * n_context + 1), _FEWEST)


def memory_in_bytes(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    config, n_tokens = subject.config, 2 * n_context + 1
    n_tasks = tasks_in_bytes // (8 * (n_context + 1) * (config.d_in + config.d_out))
    of_a_task = n_tokens * (config.d_model + config.n_heads * (n_tokens + 4 * config.d_head))
    return _STATISTICS + _COPIES * tasks_in_bytes + int(8 * _STATES * min(batch_size, n_tasks) * of_a_task)


def cost(subject: TransformerRegressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
    n_tokens = 2 * n_context + 1
    n_tasks = max(tasks_in_bytes // (8 * (n_context + 1) * (subject.d_in + subject.d_out)), 1)
    own, null = (min(sensitive_tasks(n_context, null), n_tasks) for null in (False, True))
    gradients = (n_tokens - 2) * (2 * own + UNTRAINED * null)  # of the first layer alone
    tokens = (_PASSES * n_tasks + gradients / subject.config.n_layers) * n_tokens
    return Cost(tokens, 0, 0, _OPERATIONS, (min(batch_size, n_tasks), n_tokens))
