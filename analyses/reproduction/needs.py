"""What a figure needs: checkpoints of a recipe, and a probe that is run on them. Without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..training.recipe_kinds import BaseRecipe


@dataclass(frozen=True)
class Reduction:
    """How much of a recipe a reduced reproduction trains, and measures of it.

    steps:     the last step of its training, where it has to be trained
    seeds:     of its training, or that are measured of a file that is there
    measured:  steps that are measured, of those that a file keeps; None: those of the full size
    limit:     tasks that are evaluated
    """

    steps: int
    seeds: tuple[int, ...] = (0,)
    measured: int | None = 1
    limit: int = 500


@dataclass(frozen=True)
class Need:
    """One probe on the checkpoints of one recipe.

    key:         what the numbers of a figure call its reports
    recipe:      whose checkpoints
    reduced:     its reduced size
    probe, settings: what is run on them; None: nothing, they are another need's twin
    seeds:       that the full size trains; None: the recipe's
    over_steps:  whether every step that a file keeps is measured, or the last alone
    twin:        the recipe of another model that the probe is given as `twin`
    """

    key: str
    recipe: str
    reduced: Reduction
    probe: str | None = "gd-alignment"
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] | None = None
    over_steps: bool = True
    twin: Need | None = None

    @property
    def folder(self) -> str:
        return self.key.replace(" ", "-").replace("=", "")

    @property
    def with_twin(self) -> tuple[Need, ...]:
        """What has to be trained: the twin comes first."""
        return (self,) if self.twin is None else (self.twin, self)

    def trained(self, recipe: BaseRecipe, quick: bool) -> BaseRecipe:
        """The training that this need asks for."""
        if not quick:
            return recipe if self.seeds is None else replace(recipe, seeds=self.seeds)
        last = min(self.reduced.steps, recipe.steps)
        kept = sorted({0, last // 4, last // 2, last})
        return replace(recipe, checkpoint_steps=tuple(kept), seeds=self.reduced.seeds)

    def measured_with(self, quick: bool) -> dict[str, Any]:
        """The settings of the probe."""
        return {**self.settings, "limit": self.reduced.limit} if quick else dict(self.settings)

    def measured_steps(self, kept: tuple[int, ...], quick: bool) -> tuple[int, ...]:
        """Of the steps that a file keeps, those that are measured."""
        if not self.over_steps:
            return kept[-1:]
        if not quick or self.reduced.measured is None:
            return kept
        n = min(self.reduced.measured, len(kept))
        last = len(kept) - 1
        return tuple(kept[round(last - i * last / max(n - 1, 1))] for i in reversed(range(n)))
