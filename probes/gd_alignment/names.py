"""Candidates: everything that a model is compared with, and the one title and label that each has.

A candidate is a transformer *constructed* to take gradient steps, or an algorithm of `probes/algorithms`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from ..algorithms.algorithm import Algorithm
from ..algorithms.named import MEAN_LABEL, MINIMUM_NORM, RIDGE, ZERO, gradient_descent


@dataclass(frozen=True)
class Constructed:
    """A model whose weights we wrote; for name, title and label see `Algorithm`."""

    name: str
    title: str
    label: str


GD = Constructed("gd", "constructed gradient descent", "constructed GD")
GDPP = Constructed("gdpp", "constructed GD++", "constructed GD++")
GDPP_LAYERS = 8
"""The most layers of constructed GD++ that are tried for a wrapped predictor, whose layers are not known."""
SEARCHED = "the number that comes closest on the tuning tasks"
"""What decided on the steps of constructed models, where nobody did."""
FLOOR = (ZERO.name, MEAN_LABEL.name)
"""Candidates that do not look at the query."""

Candidate = Constructed | Algorithm


def candidates(names: Collection[str]) -> dict[str, Candidate]:
    """The candidates among these names, in the order of figures: constructed models, gradient descent, the others."""
    everyone = (GD, GDPP, *map(gradient_descent, descents(names)), RIDGE, MINIMUM_NORM, MEAN_LABEL, ZERO)
    return {candidate.name: candidate for candidate in everyone if candidate.name in names}


def descents(names: Collection[str]) -> list[int]:
    """The numbers of steps of the algorithms of gradient descent among these names, fewest first."""
    return sorted(int(found[1]) for name in names if (found := re.fullmatch("gd_([1-9][0-9]*)", name)))


def same_steps(steps: int) -> set[str]:
    """Constructed gradient descent and the algorithm of as many steps: one hypothesis, at two learning rates."""
    return {GD.name, gradient_descent(steps).name}


PATH_TASKS = 2_000
"""On which the losses between two seeds are measured, the first of those that everything else is."""
