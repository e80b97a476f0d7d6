"""The member of a family of algorithms whose weights are nearest to a layer's: the least E‖W_l - W_rule‖² on tuning
tasks.

The whole matrix of every task is fitted, not its answer to one query: a filter to W_l along all singular directions of
a context, a preconditioner to the answers to all unit queries.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum, repeat
from jaxtyping import Float
from torch import Tensor

from ..algorithms.contexts import Contexts
from ..algorithms.families import Family, Fitted
from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, Filtered
from ..algorithms.step_search import best_steps, search_steps
from .names import EQUAL

Matrices = Float[Tensor, "task d_out d_in"]
POWERS = (1, 4, 16, 64, 256)


@dataclass(frozen=True)
class Shown:
    """Tuning tasks of one fold, and the weights of one layer there."""

    contexts: Contexts
    weights: Matrices

    @cached_property
    def asked(self) -> Contexts:
        """Every context once for each unit query."""
        n, d = len(self.contexts.inputs), self.contexts.d_in
        inputs = repeat(self.contexts.inputs, "task token feature -> (task i) token feature", i=d).clone()
        inputs[:, -1, :d] = torch.eye(d, dtype=inputs.dtype).repeat(n, 1)
        return Contexts(inputs, d)

    def fit(self, family: Family, steps: int) -> Fitted:
        if not isinstance(family, Filtered):
            return family.fit(self.asked, self.weights.mT.flatten(0, 1), steps)
        tasks = self.contexts.spectrum
        along = einsum(tasks.V, self.weights, "task d_in rank, task d_out d_in -> task rank d_out")

        def distances(g: Float[Tensor, "*point task rank"]) -> Float[Tensor, "*point task"]:
            return (g[..., None] * tasks.projected_labels - along).square().sum(dim=(-1, -2))

        return family.fit_filter(tasks, distances, steps)

    def distance(self, family: Family, fitted: Fitted) -> float:
        """Relative: the root of E‖W_l - W_rule‖² / E‖W_l‖²."""
        apart = (family.weights(self.contexts, fitted).detach() - self.weights).square().sum()
        own = self.weights.square().sum()
        distance = float((apart / own).sqrt())
        return distance if distance < torch.inf else torch.inf  # of NaN, too


@dataclass(frozen=True)
class Entry:
    """A family at one layer: its best member, one a fold.

    steps:     how many it takes; the fewest and the most that do as well
    distance:  on the tuning tasks
    """

    family: Family
    fits: tuple[Fitted, ...]
    steps: tuple[int, int, int]
    distance: float


def enter(family: Family, folds: Sequence[Shown], layer: int | None) -> Entry | None:
    """The nearest member; of those that are as near, the one that takes a step a layer. None where the family has none
    of its own: GD++ of one layer is gradient descent.

    layer:  how many layers the model has taken; None: nobody knows
    """
    tried = steps_tried(family, layer)
    if not tried:
        return None
    fits: dict[int, tuple[Fitted, ...]] = {}

    def distance(steps: int) -> float:
        fits[steps] = tuple(fold.fit(family, steps) for fold in folds)
        return sum(fold.distance(family, one) for fold, one in zip(folds, fits[steps], strict=True)) / len(folds)

    found = search_steps(tried, distance)
    good = [steps for steps, away in found.items() if away <= found[best_steps(found)] + EQUAL]
    named = layer if layer in good else best_steps(found)
    return Entry(family, fits[named], (named, min(good), max(good)), found[named])


def steps_tried(family: Family, layer: int | None) -> tuple[int, ...]:
    """Numbers of steps that are tried first: the number of layers, and those from which a search finds others.

    GD++ takes one step a layer. A rule without steps has 0 of them.
    """
    if not family.tried:
        return (0,)
    if family.name == GDPP.name and layer is not None:
        return (layer,) if layer > 1 else ()
    if family.name == GRADIENT_DESCENT.name:
        return tuple(sorted({*POWERS, layer or 1}))
    return family.tried
