"""Ablated heads, alone and in groups: what their output is replaced by, and what that does to the loss."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.recipe import named_seed
from ...data.repeated import RepeatedTokens
from ...models.subject import Edit, Site
from ..findings import Head
from ..head_sets import others_like
from ..streaming import of_heads
from .experiment import GROUPS_OF_HEADS, SINGLE_HEADS, Edited, Experiment, Passes
from .losses import mean_over_repeat, of_repeat
from .observations import ModelObservations
from .watchers import NextTokenLoss

EVEN_SEQUENCES, ODD_SEQUENCES = slice(0, None, 2), slice(1, None, 2)
RANDOM_GROUPS = 8
Losses = Float64[np.ndarray, "some next"]


@dataclass(frozen=True)
class Halves:
    """Heads that were chosen on the even sequences, and those that were chosen on the odd ones."""

    even: tuple[Head, ...]
    odd: tuple[Head, ...]

    def random(self, n_heads: int, rng: np.random.Generator) -> Halves | None:
        """As many other heads of the same layers; None where a half has no others."""
        even, odd = (others_like(half, n_heads, rng) for half in (self.even, self.odd))
        return Halves(tuple(even), tuple(odd)) if even and odd else None


def replacing(heads: Collection[Head], z: Float[Tensor, "layer head d_head"]) -> Mapping[Site, Edit]:
    """The edit of a pass in which the z of these heads is this, at every position."""

    def replace(own: Tensor, layer: int, replaced: list[int]) -> None:
        own[:, replaced] = z[layer, replaced][:, None].to(own)

    return of_heads(heads, replace)


@dataclass(frozen=True)
class Ablations:
    """Losses on the repeated sequences of the longest period with heads ablated.

    base:    losses of the model as it is, [sequence, pos - 1]
    mean_z:  each head's mean z without repeats
    """

    passes: Passes
    law: RepeatedTokens
    tokens: Int[Tensor, "sequence pos"]
    base: Float64[np.ndarray, "sequence next"]
    mean_z: Float64[Tensor, "layer head d_head"]
    seed: int

    @classmethod
    def prepare(cls, experiment: Experiment, observations: ModelObservations) -> Ablations:
        longest, base = experiment.periods[0], observations.repeated[0].tokens["loss"]
        return cls(experiment.passes, longest.law, longest.repeated, base, observations.mean_z, experiment.seed)

    @property
    def heads(self) -> tuple[int, int]:
        """Layers, and heads of each."""
        return self.mean_z.shape[0], self.mean_z.shape[1]

    def alone(self, heads: Sequence[Head], replacement: str) -> list[Losses]:
        """Without each of these heads; of the second repeat only, and NaN elsewhere."""
        return self._losses(SINGLE_HEADS, [[head] for head in heads], replacement, wanted=of_repeat(self.law, 1))

    def cross_fitted(self, groups: Sequence[Halves], replacement: str) -> list[Losses]:
        """Each half of the sequences without the heads that were chosen on the other, for each of these groups."""
        losses = [np.empty_like(self.base) for _ in groups]
        chosen_and_tested = (
            ([one.even for one in groups], ODD_SEQUENCES),
            ([one.odd for one in groups], EVEN_SEQUENCES),
        )
        for chosen, tested in chosen_and_tested:
            found = self._losses(GROUPS_OF_HEADS, chosen, replacement, tested)
            for own, values in zip(losses, found, strict=True):
                own[tested] = values
        return losses

    def _losses(
        self,
        purpose: str,
        groups: Sequence[Collection[Head]],
        replacement: str,
        sequences: slice = slice(None),
        wanted: slice = slice(None),
    ) -> list[Losses]:
        """Of some sequences, with the z of each of these groups of heads replaced by zero or by its mean."""
        z = self.mean_z if replacement == "mean" else torch.zeros_like(self.mean_z)
        watchers = [NextTokenLoss(self.passes.subject, wanted) for _ in groups]
        passes = [
            Edited(min(layer for layer, _ in heads), replacing(heads, z), watcher)
            for heads, watcher in zip(groups, watchers, strict=True)
        ]
        self.passes.send_edited(purpose, self.tokens[sequences], passes)
        return [watcher.arrays()["loss"] for watcher in watchers]

    def rise(self, losses: Float64[np.ndarray, "sequence next"]) -> Float64[np.ndarray, "sequence"]:
        """How much larger these losses are than the model's own on the second repeat, in nat."""
        return mean_over_repeat(losses, self.law, 1) - mean_over_repeat(self.base, self.law, 1)

    def random_halves(self, halves: Halves, name: str) -> list[Halves]:
        """Random groups of the same sizes and layers, which serve both replacements."""
        rng = np.random.default_rng(named_seed(self.seed, "random groups", name))
        drawn = [halves.random(self.heads[1], rng) for _ in range(RANDOM_GROUPS)]
        return [one for one in drawn if one is not None]
