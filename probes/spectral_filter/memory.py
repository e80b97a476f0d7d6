"""About how much memory and how much work the probe takes."""

from __future__ import annotations

from ...models.regressors import TransformerRegressor
from ...models.subject import Regressor
from ..probe import Cost

_STATISTICS = 80_000_000  # bytes of resamples and libraries, as measured
_COPIES, _COPIES_OF_A_LAYER = 4, 2.5  # of the tasks in float64, alive at the peak; as measured
_PASSES = 10  # plain passes over the tasks that take as long as what is done with them
_OPERATIONS_OF_A_LAYER = 60_000  # of all fits, as measured


def layers_of(subject: Regressor) -> int:
    """Read-outs: a wrapped predictor has one."""
    return subject.config.n_layers if isinstance(subject, TransformerRegressor) else 1


def memory_in_bytes(subject: Regressor, tasks_in_bytes: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    return _STATISTICS + int((_COPIES + _COPIES_OF_A_LAYER * layers_of(subject)) * tasks_in_bytes)


def cost(subject: Regressor, tasks_in_bytes: int, n_context: int, batch_size: int) -> Cost:
    tokens = tasks_in_bytes / (8 * (subject.d_in + subject.d_out))
    n_tasks = max(int(tokens) // (n_context + 1), 1)
    operations = _OPERATIONS_OF_A_LAYER * layers_of(subject)
    return Cost(_PASSES * tokens, 0, 0, operations, (min(batch_size, n_tasks), n_context + 1))
