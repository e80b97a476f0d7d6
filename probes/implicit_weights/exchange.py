"""The causal check: a task goes on from the linear model that another task has come to.

After layer l of task A stand y_q = -W_l x_q in the query's y slot, and in those of the context, if it holds residuals,
y_i - W_l x_i. Both are moved by what W_l of task B would make of them, and the later layers run as they are:

    query     y_q <- y_q - D x_q                  D = W_l^B - W_l^A
    context   y_i <- y_i - D x_i, for every pair
    both      as if the model had come to W_l^B on task A

Where both are moved, the answer of gradient descent at rates η_k moves by D Π_{k>l} (I - η_k XᵀX/N) x_q, and that of
GD++ by the same with C_k² XᵀX, on inputs x C_k. Where only the query is, it moves by D x_q; where only the context, by
the difference of the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.regression_transformer import RegressionTransformer
from ..algorithms.contexts import Contexts
from ..regression.layer_weights import Weights, in_double
from .fits import Matrices
from .held import Model, Squares, curvatures
from .names import BOTH, CONTEXT, EXCHANGED_LAYERS, EXCHANGED_TASKS, PLACES, QUERY, spread

Slots = Float[Tensor, "task token d_out"]
Moved = Float[Tensor, "task d_out"]


def exchanged_layers(n_layers: int) -> list[int]:
    """Layers after which models are exchanged, evenly spread; never the last, which nothing follows."""
    return spread(n_layers - 1, EXCHANGED_LAYERS)


@dataclass(frozen=True)
class Exchanged:
    """Sums over outputs, of each task, layer and place.

    layers:     after which models were exchanged
    changes:    <moved, D x>, |moved|², |D x|², |moved - what gradient descent makes of it|²
    residuals:  of the context's y slots after each of these layers: Σ |y_i(l) - (y_i - W_l x_i)|², Σ |y_i(l) - y_i|²
    """

    layers: tuple[int, ...]
    changes: Mapping[str, Squares]
    residuals: Squares

    def at(self, layers: Sequence[int]) -> Exchanged:
        """Of these layers; NaN where nothing was exchanged."""
        places = [layers.index(layer) for layer in self.layers]

        def spread_out(squares: Squares) -> Squares:
            found = torch.full((len(squares), len(layers), squares.shape[2]), torch.nan, dtype=squares.dtype)
            found[:, places] = squares
            return found

        changes = {place: spread_out(squares) for place, squares in self.changes.items()}
        return Exchanged(tuple(layers), changes, spread_out(self.residuals))


@dataclass(frozen=True)
class Descent:
    """Gradient descent as a model may go on with it: a rate for each layer, and the γ of GD++, or 0."""

    rates: Float[Tensor, " layer"]
    gamma: float

    def later(self, D: Matrices, contexts: Contexts, layer: int) -> Matrices:
        """What the steps after a layer leave of a difference in the model."""
        tasks = contexts.spectrum
        curved, left = curvatures(tasks.s2, self.gamma, len(self.rates)), torch.ones_like(tasks.s2)
        for rate, c2 in zip(self.rates[layer + 1 :], curved[layer + 1 :], strict=True):
            left = left * (1 - rate * c2 * tasks.s2 / tasks.n_context)
        along = einsum(D, tasks.V, "task d_out d_in, task d_in rank -> task d_out rank") * (left - 1)[:, None]
        return D + einsum(along, tasks.V, "task d_out rank, task d_in rank -> task d_out d_in")


def exchange(model: Model, tasks: Batch, weights: Weights, descent: Descent, layers: Sequence[int]) -> Exchanged | None:
    """After these layers. None where the model has no state that mesascope can change, as where tokens are not the
    residual stream, or no layer follows another.
    """
    module, few = model.module, tasks[:EXCHANGED_TASKS]
    if module is None or not module.config.as_given or not layers:
        return None
    run = _Run(in_double(module), model.sign, Contexts.of(few.inputs, module.config.d_in), weights[:, : len(few)])
    changes = {place: torch.stack([run.change(layer, place, descent) for layer in layers], dim=1) for place in PLACES}
    return Exchanged(tuple(layers), changes, run.residuals(layers))


@dataclass(frozen=True)
class _Run:
    """One transformer on some tasks, in float64: what an exchange changes may be small."""

    module: RegressionTransformer
    sign: int
    contexts: Contexts
    weights: Weights

    @cached_property
    def unmoved(self) -> Moved:
        return self.sign * self.module(self.contexts.inputs)

    def change(self, layer: int, place: str, descent: Descent) -> Float[Tensor, "task column"]:
        """The columns of `Exchanged.changes` at one layer."""
        W = self.weights[layer]
        D = W.roll(1, dims=0) - W
        moved = self._answers(self._slots(D, place), layer) - self.unmoved
        direct = _applied(D, self.contexts.query)
        later = _applied(descent.later(D, self.contexts, layer), self.contexts.query)
        expected = {QUERY: direct, CONTEXT: later - direct, BOTH: later}[place]
        products = (moved * direct, moved.square(), direct.square(), (moved - expected).square())
        return torch.stack([product.sum(dim=1) for product in products], dim=1)

    def _slots(self, D: Matrices, place: str) -> Slots:
        """What is added to every token's y slot. A read-out that is turned is turned at the query alone."""
        context = -einsum(D, self.contexts.X, "task d_out i, task token i -> task token d_out")
        query = -self.sign * _applied(D, self.contexts.query)[:, None]
        return torch.cat([context * (place != QUERY), query * (place != CONTEXT)], dim=1)

    def _answers(self, added: Slots, layer: int) -> Moved:
        def edit(h: Tensor, at: int) -> Tensor:
            if at != layer:
                return h
            x, y = h[..., : self.module.config.d_in], h[..., self.module.config.d_in :]
            return torch.cat([x, y + added], dim=-1)

        return self.sign * self.module.run(self.contexts.inputs, edit={"resid_post": edit}).output

    def residuals(self, layers: Sequence[int]) -> Squares:
        held = self.module.run(self.contexts.inputs, watch={"resid_post": self._labels}).values["resid_post"]
        Y, X, found = self.contexts.Y, self.contexts.X, []
        for layer in layers:
            added = held[layer] - Y
            answered = einsum(self.weights[layer], X, "task d_out i, task token i -> task token d_out")
            squares = ((added + answered).square(), added.square())
            found.append(torch.stack([square.sum(dim=(1, 2)) for square in squares], dim=1))
        return torch.stack(found, dim=1)

    def _labels(self, h: Float[Tensor, "task token d_model"], layer: int) -> Float[Tensor, "task context d_out"]:
        return h[:, :-1, self.module.config.d_in :]


def _applied(W: Matrices, x: Float[Tensor, "task d_in"]) -> Moved:
    return einsum(W, x, "task d_out d_in, task d_in -> task d_out")
