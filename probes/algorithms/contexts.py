"""Contexts: a batch of regression tasks as its parts, decomposed once where an algorithm wants that."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from jaxtyping import Float
from torch import Tensor

from .spectrum import Spectrum, decompose


@dataclass(frozen=True)
class Contexts:
    """The labelled pairs and the query of every task; float64 on the CPU.

    inputs  [task, token, feature]  the first `d_in` features of a token are x, the rest y; the last token is the query
    """

    inputs: Float[Tensor, "task token feature"]
    d_in: int

    @classmethod
    def of(cls, inputs: Float[Tensor, "task token feature"], d_in: int) -> Contexts:
        return cls(inputs.detach().cpu().double(), d_in)

    @property
    def X(self) -> Float[Tensor, "task context d_in"]:
        return self.inputs[:, :-1, : self.d_in]

    @property
    def Y(self) -> Float[Tensor, "task context d_out"]:
        return self.inputs[:, :-1, self.d_in :]

    @property
    def query(self) -> Float[Tensor, "task d_in"]:
        return self.inputs[:, -1, : self.d_in]

    @property
    def n_context(self) -> int:
        return self.inputs.shape[1] - 1

    @cached_property
    def spectrum(self) -> Spectrum:
        return decompose(self.inputs, self.d_in)

    def first(self, n: int) -> Contexts:
        """The first so many tasks."""
        return self if n >= len(self.inputs) else Contexts(self.inputs[:n], self.d_in)
