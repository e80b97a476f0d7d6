"""Setup: one examined model, and what it is compared with."""

from __future__ import annotations

from dataclasses import dataclass

from ..algorithms.algorithm import Algorithm
from ..algorithms.named import algorithms
from ..regression.examined import Examined
from .constructed import ConstructedShape


@dataclass(frozen=True, kw_only=True)
class Setup(Examined):
    """One subject's measurement.

    shape:  of the constructed models
    steps:  numbers of steps of the algorithms of gradient descent that the subject is compared with
    """

    shape: ConstructedShape
    steps: tuple[int, ...] = ()

    @property
    def algorithms(self) -> tuple[Algorithm, ...]:
        """Those that the subject is compared with."""
        return algorithms(self.steps)
