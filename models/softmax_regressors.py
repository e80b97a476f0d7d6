"""Subjects for softmax regression: one softmax layer, and any differentiable function of a task."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..data.errors import UsageError
from .in_memory_sources import NO_WEIGHTS, example_of, module_source, predictor_source
from .own.softmax_layer import SoftmaxLayer, SoftmaxLayerConfig
from .subject import NotApplicable, Source, Subject

SoftmaxFunction = Callable[[Tensor, Tensor], Tensor]
"""(A [task, token, d_in], b [task, token]) -> a probability for each token [task, token]."""


SUM_TOLERANCE = 0.01
"""By so much the probabilities of a prediction may miss 1: half precision does."""


class SoftmaxRegressor(Subject):
    """A subject that answers softmax-regression tasks.

    d_in:  width of a row of A
    """

    d_in: int

    @abstractmethod
    def predict(
        self, A: Float[Tensor, "task token d_in"], b: Float[Tensor, "task token"]
    ) -> Float[Tensor, "task token"]:
        """The predicted b, differentiable with respect to A."""


class LayerSoftmaxRegressor(SoftmaxRegressor):
    """One softmax layer with readable weights."""

    def __init__(self, module: SoftmaxLayer, source: Source) -> None:
        self.module = module
        self.source = source
        self.d_in = module.config.d_in

    @property
    def config(self) -> SoftmaxLayerConfig:
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        return self.module.W_KQ.dtype

    @property
    def device(self) -> torch.device:
        return self.module.W_KQ.device

    def weights(self) -> NotApplicable:
        return NotApplicable("this layer holds W_KQ, the product of its query and key weights: read module.W_KQ")

    def predict(
        self, A: Float[Tensor, "task token d_in"], b: Float[Tensor, "task token"]
    ) -> Float[Tensor, "task token"]:
        return self.module(A, b)


class PredictorSoftmaxRegressor(SoftmaxRegressor):
    """Any differentiable function from a task to a prediction. Its weights are not readable."""

    def __init__(self, function: SoftmaxFunction, d_in: int, source: Source) -> None:
        self.function = function
        self.d_in = d_in
        self.source = source

    @property
    def dtype(self) -> torch.dtype:
        return example_of(self.function).dtype

    @property
    def device(self) -> torch.device:
        return example_of(self.function).device

    def weights(self) -> NotApplicable:
        return NO_WEIGHTS

    def predict(
        self, A: Float[Tensor, "task token d_in"], b: Float[Tensor, "task token"]
    ) -> Float[Tensor, "task token"]:
        prediction = self.function(A, b)
        if not isinstance(prediction, Tensor) or prediction.shape != b.shape:
            found = list(prediction.shape) if isinstance(prediction, Tensor) else type(prediction).__name__
            raise UsageError(
                f"the predictor returned {found} for b shaped {list(b.shape)}; expected a torch.Tensor of that shape,"
                " a probability for each token"
            )
        _refuse_no_probabilities(prediction.detach())
        return prediction


def _refuse_no_probabilities(prediction: Float[Tensor, "task token"]) -> None:
    """Of predictions that are finite: others are reported by whoever asked for them."""
    if not prediction.isfinite().all():
        return
    least, sums = float(prediction.min()), prediction.sum(dim=-1)
    if least < 0 or float((sums - 1).abs().max()) > SUM_TOLERANCE:
        raise UsageError(
            f"the predictor returned numbers from {least:.3g} on, with sums of {float(sums.min()):.3g} to"
            f" {float(sums.max()):.3g}; expected a probability for each token: end with a softmax over the tokens"
        )


def from_softmax_layer(module: SoftmaxLayer, name: str = "in-memory") -> LayerSoftmaxRegressor:
    """A layer built in this process as a subject."""
    return LayerSoftmaxRegressor(module, module_source(name, module, module.config.as_dict()))


def from_softmax_predictor(function: SoftmaxFunction, d_in: int, name: str = "predictor") -> PredictorSoftmaxRegressor:
    """Wrap a differentiable `(A [task, token, d_in], b [task, token]) -> [task, token]` as a subject.

    Measures of predictions apply; measures of weights and of what a layer writes are "not applicable". An `nn.Module`
    is identified by the SHA-256 of its state dict. A plain function has no such digest, and its report says so.
    """
    return PredictorSoftmaxRegressor(function, d_in, predictor_source(name, function, {"d_in": d_in}))
