"""Parameters of a Hugging Face model that hold matrices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D


@dataclass(frozen=True)
class Stored:
    """A parameter that holds a matrix.

    columns:  it is stored as [d_in, d_out] (Conv1D); otherwise as [d_out, d_in]
    """

    name: str
    columns: bool

    @classmethod
    def of(cls, part: nn.Module, names: Mapping[nn.Module, str]) -> Stored:
        """The weight of a linear module; names are those of modules."""
        return cls(f"{names[part]}.weight", isinstance(part, Conv1D))

    def rows(self, weight: Tensor) -> Tensor:
        """For activations as rows, and back: [d_in, d_out] <-> as stored."""
        return weight if self.columns else weight.mT


def not_own(module: nn.Module, names: Sequence[str], times: int = 1) -> str | None:
    """Why some parameters do not belong to the layer that uses them alone; None where they do.

    times:  how often a layer names each of them
    """
    own = dict(module.named_parameters())
    used = Counter(own[name].data_ptr() for name in names if name in own)
    for name in names:
        if name not in own or used[own[name].data_ptr()] != times:
            return (
                f"{name} is no parameter of its own: layers share it, or it is made of others (adapters, quantised"
                " weights)"
            )
    return None
