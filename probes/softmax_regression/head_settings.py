"""What a user asks for, where the subject is a language model."""

from __future__ import annotations

from dataclasses import dataclass

from ..head_sequences import SequenceSettings


@dataclass(frozen=True)
class HeadSettings(SequenceSettings):
    """Beside the sequences:

    queries:       queries of a sequence that are looked at
    untrained:     models of the same shape with fresh weights that read the same sequences
    """

    queries: int = 8
    untrained: int = 2
