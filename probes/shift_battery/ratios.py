"""Ratios of means over tasks, at every strength: how answers go with labels, and how far rules are from the model.

response      Σ ŷ·y / Σ |y|²           the slope of answers on labels: 1 where they are right, 0 for noise
loss          Σ |ŷ - y|² / Σ |y|²      1 for the zero predictor
unexplained   Σ |ŷ_model - ŷ_rule|² / Σ |ŷ_model - mean ŷ_model|²
distance      Σ |ŷ_rule - ŷ_other|² / Σ |ŷ_model - mean ŷ_model|²
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..comparing.by_candidate import MODEL
from ..statistics.bootstrap import bootstrap_means
from .battery import Along

Means = Float[np.ndarray, "*resample strength"]
UNCERTAIN = 1e-24
"""A share of the squared answers below this is rounding: answers of this variance do not vary."""


@dataclass(frozen=True)
class Ratios:
    """Of one model along one shift, of its tasks or of each resample of them.

    means:  over tasks, by what they are of
    """

    means: Mapping[tuple[str, ...], Means]
    names: tuple[str, ...]

    def response(self, name: str) -> Means:
        """Of the model or a rule."""
        return _ratio(self.means["product", name], self.means["labels",])

    def loss(self, name: str) -> Means:
        return _ratio(self.means["error", name], self.means["labels",])

    def unexplained(self, rule: str) -> Means:
        return _ratio(self.means["difference", MODEL, rule], self._variance)

    def distance(self, rule: str, other: str) -> Means:
        """Of two rules; 0 of a rule from itself."""
        if rule == other:
            return np.zeros_like(self._variance)
        key = ("difference", rule, other)
        return _ratio(self.means[key if key in self.means else ("difference", other, rule)], self._variance)

    @property
    def answered(self) -> np.ndarray:
        """Where the model's answers are finite."""
        return np.isfinite(self.means["squares",])

    @cached_property
    def _variance(self) -> Means:
        variance = self.means["variance",]
        return np.where(variance > UNCERTAIN * self.means["squares",], variance, 0.0)


def _ratio(above: Means, below: Means) -> Means:
    """NaN for 0/0, infinite where only the denominator is 0 or answers are too large."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(above / below)


def products(along: Along) -> dict[tuple[str, ...], Float[np.ndarray, "task strength"]]:
    """What the means are of, task by task."""
    answers = {MODEL: along.model, **along.rules}
    names, targets, model = tuple(answers), along.targets, along.model
    found = {("labels",): targets.square(), ("squares",): model.square()}
    found["variance",] = (model - model.mean(dim=0)).square()
    found |= {("product", name): held * targets for name, held in answers.items()}
    found |= {("error", name): (held - targets).square() for name, held in answers.items()}
    pairs = [(names[i], names[j]) for j in range(len(names)) for i in range(j)]
    found |= {("difference", one, other): (answers[one] - answers[other]).square() for one, other in pairs}
    return {key: _summed(held) for key, held in found.items()}


def _summed(held: Float[Tensor, "task strength d_out"]) -> Float[np.ndarray, "task strength"]:
    return held.sum(dim=2).numpy()


def ratios(along: Along, seed: int) -> tuple[Ratios, Ratios]:
    """Of the tasks, and of their resamples: the same for every shift, so that all are paired."""
    held = products(along)
    stacked = np.stack(list(held.values()), axis=-1)
    with np.errstate(over="ignore", invalid="ignore"):
        means, resampled = stacked.mean(axis=0), bootstrap_means(stacked, seed)
    return tuple(
        Ratios({key: values[..., number] for number, key in enumerate(held)}, tuple(along.rules))
        for values in (means, resampled)
    )  # pyright: ignore[reportReturnType] - two of them


def plain(along: Along) -> Ratios:
    """Of the tasks alone, for null models."""
    with np.errstate(over="ignore", invalid="ignore"):
        return Ratios({key: held.mean(axis=0) for key, held in products(along).items()}, tuple(along.rules))


def exponent(response: Means, strengths: tuple[float, ...]) -> Float[np.ndarray, "*resample"]:
    """The slope of log |response| against log strength, for strengths up to 1, where no descent diverges."""
    small = np.array(strengths) <= 1
    at = np.log(np.array(strengths)[small])
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(np.where(response[..., small] > 0, response[..., small], np.nan))
    centred = at - at.mean()
    return np.asarray((logs * centred).sum(axis=-1) / (centred**2).sum())
