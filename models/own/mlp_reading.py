"""W_in of mesascope's own language models, which keep all layers in one tensor, and a gate in one of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from ..mlp_reading import MlpReading, reading_name
from ..norms import Norm


class StackedReading(MlpReading):
    """Of an `AttentionOnlyTransformer`: parameters W_in and, if it is gated, W_gate, `[layer, d_model, d_mlp]`.

    norm:  the norm before the MLP of a layer
    """

    def __init__(self, n_layers: int, gated: bool, norm: Callable[[int], Norm]) -> None:
        self._n_layers, self._norm = n_layers, norm
        self._names = ("W_gate", "W_in") if gated else ("W_in",)

    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "d_model width"]]:
        side_by_side = torch.cat([parameters[name] for name in self._names], dim=-1)
        return {reading_name(layer): side_by_side[layer] for layer in range(self._n_layers)}

    def write(
        self, matrices: Mapping[str, Float[Tensor, "d_model width"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        stacked = torch.stack([matrices[reading_name(layer)] for layer in range(self._n_layers)])
        return dict(zip(self._names, stacked.chunk(len(self._names), dim=-1), strict=True))

    def input(self, resid_mid: Float[Tensor, "*batch d_model"], layer: int) -> Float[Tensor, "*batch d_model"]:
        return self._norm(layer)(resid_mid)
