"""Batches: inputs, with the recipe that reproduces them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from .recipe import Recipe, named_seed


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs `[task, token, feature]` with their targets, and the recipe that reproduces them.

    Two batches are equal only if they are the same object, so that results can be cached by batch.
    """

    inputs: Shaped[Tensor, "task token *feature"]
    targets: Float[Tensor, "task d_out"]
    recipe: Recipe

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, index: slice) -> Batch:
        """A slice of the tasks; the recipe stays that of the whole batch."""
        return Batch(self.inputs[index], self.targets[index], self.recipe)

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        return Batch(self.inputs.to(device, dtype), self.targets.to(device, dtype), self.recipe)


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Sequences of token ids, and the recipe that reproduces them."""

    tokens: Int[Tensor, "sequence pos"]
    recipe: Recipe

    def __len__(self) -> int:
        return self.tokens.shape[0]


def tensors_sha256(*tensors: Tensor) -> str:
    """SHA-256 over shapes and bytes, in the order given."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for one named purpose. Inputs are always drawn on the CPU: the same on every device."""
    return torch.Generator().manual_seed(named_seed(seed, *names))
