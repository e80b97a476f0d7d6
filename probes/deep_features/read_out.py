"""The label as a linear function of the query's state: what a linear read-out finds in a representation.

For each layer l, with h the query's tokens there, W and b are ridge regression of the label on h over tuning tasks, the
penalty by generalised cross-validation (Golub, Heath and Wahba 1979). On other tasks

    R² = 1 - Σ |y - W h - b|² / Σ |y - mean y|²            the mean that of the tuning tasks

Before attention the state knows the query alone. After it a high R² says that the answer is there to be read, by any
direction: not that the model's own read-out is along it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.regression_transformer import RegressionTransformer
from ...models.subject import Reduce, Site
from ..regression.examined import Examined

PENALTIES = np.logspace(-12, 2, 29)
"""In units of the largest eigenvalue of the states' covariance."""


@dataclass(frozen=True)
class ReadOut:
    """Squared errors of the read-out of each layer, and of the mean label: task by task."""

    errors: Float[np.ndarray, "task layer"]
    spread: Float[np.ndarray, " task"]

    @property
    def r2(self) -> Float[np.ndarray, " layer"]:
        return explained(self.errors.mean(axis=0), self.spread.mean())

    @classmethod
    def joined(cls, parts: list[ReadOut]) -> ReadOut:
        return cls(np.concatenate([p.errors for p in parts]), np.concatenate([p.spread for p in parts]))


def explained(errors: np.ndarray, spread: np.ndarray | float) -> np.ndarray:
    """R²; NaN for labels that do not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(1 - errors / np.asarray(spread))


def read_out(examined: Examined, module: RegressionTransformer, tuning: Batch, tasks: Batch) -> ReadOut:
    """Fitted on tuning tasks, judged on the others."""
    held, states = (query_states(module, examined.inputs(batch), examined.batch_size) for batch in (tuning, tasks))
    labels, wanted = (batch.targets.cpu().double().numpy() for batch in (tuning, tasks))
    errors = [_errors(known, labels, asked, wanted) for known, asked in zip(held, states, strict=True)]
    return ReadOut(np.stack(errors, axis=1), np.square(wanted - labels.mean(axis=0)).sum(axis=1))


def _errors(held: np.ndarray, labels: np.ndarray, asked: np.ndarray, wanted: np.ndarray) -> Float[np.ndarray, " task"]:
    if not (np.isfinite(held).all() and np.isfinite(asked).all()):
        return np.full(len(asked), np.nan)
    return np.square(wanted - Linear.fitted(held, labels)(asked)).sum(axis=1)


def query_states(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"], batch_size: int
) -> Float[np.ndarray, "layer task d_model"]:
    """Before attention, and after each layer."""
    watch: dict[Site, Reduce] = {"resid_pre": _last, "resid_post": _last}
    with torch.no_grad():
        seen = [module.run(part, watch=watch).values for part in inputs.split(batch_size)]
    parts = [torch.stack([held["resid_pre"][0], *held["resid_post"]]) for held in seen]
    return torch.cat(parts, dim=1).numpy()


def _last(tokens: Tensor, layer: int) -> Tensor:
    return tokens[:, -1].cpu().double()


@dataclass(frozen=True)
class Linear:
    """states -> labels: label + (h - mean) W"""

    mean: Float[np.ndarray, " d_model"]
    label: Float[np.ndarray, " d_out"]
    weights: Float[np.ndarray, "d_model d_out"]

    @classmethod
    def fitted(cls, states: Float[np.ndarray, "task d_model"], labels: Float[np.ndarray, "task d_out"]) -> Linear:
        mean, label = states.mean(axis=0), labels.mean(axis=0)
        U, s, Vt = np.linalg.svd(states - mean, full_matrices=False)
        along = U.T @ (labels - label)
        outside = np.square(labels - label).sum() - np.square(along).sum()
        penalties = PENALTIES * (s.max() ** 2 or 1.0)
        best = min(penalties, key=lambda penalty: _score(s**2 / (s**2 + penalty), along, outside, len(states)))
        return cls(mean, label, Vt.T @ ((s / (s**2 + best))[:, None] * along))

    def __call__(self, states: Float[np.ndarray, "task d_model"]) -> Float[np.ndarray, "task d_out"]:
        return self.label + (states - self.mean) @ self.weights


def _score(kept: np.ndarray, along: np.ndarray, outside: float, n: int) -> float:
    """Of generalised cross-validation; what leaves no degree of freedom is no candidate."""
    free = n - 1 - kept.sum()
    return float((outside + np.square((1 - kept)[:, None] * along).sum()) / free**2) if free > 0.5 else np.inf
