"""By which matrices the MLPs of a model read the residual stream, and what of it they read.

    hidden = act(A W_in + b_in)                    gated: act(A W_gate + b_gate) * (A W_up + b_up)

A is the stream before the MLP, after the norm if there is one. The two matrices of a gated MLP are one here, side by
side: W_in = [W_gate, W_up]. So it is of no importance which way a model stores them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from jaxtyping import Float
from torch import Tensor

from .places import Places


def reading_name(layer: int) -> str:
    """What the matrix of a layer is called."""
    return f"L{layer}.W_in"


class MlpReading(Places):
    """W_in of every layer, `[d_model, width]`."""

    @abstractmethod
    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Float[Tensor, "d_model width"]]: ...

    @abstractmethod
    def write(
        self, matrices: Mapping[str, Float[Tensor, "d_model width"]], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]: ...

    @abstractmethod
    def input(self, resid_mid: Float[Tensor, "*batch d_model"], layer: int) -> Float[Tensor, "*batch d_model"]:
        """A of a layer, by the model's own norm; differentiable."""
