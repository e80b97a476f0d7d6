"""What travels together through the stages of the probe: one model, the sequences it is shown, and the seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import Edit, Site
from ..measure import Measure, without_interval
from ..streaming import Watcher, stream
from .access import Access
from .inputs import PeriodInputs

REPEATED, CONTROLS, SHUFFLED_REPEATS, PERMUTED_WEIGHTS, SINGLE_HEADS, GROUPS_OF_HEADS, OWN_TEXT = PURPOSES = (
    "repeated",
    "controls",
    "shuffled repeats",
    "permuted weights",
    "single-head ablations",
    "group ablations",
    "own text",
)
"""What forward passes are spent on."""


@dataclass
class Passes:
    """Sends sequences through a model, so many at a time, and counts them by purpose."""

    subject: LanguageModel
    batch_size: int
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))

    def send(
        self,
        purpose: str,
        tokens: Int[Tensor, "sequence pos"],
        watchers: Sequence[Watcher],
        edit: Mapping[Site, Edit] | None = None,
    ) -> None:
        self.spent[purpose] += len(tokens)
        stream(self.subject, tokens.split(self.batch_size), watchers, edit)


@dataclass(frozen=True)
class Experiment:
    """One model and what it is shown.

    periods:  the sequences and their controls, longest period first
    """

    passes: Passes
    access: Access
    periods: tuple[PeriodInputs, ...]
    seed: int

    @property
    def subject(self) -> LanguageModel:
        return self.passes.subject

    @property
    def ids(self) -> tuple[int, ...] | None:
        """The tokens that sequences are drawn from, ascending and without BOS; None: all but BOS."""
        return self.periods[0].law.ids

    @property
    def offsets(self) -> tuple[int, ...]:
        """How many tokens back an induction head looks, at each period."""
        return tuple(inputs.period - 1 for inputs in self.periods)

    @property
    def heads(self) -> tuple[int, int]:
        """Layers, and heads of each."""
        return self.subject.shape.n_layers, self.subject.shape.n_heads


def cost_measure(experiment: Experiment) -> Measure:
    """Sequences sent through the model, by purpose, whatever the batch size."""
    counts = np.array([experiment.passes.spent[purpose] for purpose in PURPOSES], dtype=np.float64)
    scored = sum(len(inputs.repeated) for inputs in experiment.periods)
    words = f"{counts.sum():,.0f} sequences were passed through the model to score {scored:,}"
    coords = {"purpose": PURPOSES}
    return without_interval(counts, "sequence", ("purpose",), coords, message=words, no_nulls="a count")
