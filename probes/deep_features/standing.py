"""What the measures show: which rule on its own features answers as the model does, and whether the twin does.

a rule agrees       its whole interval of `unexplained_share` is at most `AGREES`, and below every null
explains in part    the whole interval of the closest rule is below `NOTHING`: less than half is left
explains nothing    that interval is above it
has learned         the loss is at most `LEARNED` of that of answering zero
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.numbers import Number, number
from ..comparing.verdicts import AGREES, NOTHING
from ..measure import Measure
from .names import ATTENDED_GD, FEATURE_GD, FEATURE_RIDGE, LEARNED, TWIN, ZERO

Called = Literal["agrees", "in part", "open", "none", "nothing", "undefined"]
RULES = (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE)


@dataclass(frozen=True)
class Standing:
    """Read off the measures of one checkpoint, or of several seeds at the same step."""

    measures: Mapping[str, Measure]

    @cached_property
    def called(self) -> Called:
        if not np.isfinite(self.loss(MODEL).value):
            return "undefined"
        if not self.rules:
            return "nothing"
        if self.agrees(self.closest):
            return "agrees"
        share = self.share(self.closest)
        if share.low > NOTHING:
            return "none"
        return "in part" if share.high < NOTHING else "open"

    @property
    def rules(self) -> tuple[str, ...]:
        """Those that this model has, and that leave a finite share."""
        return tuple(name for name in RULES if np.isfinite(self.share(name).value))

    @property
    def closest(self) -> str:
        """The rule that leaves least unexplained; of equal ones the first."""
        return min(self.rules, key=lambda name: self.share(name).value)

    def agrees(self, name: str) -> bool:
        share = self.share(name)
        nulls = self._of("unexplained_share", name).nulls.values()
        return bool(share.high <= AGREES and all(share.high < np.nanmin(held) for held in nulls if held.size))

    @property
    def learned(self) -> bool:
        return self.loss(MODEL).high <= LEARNED * self.loss(ZERO).value

    @property
    def has_twin(self) -> bool:
        return self._of("prediction_difference", TWIN).has_number

    @property
    def steps(self) -> int:
        """As many as the model has layers."""
        return len(self.measures["linear_readout"].labels("layer")) - 1

    def loss(self, name: str) -> Number:
        return number(self._of("loss", name))

    def share(self, name: str) -> Number:
        return number(self._of("unexplained_share", name))

    def slopes(self, name: str) -> Number:
        return number(self._of("slope_agreement", name))

    def difference(self, name: str) -> Number:
        return number(self._of("prediction_difference", name))

    def _of(self, metric: str, name: str) -> Measure:
        return self.measures[metric].sel(**{CANDIDATE: name})
