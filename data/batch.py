"""Batch: inputs, and the recipe that makes the same inputs again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from .errors import TaskError


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no blanks, no NaN. The form that digests are taken of."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


@dataclass(frozen=True)
class Recipe:
    """Where inputs came from: enough to make them again and to notice when they changed.

    `sha256` is the digest of the bytes of inputs and targets, before any cast to the model's dtype.
    """

    family: str
    settings: Mapping[str, Any]
    seed: int | None
    n: int
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "family": self.family,
            "settings": dict(self.settings),
            "seed": self.seed,
            "n": self.n,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, eq=False)
class Batch:
    """Inputs `[task, token, feature]` with their targets, and the recipe that makes them again.

    Two batches are equal when they are the same object: what was worked out for one can then be remembered.
    """

    inputs: Shaped[Tensor, "task token *feature"]
    targets: Float[Tensor, "task d_out"]
    recipe: Recipe

    def __len__(self) -> int:
        return self.inputs.shape[0]

    def __getitem__(self, index: slice) -> Batch:
        """A run of tasks under the recipe of the whole."""
        return Batch(self.inputs[index], self.targets[index], self.recipe)

    def to(self, device: torch.device, dtype: torch.dtype) -> Batch:
        return Batch(self.inputs.to(device, dtype), self.targets.to(device, dtype), self.recipe)


@dataclass(frozen=True, eq=False)
class TokenBatch:
    """Sequences of token ids, and the recipe that makes them again."""

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


def file_sha256(path: str | Path) -> str:
    """Digest of a file of inputs: part of a run's identity, since the path alone is not."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror})") from error


def named_seed(seed: int, *names: str | int) -> int:
    """A seed for one named purpose, so that splits drawn from one seed never share their random numbers."""
    digest = hashlib.sha256(canonical_json([seed, *names]).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for one named purpose. Inputs are always drawn on the CPU: the same on every device."""
    return torch.Generator().manual_seed(named_seed(seed, *names))
