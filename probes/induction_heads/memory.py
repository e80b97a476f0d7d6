"""About how much memory the probe takes: copies of the attention weights, logits, and a batch with its statistics."""

from __future__ import annotations

from ...models.language_model import LanguageModel

_NUMBERS_OF_LOGITS, _NUMBERS_OF_PATTERN = 2**24, 2**23  # held at a time


def memory_in_bytes(subject: LanguageModel, batch_size: int, length: int) -> int:
    """Beside Python, torch and the model, for sequences of so many tokens."""
    shape, size = subject.shape, subject.dtype.itemsize
    heads = shape.n_layers * shape.n_heads
    tokens = batch_size * length
    # the first factor: copies alive at the peak, as measured
    weights = 4 * (4 * heads * shape.d_model * shape.d_head * size)
    logits = 4 * (4 * min(_NUMBERS_OF_LOGITS, tokens * shape.d_vocab))
    batch = 12 * tokens * shape.d_model * size
    pattern = 4 * (4 * min(_NUMBERS_OF_PATTERN, tokens * length * shape.n_heads))
    samples, products = 2_000 * 40 * heads * 8, 8 * shape.d_model**2
    return weights + logits + batch + pattern + samples + products
