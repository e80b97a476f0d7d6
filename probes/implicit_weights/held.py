"""What one model holds: its linear models and answers after every layer, on the tasks of this measurement."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ..algorithms.contexts import Contexts
from ..comparing.memo import once_per_batch
from ..regression.examined import Examined
from ..regression.layer_weights import Weights, layer_weights
from ..regression.nulls import Untrained
from .names import FRESH_QUERIES, FRESH_TASKS

Answers = Float[Tensor, "layer task d_out"]
Squares = Float[Tensor, "_task _layer _column"]
"""Some sums of squares of every task and layer."""


@dataclass(frozen=True)
class Model:
    """The examined subject, or an untrained model in its place."""

    examined: Examined
    untrained: Untrained | None = None

    @property
    def module(self) -> RegressionTransformer | None:
        """None of a wrapped predictor, which has one read-out."""
        if self.untrained is not None:
            return self.untrained.module
        subject = self.examined.subject
        return subject.module if isinstance(subject, TransformerRegressor) else None

    @property
    def sign(self) -> int:
        return self.examined.sign if self.untrained is None else self.untrained.sign

    def weights(self, tasks: Batch) -> Weights:
        return layer_weights(self.examined, tasks, self.untrained).weights

    def answers(self, inputs: Float[Tensor, "task token feature"]) -> Answers:
        """Of the model's own pass, after every layer."""
        module, subject = self.module, self.examined.subject
        parts = inputs.to(subject.device, subject.dtype).split(self.examined.batch_size)
        with torch.no_grad():
            found = [subject.predict(part)[None] if module is None else module.predict_layers(part) for part in parts]
        return self.sign * torch.cat([part.cpu().double() for part in found], dim=1)


@once_per_batch
def contexts_of(tasks: Batch, d_in: int) -> Contexts:
    return Contexts.of(tasks.inputs, d_in)


def linear_answers(weights: Weights, queries: Float[Tensor, "task d_in"]) -> Answers:
    """W_l x."""
    return einsum(weights, queries, "layer task d_out d_in, task d_in -> layer task d_out")


def linearity_squares(model: Model, tasks: Batch, weights: Weights) -> Squares:
    """Of each context and layer, over other tasks' queries: |y_l(x) - W_l x|² and |y_l(x)|²."""
    few = tasks[:FRESH_TASKS]
    inputs, W = few.inputs.cpu().double(), weights[:, : len(few)]
    d_in, total = model.examined.subject.d_in, 0.0
    for shifted in range(1, min(FRESH_QUERIES, len(few) - 1) + 1):
        fresh = inputs.clone()
        fresh[:, -1, :d_in] = inputs[:, -1, :d_in].roll(shifted, dims=0)
        answers = model.answers(fresh)
        total = total + squares(answers - linear_answers(W, fresh[:, -1, :d_in]), answers)
    return total if isinstance(total, Tensor) else torch.full((len(few), len(W), 2), torch.nan, dtype=torch.float64)


def loss_squares(model: Model, tasks: Batch) -> Squares:
    """½ |y_l - y|² of each task and layer."""
    return 0.5 * squares(model.answers(tasks.inputs) - tasks.targets.cpu().double())


def distance_squares(weights: Weights, others: Weights) -> Squares:
    """‖W_l - W_other‖² and ‖W_l‖² of each task and layer."""
    return squares((weights - others).flatten(2), weights.flatten(2))


def squares(*parts: Float[Tensor, "layer task entry"]) -> Squares:
    """Of vectors, one column each."""
    return rearrange([part.square().sum(dim=-1) for part in parts], "column layer task -> task layer column")


@dataclass(frozen=True)
class Steps:
    """What each layer adds to the model before it, W_l - W_{l-1}, beside the gradient there.

    G_l = (Y - W_{l-1} X)ᵀ X C_l² / N, the direction of steepest descent of 1/(2N) Σ |W x_i - y_i|²; of GD++ on inputs
    that the layers before have curved, x C_l.
    """

    change: Weights
    gradient: Weights

    @classmethod
    def of(cls, weights: Weights, contexts: Contexts, gamma: float = 0.0) -> Steps:
        tasks = contexts.spectrum
        before = torch.cat([torch.zeros_like(weights[:1]), weights[:-1]])
        held = einsum(before, tasks.V, "layer task d_out d_in, task d_in rank -> layer task d_out rank")
        curved = curvatures(tasks.s2, gamma, len(weights))[:, :, None]
        along = (tasks.projected_labels.mT - tasks.s2[:, None] * held) * curved / tasks.n_context
        gradient = einsum(along, tasks.V, "layer task d_out rank, task d_in rank -> layer task d_out d_in")
        return cls(weights - before, gradient)

    def products(self) -> Squares:
        """<change, gradient>, ‖gradient‖² and ‖change‖² of each task and layer."""
        c, g = self.change.flatten(2), self.gradient.flatten(2)
        found = [(c * g).sum(dim=-1), g.square().sum(dim=-1), c.square().sum(dim=-1)]
        return rearrange(found, "column layer task -> task layer column")


def curvatures(s2: Float[Tensor, "task rank"], gamma: float, n_layers: int) -> Float[Tensor, "layer task rank"]:
    """Eigenvalues of C_l², where every layer takes x to x - γ Σ_i x_i (x_i·x); 1 without a γ."""
    found = [torch.ones_like(s2)]
    for _ in range(n_layers - 1):
        found.append(found[-1] * (1 - gamma * found[-1] * s2).square())
    return torch.stack(found)
