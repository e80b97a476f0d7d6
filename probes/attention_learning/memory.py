"""About how much memory and how much work the heads of a language model take, by its shape."""

from __future__ import annotations

from ...models.language_model import LanguageModel
from ..head_sequences import length_of
from ..probe import Cost, weights_in_bytes
from .agreement import DRAWS
from .head_reading import ROWS_AT_A_TIME
from .head_saliency import HELD, KEPT
from .head_settings import HeadHow
from .proxy import MOST_WORDS

_STATISTICS = 60_000_000  # bytes of resamples, tables and libraries, as measured
_COPIES = 30  # of the rows of one layer, as measured
_FITS = 8  # of the table of co-occurrence, as measured
_BACK = 2  # passes that one pass back takes
_OPERATIONS, _OPERATIONS_OF_A_LAYER = 20_000, 60  # as measured; of a pair's rows and draws


def head_memory(subject: LanguageModel, how: HeadHow, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model. A twin is as large as the model."""
    shape, length = subject.shape, length_of(subject, how.context)
    sequences = min(batch_size, how.n_sequences)
    a_sequence = KEPT * shape.n_layers * shape.d_model * length
    held = max(a_sequence, min(sequences * a_sequence, HELD)) * subject.dtype.itemsize if how.saliency else 0
    attention = shape.n_heads * len(how.positions(length, how.n_sequences)) * length
    rows = 8 * (sequences * attention + _COPIES * max(ROWS_AT_A_TIME, attention))
    table = _FITS * 8 * shape.d_vocab**2 if shape.d_vocab <= MOST_WORDS else 0
    return _STATISTICS + held + rows + table + weights_in_bytes(subject) // max(shape.n_layers, 1)


def head_cost(subject: LanguageModel, how: HeadHow, batch_size: int) -> Cost:
    """Of the model alone: of a twin there is one more pass."""
    shape, length = subject.shape, length_of(subject, how.context)
    batches = -(-how.n_sequences // batch_size)
    queries = how.n_sequences * len(how.positions(length, how.n_sequences))
    pairs = 1 + (how.saliency > 0)
    rows = queries * shape.n_layers * shape.n_heads * length
    return Cost(
        tokens=how.n_sequences * length * (2 + _BACK * how.saliency),
        read_outs=queries + how.n_sequences * how.saliency,
        draws=0,
        operations=_OPERATIONS
        + _OPERATIONS_OF_A_LAYER * pairs * DRAWS * (batches * shape.n_layers + rows // ROWS_AT_A_TIME),
        batch=(min(batch_size, how.n_sequences), length),
    )
