"""The runs among several checkpoints: one for each seed, in order of its steps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..measure import Measure
from ..probe import Checkpoint
from .names import INPUTS


@dataclass(frozen=True)
class Run:
    """One training: its checkpoints, and the step of each. A step of 0 stands for one that nobody recorded."""

    seed: int | None
    steps: tuple[int, ...]
    checkpoints: tuple[Checkpoint, ...]

    @property
    def last(self) -> Checkpoint:
        return self.checkpoints[-1]

    def accuracies(self, quantity: str) -> Float[np.ndarray, " checkpoint"]:
        """The accuracy at each step; NaN where there is none."""
        return np.array([estimate_of(one.measures.get(f"{quantity}_accuracy")) for one in self.checkpoints])

    def at(self, step: int, values: Float[np.ndarray, " checkpoint"]) -> float:
        """One of the values of its checkpoints; NaN at a step that it lacks."""
        return float(values[self.steps.index(step)]) if step in self.steps else np.nan


def estimate_of(measure: Measure | None) -> float:
    return np.nan if measure is None or measure.axes else measure.estimate


def runs_of(checkpoints: Sequence[Checkpoint]) -> list[Run]:
    """By seed. Checkpoints that share seed and step belong to different trainings: each is a run by itself."""
    by_seed: dict[int | None, list[Checkpoint]] = {}
    for checkpoint in checkpoints:
        by_seed.setdefault(checkpoint.source.seed, []).append(checkpoint)
    groups = [part for group in by_seed.values() for part in ([group] if _one_training(group) else _each(group))]
    return [_run(sorted(group, key=_step)) for group in groups]


def _one_training(group: Sequence[Checkpoint]) -> bool:
    return max(Counter(map(_step, group)).values()) == 1 and len({one.source.name for one in group}) == 1


def _each(group: Sequence[Checkpoint]) -> list[list[Checkpoint]]:
    return [[checkpoint] for checkpoint in group]


def _run(checkpoints: Sequence[Checkpoint]) -> Run:
    return Run(checkpoints[0].source.seed, tuple(map(_step, checkpoints)), tuple(checkpoints))


def _step(checkpoint: Checkpoint) -> int:
    return checkpoint.source.step or 0


def all_steps(runs: Sequence[Run]) -> tuple[int, ...]:
    return tuple(sorted({step for run in runs for step in run.steps}))


def not_comparable(checkpoints: Sequence[Checkpoint], name: str) -> str | None:
    """Why an array of these checkpoints cannot be compared number by number; None where it can."""
    if any(name not in one.arrays for one in checkpoints):
        return "a checkpoint has no attention to compare"
    if len({len(one.arrays[name]) for one in checkpoints}) > 1:
        return "the checkpoints' reports kept different numbers of sequences"
    shapes = {tuple(one.arrays[name].shape[1:]) for one in checkpoints}
    if len(shapes) > 1:
        said = " and ".join(str(list(shape)) for shape in sorted(shapes))
        return f"the checkpoints are of different shapes: their attention is {said} for each sequence"
    if len({one.recipes.get(INPUTS, {}).get("sha256") for one in checkpoints}) > 1:
        return "the checkpoints read different tokens: their vocabularies, tokenizers or tasks differ"
    return None
