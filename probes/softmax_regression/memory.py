"""About how much memory and how much work the probe takes, by the shapes of the tasks or of the model."""

from __future__ import annotations

from ...models.language_model import LanguageModel
from ..head_sequences import length_of
from ..probe import Cost, weights_in_bytes, weights_of
from .head_settings import HeadSettings

_STATISTICS = 60_000_000  # bytes of resamples, tables and libraries, as measured
_COPIES = (
    60  # of the tasks in float64 that are alive at the peak: sensitivities of every candidate and null, as measured
)
_PASSES = 60  # plain passes over the tasks
_OPERATIONS, _OPERATIONS_OF_A_TOKEN = 40_000, 7  # as measured
_SHARED = 0.65  # drawing tasks, fitting solvers and solving, as measured
_PASSES_OF_HEADS = 3  # plain passes that watching states, and attention before and after the write, take
_OPERATIONS_OF_A_QUERY = 12  # of one head
_FLOATS_OF_A_KEY = 40  # held for every key and number of a head in a batch


def task_memory(tasks: int, n_tokens: int, d_in: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    return _STATISTICS + _COPIES * 8 * tasks * n_tokens * max(d_in, n_tokens)


def task_cost(tasks: int, n_tokens: int, batch_size: int) -> Cost:
    """Of one checkpoint: the others of a family share its tasks and what is fitted on them."""
    tokens = tasks * n_tokens
    operations = _OPERATIONS + _OPERATIONS_OF_A_TOKEN * tokens
    return Cost(_PASSES * tokens, 0, 0, operations, (min(batch_size, tasks), n_tokens), _SHARED)


def head_memory(subject: LanguageModel, how: HeadSettings, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    shape, tokens = subject.shape, min(batch_size, how.n_sequences) * length_of(subject, how.context)
    states = 4 * shape.n_layers * shape.d_model * tokens * subject.dtype.itemsize
    keys = _FLOATS_OF_A_KEY * 8 * shape.n_heads * shape.d_head * tokens
    return _STATISTICS + states + keys + (1 + (how.untrained > 0)) * weights_in_bytes(subject)


def head_cost(subject: LanguageModel, how: HeadSettings, batch_size: int) -> Cost:
    """Of the model and of each untrained one, which reads the same sequences."""
    shape, length = subject.shape, length_of(subject, how.context)
    queries = how.n_sequences * how.queries * shape.n_layers * shape.n_heads
    readers = 1 + how.untrained
    return Cost(
        tokens=_PASSES_OF_HEADS * readers * how.n_sequences * length,
        read_outs=0,
        draws=how.untrained * sum(weight.numel() for weight in weights_of(subject)),
        operations=_OPERATIONS + _OPERATIONS_OF_A_QUERY * readers * queries,
        batch=(min(batch_size, how.n_sequences), length),
    )
