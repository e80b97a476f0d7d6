"""The copy task of Snell et al. 2021 (arXiv 2103.07601, section 5): say a sequence of words again.

A source is so many different words in random order, and the target at each place is the word that stands there. Where
every source holds all words, no source differs from another in what it holds, and so no word tells which target to
expect: co-occurrence is uninformative. Where a source holds some of the words, it is informative.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge
from jaxtyping import Int
from torch import Tensor

from .batch import TokenBatch, generator, tensors_sha256
from .errors import TaskError
from .recipe import Recipe
from .settings import check_settings


@dataclass(frozen=True)
class CopyTask:
    """Sources of different words in random order, which a model says again.

    n_words:   words that there are, with the ids 0 to n_words - 1
    n_tokens:  words of a source; as many as there are: every source is a permutation of all words
    """

    family: ClassVar[str] = "copying"

    n_words: Annotated[int, Ge(2)] = 40
    n_tokens: Annotated[int, Ge(2)] = 40

    def __post_init__(self) -> None:
        check_settings(self, "tasks: ", TaskError)
        if self.n_tokens > self.n_words:
            raise TaskError(
                f"tasks: n_tokens = {self.n_tokens} different words out of n_words = {self.n_words}; expected at most"
                f" {self.n_words}"
            )

    @classmethod
    def recorded(cls, record: Mapping[str, Any], d_vocab: int, n_ctx: int) -> CopyTask:
        """The task that a training record names, if it fits the model; else one with all its words and places."""
        recipe = record.get("recipe")
        tasks = recipe.get("tasks") if isinstance(recipe, Mapping) else None
        if isinstance(tasks, Mapping):
            n_words, n_tokens = tasks.get("n_words"), tasks.get("n_tokens")
            if (
                type(n_words) is int
                and type(n_tokens) is int
                and n_words <= d_vocab
                and 2 <= n_tokens <= min(n_words, n_ctx)
            ):
                return cls(n_words, n_tokens)
        return cls(d_vocab, min(d_vocab, n_ctx))

    @property
    def says_all(self) -> bool:
        """Whether every source holds all words."""
        return self.n_tokens == self.n_words

    def sample(self, n: int, seed: int) -> TokenBatch:
        """`n` sources [sequence, source]."""
        if n < 1:
            raise TaskError(f"n = {n} sequences; expected at least 1")
        tokens = self._drawn(n, generator(seed, self.family))
        return TokenBatch(tokens, Recipe(self.family, asdict(self), seed, n, tensors_sha256(tokens)))

    def draw(self, n: int, seed: int, step: int) -> Int[Tensor, "sequence source"]:
        """The sources of one training step; a pure function of its arguments."""
        return self._drawn(n, generator(seed, "training copies", step))

    def _drawn(self, n: int, rng: torch.Generator) -> Int[Tensor, "sequence source"]:
        order = torch.rand(n, self.n_words, generator=rng, dtype=torch.float64).argsort(dim=-1)
        return order[:, : self.n_tokens].contiguous()
