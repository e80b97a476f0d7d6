"""What the stages of the probe are told of its settings."""

from __future__ import annotations

from dataclasses import dataclass

from .given import GivenHeads


@dataclass(frozen=True)
class How:
    """
    given:        the user's heads; None: none were named
    n_heads:      heads of a set of the strongest; None: by the size of the model
    random_sets:  random sets beside each set of heads
    level:        of the false discovery rate over heads
    """

    given: GivenHeads | None = None
    n_heads: int | None = None
    random_sets: int = 20
    level: float = 0.05
