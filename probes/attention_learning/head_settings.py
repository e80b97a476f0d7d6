"""What a user asks for, where the subject is a language model; and which queries are looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..head_sequences import SequenceSettings, queries_of


@dataclass(frozen=True)
class HeadHow(SequenceSettings):
    """Beside the sequences:

    queries:   queries that are looked at in all sequences together, at most; at least one a sequence
    saliency:  those of a sequence at which saliency is measured; 0: none
    """

    n_sequences: int = 32
    queries: int = 2048
    saliency: int = 8

    def positions(self, length: int, n_sequences: int) -> tuple[int, ...]:
        """The queries of a sequence of that length: evenly spaced, never position 0, which has one key, and never the
        last, which has no next token.
        """
        return queries_of(length - 1, max(1, self.queries // n_sequences))


def spaced(n: int, most: int) -> tuple[int, ...]:
    """At most so many of n things, evenly spaced, the last one among them."""
    if most < 1:
        return ()
    ends = np.unique(np.linspace(0, n, min(n, most) + 1).round().astype(np.int64))
    return tuple((ends[1:] - 1).tolist())
