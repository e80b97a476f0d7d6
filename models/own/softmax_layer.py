"""One layer of softmax attention for softmax regression, with its read-out as a softmax over the tokens.

Tokens e_j = [a_j ; b_j] are keys and values, [a_i ; 0] the queries. Row convention, with n tokens in a task:

    pattern[i, j] = softmax_j([a_i ; 0] W_KQ e_j)       no 1/sqrt(d_head): W_KQ is the product of both matrices
    scores[i] = n c sum_j pattern[i, j] (e_j . w_V)     what the layer writes into the last slot of query i
    prediction = softmax(scores)                        over the tokens i

c is the output scale, a setting. It decides what a training finds. As an attention layer moves data, the query tokens
A = [a ; 0] become A' = [a ; scores], and the prediction is f(A', x) = softmax(A' x) with x the last unit vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge, Gt
from jaxtyping import Float
from torch import Tensor, nn

from ...data.errors import CheckpointRefused
from ...data.settings import check_settings, read_settings
from .config import check_shapes

Documents = Float[Tensor, "*batch task token d_in"]
Targets = Float[Tensor, "*batch task token"]


@dataclass(frozen=True)
class SoftmaxLayerConfig:
    """The layer's sizes and settings.

    d_in:          width of a token's a; with b a token is d_in + 1 wide
    output_scale:  c, the factor on what the layer writes, beside the number of tokens
    """

    d_in: Annotated[int, Ge(1)]
    output_scale: Annotated[float, Gt(0)] = 1.0

    def __post_init__(self) -> None:
        check_settings(self, "config: ", CheckpointRefused)

    @property
    def d_model(self) -> int:
        return self.d_in + 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter with its shape."""
        return {"W_KQ": (self.d_model, self.d_model), "w_V": (self.d_model,)}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SoftmaxLayerConfig:
        """A configuration from its settings. Raises CheckpointRefused for unknown and missing keys and wrong types."""
        return read_settings(cls, values, "config: ", refused=CheckpointRefused)


class SoftmaxLayer(nn.Module):
    """The layer as an `nn.Module`. Parameters: W_KQ [d_model, d_model], w_V [d_model]."""

    W_KQ: Tensor
    w_V: Tensor

    def __init__(self, config: SoftmaxLayerConfig, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_shapes(parameters, config.shapes)
        for name in config.shapes:
            self.register_parameter(name, nn.Parameter(parameters[name], requires_grad=False))
        self.config = config

    def forward(
        self, A: Float[Tensor, "task token d_in"], b: Float[Tensor, "task token"]
    ) -> Float[Tensor, "task token"]:
        """A probability for each token."""
        return self.scores(A, b).softmax(dim=-1)

    def scores(
        self, A: Float[Tensor, "task token d_in"], b: Float[Tensor, "task token"]
    ) -> Float[Tensor, "task token"]:
        """What the layer writes: the logarithms of the prediction, up to a constant."""
        return layer_scores(self.config, self.W_KQ, self.w_V, A, b)


def layer_scores(
    config: SoftmaxLayerConfig,
    W_KQ: Float[Tensor, "*model d_model d_model"],
    w_V: Float[Tensor, "*model d_model"],
    A: Documents,
    b: Targets,
) -> Targets:
    """The scores of one layer, or of several side by side: leading dimensions of the weights are those of the tasks."""
    tokens = torch.cat([A, b[..., None]], dim=-1)
    asked = A @ W_KQ[..., None, : config.d_in, :]  # a query's own b is 0: the last row of W_KQ is never read
    pattern = (asked @ tokens.mT).softmax(dim=-1)
    values = tokens @ w_V[..., None, :, None]
    return config.output_scale * A.shape[-2] * (pattern @ values)[..., 0]


def initialise_softmax_layer(config: SoftmaxLayerConfig, scale: float, rng: torch.Generator) -> SoftmaxLayer:
    """Every weight from N(0, scale²), in float32."""
    drawn = {name: scale * torch.randn(shape, generator=rng) for name, shape in config.shapes.items()}
    return SoftmaxLayer(config, drawn)
