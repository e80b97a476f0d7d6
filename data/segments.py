"""Token sequences in which random segments come back: nothing but their content says where, and what comes next.

A sequence is BOS, then spans one after another. A fresh span is a run of words that the sequence has not had yet; a
copy is an earlier stretch of the sequence, wherever it stood, word for word. Lengths and places vary from span to span,
so that no fixed offset predicts a copy; and every sequence orders the words anew, so that no bigram does.
What does is the induction rule: find the current word's last occurrence, and say the word that came after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .errors import TaskError
from .recipe import named_seed


@dataclass(frozen=True)
class RepeatedSegments:
    """Random words among which earlier stretches come back, at no fixed distance.

    A sequence has `length` tokens: BOS, which has the last id, and words 0 to n_words - 1.

    n_words:   at least length - 1, so that a sequence cannot run out of fresh words
    shortest:  words in a span, at least
    longest:   and at most; every length between is as likely. A copy is shorter where less went before it
    """

    family: ClassVar[str] = "repeated-segments"

    n_words: int = 128
    length: int = 128
    shortest: int = 2
    longest: int = 50

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest:
            raise TaskError(f"spans of {self.shortest} to {self.longest} words: expected at least 1, the shorter first")
        if self.length < 2:
            raise TaskError(f"length = {self.length}: a sequence needs BOS and at least one word")
        if self.n_words < self.length - 1:
            raise TaskError(f"n_words = {self.n_words}: sequences of {self.length} tokens need {self.length - 1}")

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
        words, said, at = rng.permutation(self.n_words), 0, 1
        while at < self.length:
            size = min(int(rng.integers(self.shortest, self.longest, endpoint=True)), self.length - at)
            if at > 1 and rng.integers(2):
                size = min(size, at - 1)
                start = int(rng.integers(1, at - size, endpoint=True))
                tokens[at : at + size] = tokens[start : start + size]
            else:
                tokens[at : at + size] = words[said : said + size]
                said += size
            at += size
        return tokens
