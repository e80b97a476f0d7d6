"""Subjects for in-context regression: regression transformers, and any differentiable predictor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from .own.regression_transformer import RegressionConfig, RegressionTransformer
from .subject import IN_MEMORY, NotApplicable, Regressor, Source
from .weights import AttentionWeights, weights_sha256


class TransformerRegressor(Regressor):
    """An in-context regression transformer with readable weights."""

    def __init__(self, module: RegressionTransformer, source: Source) -> None:
        self.module = module
        self.source = source
        self.d_in = module.config.d_in
        self.d_out = module.config.d_out

    @property
    def config(self) -> RegressionConfig:
        return self.module.config

    @property
    def dtype(self) -> torch.dtype:
        return self.module.W_Q.dtype

    @property
    def device(self) -> torch.device:
        return self.module.W_Q.device

    def weights(self) -> AttentionWeights:
        return self.module.weights()

    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        return self.module(inputs)


@dataclass(frozen=True)
class TokenLayout:
    """The token layout that a wrapped predictor expects.

    "joint":        [x ; y] in one token, the query last with y slot 0 (von Oswald et al. 2023); passed on unchanged
    "interleaved":  x_1, y_1, x_2, y_2, …, x_q, all d_in wide, y in the first coordinate (Garg et al. 2022,
                    arXiv 2208.01066)
    """

    d_in: int
    d_out: int = 1
    order: Literal["joint", "interleaved"] = "joint"

    def __post_init__(self) -> None:
        if self.order == "interleaved" and self.d_out > self.d_in:
            raise ValueError(
                f"d_out = {self.d_out}; expected at most d_in = {self.d_in}: interleaved labels are padded to d_in"
            )

    def arrange(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task position width"]:
        if inputs.shape[-1] != self.d_in + self.d_out:
            raise ValueError(
                f"tokens are {inputs.shape[-1]} wide; expected {self.d_in + self.d_out}, the sum of d_in = {self.d_in}"
                " and"
                f" d_out = {self.d_out}"
            )
        if self.order == "joint":
            return inputs
        x, y = inputs[..., : self.d_in], inputs[..., self.d_in :]
        padded = nn.functional.pad(y, (0, self.d_in - self.d_out))
        pairs = rearrange([x, padded], "two task token width -> task (token two) width")
        return pairs[:, :-1]  # without the query's label, which is to be predicted


class PredictorRegressor(Regressor):
    """Any differentiable function from tasks to predictions. Its weights are not readable."""

    def __init__(self, function: Callable[[Tensor], Tensor], layout: TokenLayout, source: Source) -> None:
        self.function = function
        self.layout = layout
        self.source = source
        self.d_in = layout.d_in
        self.d_out = layout.d_out

    @property
    def _example(self) -> Tensor:
        parameters = list(self.function.parameters()) if isinstance(self.function, nn.Module) else []
        return parameters[0] if parameters else torch.empty(0)

    @property
    def dtype(self) -> torch.dtype:
        return self._example.dtype

    @property
    def device(self) -> torch.device:
        return self._example.device

    def weights(self) -> NotApplicable:
        return NotApplicable(
            "a wrapped predictor gives predictions only; mesascope cannot read attention weights from it"
        )

    def predict(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        prediction = self.function(self.layout.arrange(inputs))
        if self.d_out == 1 and prediction.shape == (len(inputs),):
            prediction = prediction[:, None]
        if prediction.shape != (len(inputs), self.d_out):
            flat = f"[{len(inputs)}] or " if self.d_out == 1 else ""
            raise ValueError(
                f"the predictor returned shape {list(prediction.shape)} for {len(inputs)} tasks; expected"
                f" {flat}[{len(inputs)}, {self.d_out}]"
            )
        return prediction


def from_predictor(
    function: Callable[[Tensor], Tensor], layout: TokenLayout, name: str = "predictor"
) -> PredictorRegressor:
    """Wrap a differentiable `[task, token, feature] -> prediction` as a subject.

    Measures of predictions apply; measures of weights are "not applicable". An `nn.Module` is identified by the SHA-256
    of its state dict. A plain function has no such digest, and its report says so.
    """
    digest = None
    notes: tuple[str, ...] = (IN_MEMORY,)
    if isinstance(function, nn.Module):
        digest = weights_sha256(function.state_dict())
    else:
        notes += ("the predictor is a plain function: the report has no digest of its weights",)
    facts = {"d_in": layout.d_in, "d_out": layout.d_out, "order": layout.order}
    source = Source(name, layout="predictor", weights_sha256=digest, facts=facts, notes=notes)
    return PredictorRegressor(function, layout, source)


def from_transformer(module: RegressionTransformer, name: str = "in-memory") -> TransformerRegressor:
    """A transformer built in this process as a subject."""
    source = Source(
        name,
        layout="in-memory",
        weights_sha256=weights_sha256(module.state_dict()),
        facts=module.config.as_dict(),
        notes=(IN_MEMORY,),
    )
    return TransformerRegressor(module, source)
