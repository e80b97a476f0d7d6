"""The inputs: sequences of random tokens, with the recipe that makes them again."""

from __future__ import annotations

import torch
from mesascope.data import Recipe, TokenBatch
from mesascope.data.batch import generator, tensors_sha256


def random_tokens(d_vocab: int, bos: int | None, length: int, n: int, seed: int) -> TokenBatch:
    """`n` sequences of `length` tokens, drawn evenly from the vocabulary. BOS, where there is one, comes first and
    nowhere else: a head that looks for it must find it in one place.
    """
    usable = d_vocab - (bos is not None)
    tokens = torch.randint(usable, (n, length), generator=generator(seed, "head-reach", length))
    if bos is not None:
        tokens += tokens >= bos  # every token but BOS
        tokens[:, 0] = bos
    settings = {"d_vocab": d_vocab, "bos": bos, "length": length}
    return TokenBatch(tokens, Recipe("random tokens", settings, seed, n, tensors_sha256(tokens)))
