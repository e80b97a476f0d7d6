"""About how much memory and how much work a copy model takes."""

from __future__ import annotations

from ...models.copy_models import CopyModel
from ..probe import Cost
from .copy_measures import CopySettings

_STATISTICS = 60_000_000  # bytes of resamples and libraries, as measured
_COPIES = 3  # of the logits of every target and source in float64 that are alive at the peak, as measured
_ARRAYS = 20  # of a number for every target and source: agreements with their draws
_OPERATIONS, _OF_A_PLACE = 25_000, 40  # as measured
_PASSES = 8  # plain passes over the sources that readings and gradients take


def copy_memory(subject: CopyModel, how: CopySettings, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model."""
    places = subject.config.n_ctx
    logits = min(batch_size, how.n_sequences) * places**2 * subject.config.d_vocab
    pairs = how.n_sequences * places**2 * (1 + subject.config.n_heads)
    return _STATISTICS + 8 * (_COPIES * logits + _ARRAYS * pairs)


def copy_cost(subject: CopyModel, how: CopySettings, batch_size: int) -> Cost:
    places, heads = subject.config.n_ctx, subject.config.n_heads
    tokens = _PASSES * how.n_sequences * places * (1 + heads)
    batch = (min(batch_size, how.n_sequences), places)
    return Cost(tokens, 0, 0, _OPERATIONS + _OF_A_PLACE * places * heads, batch)
