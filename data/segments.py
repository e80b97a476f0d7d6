"""Token sequences with repeated random segments, which only an induction rule predicts.

A sequence is BOS followed by spans. A fresh span holds words that the sequence has not had yet; a copy repeats an
earlier stretch of the sequence word for word. Lengths and places vary from span to span, so no fixed offset predicts a
copy. Every sequence has its own random order of words, so no bigram statistics do either. The induction rule does: find
the last occurrence of the current word, and predict the word after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .errors import TaskError
from .recipe import named_seed


@dataclass(frozen=True)
class RepeatedSegments:
    """Random words with copies of earlier stretches at varying distances.

    A sequence has `length` tokens: BOS (the last id), then words 0 to n_words - 1.

    n_words:            at least length - 1, so that a sequence never runs out of fresh words
    shortest, longest:  words in a span, drawn uniformly; a copy is shorter where fewer words precede it
    """

    family: ClassVar[str] = "repeated-segments"

    n_words: int = 128
    length: int = 128
    shortest: int = 2
    longest: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise TaskError(f"shortest = {self.shortest}, longest = {self.longest}; expected 1 <= shortest <= longest")
        if self.length < 2:
            raise TaskError(f"length = {self.length}; expected at least 2, BOS and one word")
        if self.n_words < self.length - 1:
            raise TaskError(f"n_words = {self.n_words}; expected at least {self.length - 1} for length = {self.length}")

    @classmethod
    def recorded(cls, record: Mapping[str, Any], d_vocab: int) -> RepeatedSegments | None:
        """The segments that a training's record names, where their vocabulary has that size."""
        tasks: Mapping[str, Any] = record.get("recipe", {}).get("tasks", {})
        if tasks.get("family") != cls.family:
            return None
        segments = cls(**{name: value for name, value in tasks.items() if name != "family"})
        return segments if segments.d_vocab == d_vocab else None

    @property
    def bos(self) -> int:
        return self.n_words

    @property
    def d_vocab(self) -> int:
        return self.n_words + 1

    def draw(self, n: int, seed: int, step: int) -> Int[Tensor, "sequence pos"]:
        """The sequences of one training step; a pure function of its arguments."""
        rng = np.random.Generator(np.random.SFC64([named_seed(seed, "training segments"), step]))
        return torch.from_numpy(np.stack([self._sequence(rng) for _ in range(n)]))

    def _sequence(self, rng: np.random.Generator) -> np.ndarray:
        """One sequence. After the first span, which is fresh, fresh spans and copies are equally likely."""
        tokens = np.full(self.length, self.bos)
        words, used, at = rng.permutation(self.n_words), 0, 1
        while at < self.length:
            size = min(int(rng.integers(self.shortest, self.longest, endpoint=True)), self.length - at)
            if at > 1 and rng.integers(2):
                size = min(size, at - 1)
                start = int(rng.integers(1, at - size, endpoint=True))
                tokens[at : at + size] = tokens[start : start + size]
            else:
                tokens[at : at + size] = words[used : used + size]
                used += size
            at += size
        return tokens
