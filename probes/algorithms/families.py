"""A family of algorithms: one rule with free settings, among them how many steps it takes.

A family is fitted to predictions, say those of a model: the settings at which its own predictions are closest to these
in mean squared difference. That is the strongest form of the claim that the model follows the rule.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from .contexts import Contexts
from .fitting import Fit

Predictions = Float[Tensor, "task d_out"]


@dataclass(frozen=True)
class Fitted:
    """Settings of one member of a family.

    steps:   how many it takes; 0 for a rule without steps
    values:  its other settings, by name
    matrix:  a setting that is a symmetric matrix
    """

    steps: int = 0
    values: Mapping[str, Fit] = field(default_factory=dict)
    matrix: Float[Tensor, "d_in d_in"] | None = None

    @property
    def n(self) -> int:
        """How many numbers were fitted; a symmetric matrix of d rows has d (d + 1) / 2."""
        d = 0 if self.matrix is None else len(self.matrix)
        return bool(self.steps) + len(self.values) + d * (d + 1) // 2

    @property
    def at_end(self) -> bool:
        """Whether a setting lies at an end of its range: the rule is then its own limit."""
        return any(fit.at_end for fit in self.values.values())

    def value(self, name: str) -> float:
        return self.values[name].value


@dataclass(frozen=True)
class Family(ABC):
    """One rule.

    name:   in measures and arrays
    label:  in a figure
    words:  in a sentence; of a rule with steps, what the steps are of
    tried:  numbers of steps that are tried first, fewest first; empty for a rule without steps
    noun:   what a step is called
    """

    name: str
    label: str
    words: str
    free: ClassVar[int] = 0
    """How many settings are free, the number of steps and matrices apart."""
    tried: tuple[int, ...] = field(default=(), kw_only=True)
    noun: str = field(default="step", kw_only=True)

    @abstractmethod
    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        """The member of so many steps that is closest to these predictions."""

    @abstractmethod
    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        """y_hat of every task; differentiable in the query."""

    def weights(self, contexts: Contexts, fitted: Fitted) -> Float[Tensor, "task d_out d_in"]:
        """The derivative of every prediction with respect to the query."""
        return by_autograd(lambda shown: self.predict(shown, fitted), contexts)

    def title(self, steps: int) -> str:
        """In a sentence: "2 steps of gradient descent"."""
        return f"{steps} {self.noun}{'s' * (steps != 1)} of {self.words}" if self.tried else self.words


def by_autograd(predict: Callable[[Contexts], Predictions], contexts: Contexts) -> Float[Tensor, "task d_out d_in"]:
    """d prediction / d query, task by task. Tasks do not see each other, so a sum over them has each one's gradient."""
    query = contexts.query.detach().clone().requires_grad_()
    last = torch.cat([query, contexts.inputs[:, -1, contexts.d_in :]], dim=1)[:, None]
    answer = predict(Contexts(torch.cat([contexts.inputs[:, :-1], last], dim=1), contexts.d_in))
    parts = [
        torch.autograd.grad(output, query, retain_graph=True, materialize_grads=True)[0]
        if output.requires_grad
        else torch.zeros_like(query)
        for output in answer.sum(dim=0)
    ]
    return torch.stack(parts, dim=1)
