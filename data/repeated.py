"""Repeated random token sequences, a control without the repetition, and one that repeats in another order.

Olsson et al. 2022 (arXiv 2209.11895) score induction heads on such sequences: only matching by content predicts the
second repeat. The tokens of one period are distinct, so that every match is intended.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from .batch import TokenBatch, generator, tensors_sha256
from .errors import TaskError
from .recipe import Recipe


@dataclass(frozen=True)
class RepeatedTokens:
    """[BOS] + r + r + …, where r holds distinct tokens, drawn uniformly from the vocabulary without BOS.

    period:   tokens in r
    d_vocab:  size of the model's vocabulary
    repeats:  number of copies of r
    bos:      the token that begins the sequence; None: no token
    ids:      the tokens to draw from instead, ascending and without BOS; None: the whole vocabulary
    """

    period: int
    d_vocab: int
    repeats: int = 2
    bos: int | None = None
    ids: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.period < 1 or self.repeats < 2:
            raise TaskError(f"period = {self.period}, repeats = {self.repeats}; expected period >= 1 and repeats >= 2")
        if self._usable < max(self.period, self.repeats):
            drawn_from = "the size of the vocabulary without BOS" if self.ids is None else "the ids to draw from"
            raise TaskError(
                f"period = {self.period}, repeats = {self.repeats}; expected at most {self._usable} each, {drawn_from}"
            )

    @property
    def _usable(self) -> int:
        return self.d_vocab - (self.bos is not None) if self.ids is None else len(self.ids)

    @property
    def first(self) -> int:
        """Position of the first token of r."""
        return int(self.bos is not None)

    @property
    def length(self) -> int:
        """Tokens in a sequence, BOS included."""
        return self.first + self.repeats * self.period

    def draw(self, n: int, seed: int) -> TokenBatch:
        """`n` sequences. A larger `n` only adds sequences."""
        runs = torch.stack([self._run(seed, index) for index in range(n)])
        return self._batch("repeated tokens", runs.repeat(1, self.repeats), seed)

    def control(self, n: int, seed: int) -> TokenBatch:
        """The same sequences without the repetition: the same r, followed by other random tokens.

        If the vocabulary is large enough, no token occurs twice. Otherwise no token occurs at the same place of two
        periods.
        """
        rows = []
        for index in range(n):
            runs, rng = [self._run(seed, index)], generator(seed, "unrepeated tokens", self.period, index)
            while len(runs) < self.repeats:
                runs.append(self._fresh(runs, rng))
            rows.append(torch.cat(runs))
        return self._batch("unrepeated tokens", torch.stack(rows), seed)

    def shuffled(self, n: int, seed: int) -> TokenBatch:
        """The same sequences with each later repeat in an order of its own: all of r, and nothing followed by what
        followed it before. A control for what a repeat gives away in any order. TaskError for a period of 1.
        """
        if self.period < 2:
            raise TaskError("period = 1: a repeat of one token has no other order; expected at least 2")
        rows = []
        for index in range(n):
            run, rng = self._run(seed, index), generator(seed, "shuffled repeats", self.period, index)
            rows.append(torch.cat([run, *(run[self._new_order(rng)] for _ in range(self.repeats - 1))]))
        return self._batch("shuffled repeats", torch.stack(rows), seed)

    def _new_order(self, rng: torch.Generator) -> Int[Tensor, " period"]:
        while True:  # more than a third of all orders keep no pair of neighbours
            order = torch.randperm(self.period, generator=rng)
            if not (order.diff() == 1).any():
                return order

    def _run(self, seed: int, index: int) -> Int[Tensor, " period"]:
        """Ranks among the usable tokens."""
        return torch.randperm(self._usable, generator=generator(seed, "repeated tokens", self.period, index))[
            : self.period
        ]

    def _fresh(self, runs: list[Tensor], rng: torch.Generator) -> Int[Tensor, " period"]:
        if self._usable >= self.repeats * self.period:
            left = torch.ones(self._usable, dtype=torch.bool)
            left[torch.cat(runs)] = False
            others = left.nonzero().flatten()
            return others[torch.randperm(len(others), generator=rng)[: self.period]]
        while True:  # a third of all permutations has no token in its old place, a twentieth none in two
            run = torch.randperm(self._usable, generator=rng)[: self.period]
            if not any((run == other).any() for other in runs):
                return run

    def _batch(self, family: str, ranks: Int[Tensor, "sequence pos"], seed: int) -> TokenBatch:
        usable = torch.arange(self.d_vocab) if self.ids is None else torch.tensor(self.ids)
        tokens = usable[ranks] if self.bos is None else usable[usable != self.bos][ranks]
        if self.bos is not None:
            tokens = torch.cat([torch.full((len(ranks), 1), self.bos), tokens], dim=1)
        settings = {name: value for name, value in asdict(self).items() if name != "ids" or value is not None}
        return TokenBatch(tokens, Recipe(family, settings, seed, len(tokens), tensors_sha256(tokens)))
