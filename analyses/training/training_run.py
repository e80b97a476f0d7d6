"""The state of a training, and the `.partial` file from which it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ...data.errors import UsageError
from ...data.recipe import canonical_json
from ...data.writing import write_atomically
from .objectives import flatten, initial
from .recipe_kinds import BaseRecipe

FORMAT = "mesascope-training-1"


@dataclass
class TrainingRun:
    """Weights of every seed before update number `step`, Adam's moments, and what was kept at checkpoints so far.

    Each seed's parameters lie in one row, in the order of its configuration's `shapes`.
    """

    step: int
    weights: Float[Tensor, "seed parameter"]
    mean: Float[Tensor, "seed parameter"]
    square: Float[Tensor, "seed parameter"]
    kept: list[Float[Tensor, "seed parameter"]] = field(default_factory=list)
    losses: list[Float[Tensor, " seed"]] = field(default_factory=list)

    @classmethod
    def start(cls, recipe: BaseRecipe) -> TrainingRun:
        """Every seed's own initial weights."""
        weights = torch.stack([flatten(recipe.config, initial(recipe, seed)) for seed in recipe.seeds])
        return cls(0, weights, torch.zeros_like(weights), torch.zeros_like(weights))

    def to(self, device: str) -> TrainingRun:
        return TrainingRun(
            self.step, self.weights.to(device), self.mean.to(device), self.square.to(device), self.kept, self.losses
        )

    def keep(self, losses: Float[Tensor, " seed"]) -> None:
        """Keep the weights as they are now, with the loss of the batch that they are about to learn from."""
        self.kept.append(self.weights.detach().cpu().clone())
        self.losses.append(losses.detach().cpu())

    def save(self, path: Path, record: Mapping[str, Any]) -> None:
        tensors = {"weights": self.weights, "mean": self.mean, "square": self.square}
        if self.kept:
            tensors |= {"kept": torch.stack(self.kept), "losses": torch.stack(self.losses)}
        metadata = {"format": FORMAT, "step": str(self.step), "record": canonical_json(record)}
        content = save({name: tensor.detach().cpu() for name, tensor in tensors.items()}, metadata)
        with readable_errors(path):
            write_atomically(path, content)

    @classmethod
    def resume(cls, path: Path, record: Mapping[str, Any]) -> TrainingRun:
        """The training that stopped at `path`. Refuses one that would not end as `record` says."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata, names = file.metadata() or {}, file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            found = json.loads(metadata["record"])
            run = cls(int(metadata["step"]), tensors["weights"], tensors["mean"], tensors["square"])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise UsageError(
                f"{path}: not a training that can be resumed ({error}); remove it to start again"
            ) from error
        if differences := changes(found, record):
            raise UsageError(
                f"{path} holds another training ({'; '.join(differences)});"
                " resume it with its own settings, remove the file, or write elsewhere with -o"
            )
        run.kept, run.losses = list(tensors.get("kept", ())), list(tensors.get("losses", ()))
        return run


def changes(found: Mapping[str, Any], wanted: Mapping[str, Any], where: str = "") -> list[str]:
    """What differs between two records, one "name = found, here wanted" each."""
    differences = []
    for key in sorted({*found, *wanted}):
        a, b = found.get(key), wanted.get(key)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            differences += changes(a, b, f"{where}{key}.")
        elif a != b:
            differences.append(f"{where}{key} = {a!r}, here {b!r}")
    return differences


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """A folder that cannot be written, or a full disk, as an error in words."""
    try:
        yield
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror}); choose another file with -o") from error
