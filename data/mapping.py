"""Sequences of inputs with labels, BOS x1 y1 x2 y2 …: what a label depends on decides how a model can learn it.

Inputs belong to classes, and a sequence shows the members of a few of them, each at most once. Its classes' labels are
drawn anew, are the same in all sequences, or do not depend on the classes at all. Only in the first case is there
something to learn from the pairs before: the label that the same class had there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge
from jaxtyping import Bool, Int
from torch import Tensor

from .errors import TaskError
from .recipe import named_seed
from .settings import check_settings


@dataclass(frozen=True)
class LabelMapping:
    """Inputs in classes, each followed by a label; a loss counts labels alone.

    The ids of inputs come first, class by class, then those of labels, and BOS is the last id.

    labels:     "in-context": each class of a sequence has its own label, drawn anew in every sequence; "in-weights": a
                class has the same label in all sequences; "random": every pair has one of its sequence's labels
    n_classes:  classes of inputs
    n_members:  inputs of a class
    n_labels:   labels that there are
    n_shown:    classes in a sequence, and labels
    n_pairs:    inputs in a sequence, each with its label
    """

    family: ClassVar[str] = "label-mapping"

    labels: Literal["in-context", "in-weights", "random"] = "in-context"
    n_classes: Annotated[int, Ge(2)] = 8
    n_members: Annotated[int, Ge(1)] = 8
    n_labels: Annotated[int, Ge(2)] = 16
    n_shown: Annotated[int, Ge(2)] = 2
    n_pairs: Annotated[int, Ge(1)] = 9

    def __post_init__(self) -> None:
        check_settings(self, "tasks: ", TaskError)
        named = f"n_classes = {self.n_classes}, n_labels = {self.n_labels}"
        if self.n_shown > min(self.n_classes, self.n_labels):
            raise TaskError(f"tasks: n_shown = {self.n_shown} with {named}; expected at most as many as there are")
        if self.labels == "in-weights" and self.n_classes > self.n_labels:
            raise TaskError(f"tasks: {named}; expected a label for each class, as labels = in-weights")
        if self.n_pairs > self.n_shown * self.n_members:
            raise TaskError(
                f"tasks: n_pairs = {self.n_pairs}; expected at most n_shown x n_members = "
                f"{self.n_shown * self.n_members} different inputs"
            )

    @classmethod
    def recorded(cls, record: Mapping[str, Any], d_vocab: int) -> LabelMapping | None:
        """The mapping that a training's record names, where its vocabulary has that size."""
        tasks: Mapping[str, Any] = record.get("recipe", {}).get("tasks", {})
        if tasks.get("family") != cls.family:
            return None
        mapping = cls(**{name: value for name, value in tasks.items() if name != "family"})
        return mapping if mapping.d_vocab == d_vocab else None

    @property
    def n_inputs(self) -> int:
        """How many inputs there are: the id of the first label."""
        return self.n_classes * self.n_members

    @property
    def bos(self) -> int:
        return self.n_inputs + self.n_labels

    @property
    def d_vocab(self) -> int:
        return self.bos + 1

    @property
    def length(self) -> int:
        return 1 + 2 * self.n_pairs

    def targets(self, tokens: Int[Tensor, "sequence pos"]) -> Bool[Tensor, "sequence pos"]:
        """Which tokens are to be predicted: labels."""
        return (tokens >= self.n_inputs) & (tokens < self.bos)

    def draw(self, n: int, seed: int, step: int) -> Int[Tensor, "sequence pos"]:
        """The sequences of one training step; a pure function of its arguments."""
        rng = np.random.Generator(np.random.SFC64([named_seed(seed, "training mappings"), step]))
        classes = _different(rng, n, self.n_classes, self.n_shown)
        places = _different(rng, n, self.n_shown * self.n_members, self.n_pairs)
        labels = classes if self.labels == "in-weights" else _different(rng, n, self.n_labels, self.n_shown)
        which, member = np.divmod(places, self.n_members)
        told = rng.integers(self.n_shown, size=which.shape) if self.labels == "random" else which
        tokens = np.full((n, self.length), self.bos)
        tokens[:, 1::2] = np.take_along_axis(classes, which, axis=1) * self.n_members + member
        tokens[:, 2::2] = self.n_inputs + np.take_along_axis(labels, told, axis=1)
        return torch.from_numpy(tokens)


def _different(rng: np.random.Generator, n: int, of: int, size: int) -> Int[np.ndarray, "n size"]:
    """In each of `n` rows, `size` different numbers below `of` in random order."""
    return rng.random((n, of)).argsort(axis=1)[:, :size]
