"""What a survey notes of one layer."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .survey import Attended, Call, Survey


@dataclass(frozen=True, eq=False)
class Layer:
    """The calls within a block, in the order of their ends.

    calls:     with paths from the block
    attended:  its call of attention; None: it is not known
    start:     how many of them had ended then; 0 where it is not known
    pre, post: the residual stream before and after the block
    """

    calls: list[Call]
    start: int
    attended: Attended | None
    pre: Float[Tensor, "batch pos d_model"]
    post: Float[Tensor, "batch pos d_model"]

    @classmethod
    def of(cls, found: Survey, path: str, attended: Attended | None) -> Layer:
        """The notes on the block at a path from the base model."""
        number, block = next((n, call) for n, call in enumerate(found.calls) if call.path == path)
        prefix = f"{path}."
        inside = [
            (n, replace(call, path=call.path.removeprefix(prefix)))
            for n, call in enumerate(found.calls[:number])
            if call.path.startswith(prefix)
        ]
        start = 0 if attended is None else sum(n < attended.before for n, _ in inside)
        return cls([call for _, call in inside], start, attended, block.read, block.wrote)

    def in_stream(self, tensor: Tensor) -> Float[Tensor, "batch pos d_model"] | None:
        """A tensor in the shape of the stream; some families have all tokens in one row. None: it is of another."""
        if tensor.shape == self.pre.shape:
            return tensor
        return tensor.view(self.pre.shape) if tensor.shape == self.pre.flatten(0, 1).shape else None


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two notes are of the same tensor, up to its shape."""
    return a.numel() == b.numel() and torch.equal(a.reshape(-1), b.reshape(-1))


def is_norm(call: Call) -> bool:
    """Whether a module changes what it reads without any matrix."""
    return all(parameter.ndim == 1 for parameter in call.module.parameters()) and not same(call.read, call.wrote)
