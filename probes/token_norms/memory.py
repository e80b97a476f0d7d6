"""About how much memory and how much work the probe takes, by the shapes of the model and of the text."""

from __future__ import annotations

from ...models.language_model import LanguageModel
from ..probe import Cost, weights_in_bytes, weights_of
from .inner_problem import CHUNK
from .inner_watcher import looked_at
from .length_watcher import no_prediction
from .sample import VALUES, target_numbers, token_numbers
from .text import Text

_STATISTICS = 60_000_000  # bytes of resamples, tables and libraries, as measured
_COLUMNS = 8  # numbers of a sampled token in each layer
_WATCHED = 2  # plain passes that take as long as one which everybody watches, as measured with GPT-2 small
_READ_OUT, _INNER = 1.5, 2.5  # products as long as reading a token out, and as its inner problem, softmax included
_OPERATIONS_OF_A_LAYER, _OPERATIONS_OF_A_RUN = 200, 300_000


def memory_in_bytes(subject: LanguageModel, text: Text, inner: bool, batch_size: int, nulls: bool) -> int:
    """At the peak, beside Python, its libraries and the model."""
    shape, size = subject.shape, subject.dtype.itemsize
    tokens = max(min(n, batch_size) * length for n, length in text.window_shapes)
    of_a_layer = tokens * 8 * (6 * shape.d_model + 4 * shape.n_heads * shape.d_head)  # in float64
    logits = tokens * shape.d_vocab * size if no_prediction(subject) is None else 0
    chunk = 4 * 4 * min(CHUNK, tokens * shape.d_vocab) if inner else 0
    sample = 2 * 8 * min(VALUES, sum(token_numbers(text)) * _COLUMNS * (shape.n_layers + 1))
    untrained = weights_in_bytes(subject) if nulls else 0  # one at a time
    return _STATISTICS + sample + of_a_layer + max(logits, chunk) + untrained


def cost(subject: LanguageModel, text: Text, sample: Text, inner: bool, batch_size: int, untrained: int) -> Cost:
    """Of a run that reads the text, and the sample with each untrained model and once more."""
    layers, readers = subject.shape.n_layers, untrained + (untrained > 0)
    tokens, few = sum(token_numbers(text)), sum(token_numbers(sample))
    of_inner, compared = _solved(text, False), _solved(sample, True)
    products = _READ_OUT * (tokens + readers * few)
    if inner:
        products += _INNER * (of_inner * (layers + 1) + readers * compared)
    passes = text.n_batches(batch_size) + readers * sample.n_batches(batch_size)
    return Cost(
        tokens=_WATCHED * (tokens + readers * few),
        read_outs=products if no_prediction(subject) is None else 0,
        draws=untrained * sum(weight.numel() for weight in weights_of(subject)),
        operations=_OPERATIONS_OF_A_RUN + _OPERATIONS_OF_A_LAYER * layers * passes,
        batch=(min(batch_size, max(n for n, _ in text.window_shapes)), text.longest_window),
    )


def _solved(text: Text, last_only: bool) -> int:
    """Tokens that the inner problem is solved for."""
    return sum(min(n, most) for n, most in zip(target_numbers(text), looked_at(text, last_only), strict=True))
