"""What travels together through the stages of the probe: one model, the sequences it is shown, and the seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import Edit, Site
from ..measure import Measure, without_interval
from ..parts import Parts
from ..streaming import Beside, Watcher, goes_on, stream
from .access import Access
from .inputs import PeriodInputs

REPEATED, CONTROLS, SHUFFLED_REPEATS, SINGLE_HEADS, GROUPS_OF_HEADS, KEPT_ATTENTION, OWN_TEXT = PURPOSES = (
    "repeated",
    "controls",
    "shuffled repeats",
    "single-head ablations",
    "group ablations",
    "kept attention",
    "own text",
)
"""What forward passes are spent on."""
Part = TypeVar("Part")


class Edited(NamedTuple):
    """A pass that is edited in some layers, of which `lowest` is the lowest, and who watches it."""

    lowest: int
    edit: Mapping[Site, Edit]
    watcher: Watcher


@dataclass
class Passes:
    """Sends sequences through a model, so many at a time, and counts them by purpose.

    kept:  parts of the measurement that are finished
    """

    subject: LanguageModel
    batch_size: int
    kept: Parts = field(default_factory=Parts)
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PURPOSES, 0))

    def part(self, name: str, make: Callable[[], Part]) -> Part:
        """A part of the measurement, found or made. What was spent on it counts either way."""
        before = dict(self.spent)

        def counted() -> tuple[Part, dict[str, int]]:
            made = make()
            return made, {purpose: self.spent[purpose] - before[purpose] for purpose in PURPOSES}

        made, spent = self.kept.made(name, counted)
        self.spent = {purpose: before[purpose] + spent[purpose] for purpose in PURPOSES}
        return made

    def send(
        self,
        purpose: str,
        tokens: Int[Tensor, "sequence pos"],
        watchers: Sequence[Watcher],
        beside: Sequence[Beside] = (),
    ) -> None:
        self.spent[purpose] += len(tokens)
        stream(self.subject, tokens.split(self.batch_size), watchers, beside=beside)

    def send_edited(self, purpose: str, tokens: Int[Tensor, "sequence pos"], passes: Sequence[Edited]) -> None:
        """Several edited passes over the same sequences, which share what lies below their edits."""
        self.spent[purpose] += len(tokens) * len(passes)
        shares = goes_on(self.subject, tokens[:1], [one.lowest for one in passes])
        for batch in tokens.split(self.batch_size):
            begun = None
            for one in sorted(passes, key=lambda one: one.lowest):
                begun = self.subject.halfway(batch, one.lowest if shares else 0, begun)
                stream(self.subject, [batch], [one.watcher], one.edit, begun=begun)


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
