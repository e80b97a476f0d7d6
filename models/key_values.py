"""Where a model keeps W_K and W_V of its layers: read from its parameters, and written back into them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from .places import Places

Role = Literal["K", "V"]


def matrix_name(role: Role, layer: int) -> str:
    """What W_K or W_V of a layer is called."""
    return f"L{layer}.W_{role}"


class KeyValuePlaces(Places):
    """W_K and W_V of every layer, `[kv_head, d_model, d_head]` as in `AttentionWeights`, however a module stores them.

    Biases, norms of k, and what else lies in the same parameter (q in a fused projection) are not part of them. They go
    by `matrix_name`.
    """

    @abstractmethod
    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "kv_head d_model d_head"]]: ...

    @abstractmethod
    def write(
        self, matrices: Mapping[str, Float[Tensor, "kv_head d_model d_head"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]: ...

    @abstractmethod
    def in_layers(self, name: str) -> bool:
        """Whether a parameter belongs to one layer; otherwise it belongs to embeddings, final norm or unembedding."""
