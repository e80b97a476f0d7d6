"""What may be said beside untrained models: a p only where there are enough of them, and never more than it says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..measure import Measure
from ..statistics.null_p import p_words, smallest_p, two_sided_p
from .names import COMPARISON, STATISTICS, UNTRAINED
from .words import from_to

LEVEL = 0.05
"""A statistic with a larger p is called not distinguishable from untrained models."""


class Nulls:
    """The comparison with untrained models, read off its measure.

    samples:  of each statistic, those of untrained models; {} where there is no comparison
    p:        of each statistic; {} where untrained models are too few for any p of `LEVEL`
    words:    the same as it is written
    """

    def __init__(self, measures: Mapping[str, Measure]) -> None:
        compared = {} if COMPARISON not in measures else measures[COMPARISON].apart()
        parts = {name: part for name, part in compared.items() if UNTRAINED in part.nulls}
        self.samples = {name: part.nulls[UNTRAINED] for name, part in parts.items()}
        self.n = max(map(len, self.samples.values()), default=0)
        self.p = {
            name: float(two_sided_p(part.values, part.nulls[UNTRAINED]))
            for name, part in parts.items()
            if smallest_p(len(part.nulls[UNTRAINED])) <= LEVEL
        }
        self.words = {name: p_words(p, len(self.samples[name])) for name, p in self.p.items()}
        self._same = {name for name, part in parts.items() if (part.nulls[UNTRAINED] == part.values).all()}

    def of_growth(self) -> str:
        """How the norms of untrained models grow, and whether the model is told apart from them by that."""
        name = "norm_growth_later"
        if not self.samples:
            return "No untrained model was measured beside it."
        if name not in self.samples:
            return "The growth of untrained models is undefined."
        models = "One untrained model" if len(self.samples[name]) == 1 else "Untrained models"
        growth = f"{models}: × {from_to(self.samples[name])}"
        return f"{growth} ({self.words[name]})." if name in self.p else f"{growth}."

    def limits(self) -> Iterator[str]:
        """What the comparison does not show. A statistic that is the same in all models, as no sinks, is left out."""
        if self.samples and not self.p:
            few = "1 untrained model" if self.n == 1 else f"{self.n} untrained models"
            yield f"With {few} p cannot be below {smallest_p(self.n):.2g}: nothing is called different from them."
        same = [
            f"{STATISTICS[name].words} ({self.words[name]})"
            for name, p in self.p.items()
            if p > LEVEL and name not in self._same
        ]
        if same:
            yield f"Not distinguishable from untrained models on the same tokens: {', '.join(same)}."
        if self.p:
            yield "The p values are not adjusted for the number of statistics that are compared."
