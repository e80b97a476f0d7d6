"""Rules that answer with labels of the context, or with nothing: no setting, and no model of y given x."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from .contexts import Contexts
from .families import Family, Fitted, Predictions


@dataclass(frozen=True)
class Copying(Family):
    """answer: the rule."""

    answer: Callable[[Contexts], Predictions]

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        return Fitted()

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        return self.answer(contexts)


def nearest_label(contexts: Contexts) -> Predictions:
    """The label of the input that is nearest to the query; of two, the first."""
    distances = (contexts.X - contexts.query[:, None]).square().sum(dim=-1)
    return contexts.Y[torch.arange(len(distances)), distances.argmin(dim=1)]


ZERO = Copying("zero", "zero predictor", "the zero predictor", lambda contexts: torch.zeros_like(contexts.Y[:, 0]))
MEAN_LABEL = Copying("mean_label", "mean label", "the mean label", lambda contexts: contexts.Y.mean(dim=1))
LAST_LABEL = Copying("last_label", "last label", "a copy of the last label", lambda contexts: contexts.Y[:, -1])
NEAREST_LABEL = Copying("nearest_label", "nearest label", "the label of the nearest input", nearest_label)
