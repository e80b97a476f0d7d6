"""About how much memory and how much work the probe takes."""

from __future__ import annotations

from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
from ..probe import Cost, Probe
from .names import BY_NAME, EXCHANGED_LAYERS, EXCHANGED_TASKS, NULL_LAYERS, NULL_TASKS, NULLS, PLACES

_STATISTICS = 100_000_000  # bytes of resamples and libraries, as measured
_COPIES = 9  # of the tasks in float64, alive at the peak; as measured
_MATRICES = 3  # of W after each layer beside the rules', alive at the peak
_MOMENTS = 2  # of the context before each layer, alive at the peak
_OPERATIONS_OF_A_FIT = 2_000
_FITS_OF_A_LAYER, _FITS_OF_A_NULL = 20, 5
_PASSES = 6  # plain passes over the tasks that take as long as their weights in closed form, and the answers


def memory_in_bytes(subject: Regressor, tasks_in_bytes: int, n_context: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    n_tasks, n_layers = _tasks(subject, tasks_in_bytes, n_context), _layers(subject)
    matrices = (_MATRICES + len(BY_NAME)) * n_tasks * subject.d_in * subject.d_out
    moments = _MOMENTS * min(n_tasks, Probe.batch_size) * (subject.d_in + subject.d_out) ** 2
    return _STATISTICS + _COPIES * tasks_in_bytes + 8 * n_layers * (matrices + moments)


def cost(subject: Regressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
    """Work that grows with layers is counted in tokens through all of them, and in fits of each layer."""
    n_layers, n_tasks = _layers(subject), _tasks(subject, tasks_in_bytes, n_context)
    runs = len(PLACES) * min(EXCHANGED_LAYERS, n_layers - 1) * EXCHANGED_TASKS
    of_nulls = NULLS * (len(PLACES) * min(NULL_LAYERS, n_layers - 1) + _PASSES) * NULL_TASKS
    fits = _FITS_OF_A_LAYER * n_layers + NULLS * min(NULL_LAYERS, n_layers) * _FITS_OF_A_NULL
    tokens = (n_context + 1) * (_PASSES * n_tasks + runs + of_nulls)
    return Cost(tokens, 0, 0, _OPERATIONS_OF_A_FIT * fits, (min(batch_size, n_tasks), n_context + 1))


def _layers(subject: Regressor) -> int:
    return subject.config.n_layers if isinstance(subject, TransformerRegressor) else 1


def _tasks(subject: Regressor, tasks_in_bytes: int, n_context: int) -> int:
    return max(tasks_in_bytes // (8 * (n_context + 1) * (subject.d_in + subject.d_out)), 1)
