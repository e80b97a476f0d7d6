"""About how much memory and how much work the probe takes, by the shapes of the model and of the sequences."""

from __future__ import annotations

from ...models.language_model import LanguageModel
from ..probe import Cost
from .ablation import RANDOM_GROUPS
from .choices import FEW_HEADS
from .names import GROUPS, REPLACEMENTS
from .observations import number_of_draws

_NUMBERS_OF_LOGITS, _NUMBERS_OF_PATTERN = 2**24, 2**23  # held at a time
_STATISTICS = 40_000_000  # bytes of resamples, tables and libraries, as measured
_WATCHED, _BESIDE, _EDITED = 1.5, 0.3, 0.6  # plain passes: watched; one draw of permuted weights; an ablation
_READ_OUT = 2  # products as long as one with its softmax
_CALLED = 0.1  # of the heads of a large model, about
_OPERATIONS_OF_A_LAYER, _OPERATIONS_OF_A_RUN = 200, 120_000


def memory_in_bytes(subject: LanguageModel, batch_size: int, length: int) -> int:
    """At the peak, beside Python, its libraries and the model, for sequences of so many tokens."""
    shape, size = subject.shape, subject.dtype.itemsize
    heads = shape.n_layers * shape.n_heads
    tokens = batch_size * length
    # the first factor: copies alive at the peak, as measured
    weights = 4 * (4 * heads * shape.d_model * shape.d_head * size)
    logits = 4 * (4 * min(_NUMBERS_OF_LOGITS, tokens * shape.d_vocab))
    batch = 12 * tokens * shape.d_model * size
    pattern = 4 * (4 * min(_NUMBERS_OF_PATTERN, tokens * length * shape.n_heads))
    samples, products = 2_000 * 40 * heads * 8, 8 * shape.d_model**2
    return _STATISTICS + weights + logits + batch + pattern + samples + products


def text_memory_in_bytes(subject: LanguageModel, windows: int, length: int) -> int:
    """At the peak of reading a text, so many windows of so many tokens at once."""
    shape, tokens = subject.shape, windows * length
    batch = 12 * tokens * shape.d_model * subject.dtype.itemsize
    return batch + 4 * (4 * min(_NUMBERS_OF_PATTERN, tokens * length * shape.n_heads))


def cost(subject: LanguageModel, batch_size: int, lengths: tuple[int, ...], n: int, ablate: str) -> Cost:
    """Of a run with `n` sequences of each of these lengths and as many controls, and of what it is known to ablate: of
    a large model the heads that it will name, about.
    """
    layers, heads = subject.shape.n_layers, subject.shape.n_layers * subject.shape.n_heads
    tokens = n * sum(lengths)
    alone = heads if ablate == "all" or (ablate == "auto" and heads <= FEW_HEADS) else _CALLED * heads
    ablated = 0 if ablate == "nothing" else n * max(lengths) * len(REPLACEMENTS)
    groups = len(GROUPS) * (1 + RANDOM_GROUPS)
    batches = (2 * tokens * (1 + number_of_draws(heads)) + ablated * (alone + groups)) / (max(lengths) * batch_size)
    with_logits = 2 * tokens + n * max(lengths) + ablated * (alone / 2 + groups)  # alone, of the second repeat
    return Cost(
        tokens=2 * tokens * (_WATCHED + _BESIDE * number_of_draws(heads)) + _EDITED * ablated * (alone + groups),
        read_outs=_READ_OUT * with_logits if subject.no_token_logits() is None else 0,
        draws=0,
        operations=_OPERATIONS_OF_A_RUN + _OPERATIONS_OF_A_LAYER * layers * batches,
        batch=(min(batch_size, n), max(lengths)),
    )
