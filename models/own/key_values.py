"""W_K and W_V of mesascope's own language models, which keep all layers in one tensor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..key_values import KeyValuePlaces, Role, matrix_name

_OUTSIDE = ("W_E", "W_pos", "W_U", "b_U", "ln_final")


class StackedKeyValues(KeyValuePlaces):
    """Of an `AttentionOnlyTransformer`: parameters W_K and W_V, `[layer, head, d_model, d_head]`."""

    def __init__(self, n_layers: int) -> None:
        self.n_layers = n_layers

    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "head d_model d_head"]]:
        return {
            matrix_name(role, layer): parameters[f"W_{role}"][layer]
            for layer in range(self.n_layers)
            for role in get_args(Role)
        }

    def write(
        self, matrices: Mapping[str, Float[Tensor, "head d_model d_head"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        layers = range(self.n_layers)
        return {
            f"W_{role}": torch.stack([matrices[matrix_name(role, layer)] for layer in layers])
            for role in get_args(Role)
        }

    def in_layers(self, name: str) -> bool:
        return not name.startswith(_OUTSIDE)
