"""The inputs: sequences of random tokens, with the recipe that makes them again."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Int
from mesascope.data import Recipe
from mesascope.data.batch import generator, tensors_sha256
from torch import Tensor


def random_tokens(d_vocab: int, bos: int | None, length: int, n: int, seed: int) -> Int[Tensor, "sequence pos"]:
    """`n` sequences of `length` tokens, drawn evenly from the vocabulary. BOS, where there is one, comes first and
    nowhere else: a head that looks for it must find it in one place.
    """
    usable = d_vocab - (bos is not None)
    tokens = torch.randint(usable, (n, length), generator=generator(seed, "head-reach", length))
    if bos is not None:
        tokens += tokens >= bos  # every token but BOS
        tokens[:, 0] = bos
    return tokens


def recipe(batches: Mapping[int, Int[Tensor, "_ _"]], d_vocab: int, bos: int | None, seed: int) -> Recipe:
    """Of the sequences of every length together. `n` counts those of one length: so many values each measure has."""
    settings = {"d_vocab": d_vocab, "bos": bos, "lengths": list(batches)}
    n = len(next(iter(batches.values())))
    return Recipe("random tokens", settings, seed, n, tensors_sha256(*batches.values()))
