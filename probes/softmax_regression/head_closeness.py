"""Are the two shifts closer to each other than in random directions? Read off the measures of their cosine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from ..comparing.evidence import over_checkpoints
from ..comparing.heads_beside_nulls import ENOUGH, FEWEST, HeadsBesideNulls, heads_beside_nulls
from ..comparing.numbers import Number, number
from ..measure import Measure, numbers
from .head_names import ALL, HEADS, RANDOM

Called = Literal["closer", "closer by scale", "farther", "farther by scale", "not told apart", "cannot tell"]
COSINE, UNSCALED = "shift_cosine", "shift_cosine_unscaled"


def at(measures: Mapping[str, Measure], name: str, keys: str = ALL) -> Measure | None:
    """A measure of heads with these keys; None where it has no number."""
    measure = measures.get(name)
    if measure is None or "keys" not in measure.axes:
        return None
    chosen = measure.sel(keys=keys)
    return chosen if chosen.has_number else None


def too_few(measure: Measure) -> str:
    """1 sequence is, 4 sequences are; nothing of enough, or of seeds: their intervals allow for how many there are."""
    if over_checkpoints(measure) or measure.n >= FEWEST:
        return ""
    return f"{measure.n} {measure.replicate}{'s are' if measure.n > 1 else ' is'}"


@dataclass(frozen=True, eq=False)
class Closeness:
    """The mean cosine over all heads beside those of random directions, one number a draw.

    lacking:  what there is too little of to call it; nothing where there is enough
    """

    cosine: Number
    random: Float[np.ndarray, " draw"]
    lacking: str

    @classmethod
    def of(cls, measures: Mapping[str, Measure], name: str = COSINE) -> Closeness | None:
        """None where no head has two shifts."""
        mean = at(measures, f"mean_{name}")
        if mean is None:
            return None
        random = numbers(mean.nulls[RANDOM]) if RANDOM in mean.nulls else np.empty(0)
        few_draws = f"{len(random)} random directions are" * (len(random) < ENOUGH)
        no_interval = "seeds with a number are" * bool(np.isnan(mean.interval[0]))
        return cls(number(mean), random, too_few(mean) or few_draws or no_interval)

    @property
    def called(self) -> Called:
        """Closer or farther where the whole interval lies beyond all draws: by chance it does with a probability of at
        most 1 / (draws + 1) on either side.
        """
        if self.lacking:
            return "cannot tell"
        if self.cosine.low > self.random.max():
            return "closer"
        return "farther" if self.cosine.high < self.random.min() else "not told apart"


def closeness_called(measures: Mapping[str, Measure]) -> Called | None:
    """Of both shifts; "by scale" where moves that do not scale the scores are not called the same."""
    whole, unscaled = Closeness.of(measures), Closeness.of(measures, UNSCALED)
    if whole is None:
        return None
    same = unscaled is not None and unscaled.called == whole.called
    if same or whole.called not in ("closer", "farther"):
        return whole.called
    return "closer by scale" if whole.called == "closer" else "farther by scale"


def beyond_random(measures: Mapping[str, Measure]) -> HeadsBesideNulls | None:
    """Of every head's cosine, and draws of random directions. None over several seeds, whose heads do not correspond,
    and where there is too little to tell.
    """
    cosine = at(measures, COSINE)
    if cosine is None or cosine.axes != HEADS or RANDOM not in cosine.nulls or too_few(cosine):
        return None
    return heads_beside_nulls(cosine, [cosine.nulls[RANDOM]])
