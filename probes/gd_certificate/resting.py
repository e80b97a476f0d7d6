"""Where training rests: the plateaus of each run's expected loss beside the levels of a training that learns one
direction of the inputs after another (Zhang, Singh, Latham & Saxe 2025, arXiv 2501.16265).

Losses are whole squared errors, without the factor ½, as the paper has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..measure import Measure
from ..probe import Checkpoint
from ..statistics.plateaus import Plateau, cannot_tell, plateaus, resolution

AT = 0.02
"""Of a level's loss: a plateau at most so far away is at the level."""
CLOSE = f"levels are less than {2 * AT:.0%} apart, and a plateau could not be told to be at one of them"
SINGLE = "inputs have one direction, and there is no level in between"
DIFFERENT = "the checkpoints are not the steps of one training, or of several seeds of it"
NO_LAW = "the levels of the law of these tasks are not known"


@dataclass(frozen=True)
class Run:
    """One training whose plateaus can be told.

    levels:  the closed form, no direction learned first, all of them last
    """

    seed: int | None
    steps: tuple[int, ...]
    losses: Float[np.ndarray, " step"]
    levels: Float[np.ndarray, " level"]

    @cached_property
    def plateaus(self) -> list[Plateau]:
        return plateaus(self.steps, self.losses)

    @property
    def resolution(self) -> float:
        return resolution(self.steps, self.losses)

    def nearest(self, plateau: Plateau) -> int:
        """The number of the level that a plateau is nearest to."""
        return int(np.abs(self.levels - plateau.loss).argmin())

    def at(self, level: int) -> Plateau | None:
        """The longest of the plateaus that are nearest to a level."""
        near = [plateau for plateau in self.plateaus if self.nearest(plateau) == level]
        return max(near, key=lambda plateau: plateau.decades, default=None)

    @cached_property
    def rests(self) -> tuple[int, ...]:
        """The levels that it rests at."""
        held = {level: self.at(level) for level in range(len(self.levels))}
        return tuple(level for level, one in held.items() if one and abs(self.off(level, one)) <= AT)

    @property
    def in_between(self) -> bool:
        """Whether it rests at a level at which some directions are learned and some are not."""
        return any(0 < level < len(self.levels) - 1 for level in self.rests)

    def off(self, level: int, plateau: Plateau) -> float:
        """How far a plateau is from a level, relative to it."""
        return float(plateau.loss / self.levels[level] - 1)

    @property
    def between(self) -> list[Plateau]:
        """Plateaus, at a level or not, that are neither where the curve begins nor where it ends."""
        return [plateau for plateau in self.plateaus if plateau.before is not None and plateau.after is not None]


def runs_of(checkpoints: Sequence[Checkpoint]) -> list[Run] | str:
    """The runs among several checkpoints, one for each seed; or why no plateaus can be told."""
    of_one = [checkpoint.measures.get("level_loss") for checkpoint in checkpoints]
    measured = [measure for measure in of_one if measure is not None and measure.has_number]
    if len(measured) < len(of_one):
        return next((measure.message for measure in of_one if measure and not measure.has_number), NO_LAW)
    if not _one_training(checkpoints, measured):
        return DIFFERENT
    levels = measured[0].values
    if len(levels) < 3:
        return SINGLE
    if (levels[:-1] < (1 + 2 * AT) * levels[1:]).any():
        return CLOSE
    runs = [_run(checkpoints, seed, levels) for seed in dict.fromkeys(one.source.seed for one in checkpoints)]
    reasons = [reason for run in runs if (reason := cannot_tell(run.steps, run.losses))]
    return reasons[0] if reasons else runs


def _one_training(checkpoints: Sequence[Checkpoint], levels: Sequence[Measure]) -> bool:
    """Whether there is one checkpoint of each seed and step, and one law of the tasks."""
    sources = [checkpoint.source for checkpoint in checkpoints]
    known = all(source.step is not None for source in sources)
    different = len({(source.seed, source.step) for source in sources}) == len(sources)
    same = len({source.name for source in sources}) == 1
    return known and different and same and len({measure.values.tobytes() for measure in levels}) == 1


def _run(checkpoints: Sequence[Checkpoint], seed: int | None, levels: Float[np.ndarray, " level"]) -> Run:
    held = {one.source.step or 0: one for one in checkpoints if one.source.seed == seed}
    losses = [2 * float(held[step].measures["expected_loss"].values) for step in sorted(held)]
    return Run(seed, tuple(sorted(held)), np.array(losses), levels)
