"""Where a model keeps some matrices of its layers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor


class Places(ABC):
    """Matrices of every layer, for activations as rows: read from a module's parameters, and written back into them.

    What else lies in the same parameter is not part of them. Parameters go by the module's own names.
    """

    @abstractmethod
    def read(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The matrices by their names, layer by layer; views where the layout allows it."""

    @abstractmethod
    def write(self, matrices: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The parameters that hold them, with these matrices in place of those in `parameters`; differentiable."""
