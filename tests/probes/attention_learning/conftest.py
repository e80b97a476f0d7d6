"""Small trainings, shared by the tests of what several checkpoints show."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import pytest
from mesascope.models.copy_models import CopyModel
from mesascope.probes.probe import Checkpoint

from .planted_copies import PERMUTATIONS, SOME_OF_ALL, checkpoint, recipe, trained

SEEDS = range(4)
STEPS = (0, 10, 20, 40, 70)

Twins = Mapping[int | None, CopyModel]
Training = Callable[..., list[CopyModel]]
"""Of "permutations" or "some of all", with changes of the recipe."""


@pytest.fixture(scope="session")
def training() -> Training:
    """Every seed at every step of a training, each training once."""

    @cache
    def subjects(tasks: str, seeds: Sequence[int] = SEEDS, steps: Sequence[int] = STEPS, **changed: bool) -> list:
        of = {"permutations": PERMUTATIONS, "some of all": SOME_OF_ALL}[tasks]
        uniform = changed.pop("uniform_attention", False)
        return trained(recipe(of, seeds, steps, model={"uniform_attention": uniform}, **changed))

    return subjects


@pytest.fixture(scope="session")
def checkpoints_of(training: Training) -> Callable[..., list[Checkpoint]]:
    """The same, measured beside the twin of each seed."""

    @cache
    def checkpoints(tasks: str, seeds: Sequence[int] = SEEDS, steps: Sequence[int] = STEPS, **changed: bool) -> list:
        subjects = training(tasks, seeds, steps, **changed)
        if changed:
            return [checkpoint(subject) for subject in subjects]
        last = training(tasks, seeds, (100,), uniform_attention=True)
        twins = {twin.source.seed: twin for twin in last}
        return [checkpoint(subject, twins[subject.source.seed]) for subject in subjects]

    return checkpoints
