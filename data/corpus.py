"""Documents cut into windows that a model can read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .batch import tensors_sha256
from .documents import Document
from .errors import TaskError
from .recipe import Recipe


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one length.

    document:  index of each window's document
    start:     index in the document of the window's first token; BOS is not counted
    """

    tokens: Int[Tensor, "window pos"]
    document: Int[np.ndarray, " window"]
    start: Int[np.ndarray, " window"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents cut into consecutive windows; the last window of a document may be shorter.

    documents:  token ids, without BOS
    length:     tokens per window, BOS included
    bos:        the token put before every window; None: no token
    """

    documents: tuple[Document, ...]
    length: int
    bos: int | None
    recipe: Recipe

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents, without BOS."""
        return sum(map(len, self.documents))

    def batches(self, batch_size: int) -> Iterator[Windows]:
        """Every window once, in batches of one length: full windows first, then the shorter ends of documents."""
        own = self.length - (self.bos is not None)
        cuts = [
            (document, start, min(own, len(ids) - start))
            for document, ids in enumerate(self.documents)
            for start in range(0, len(ids), own)
            if len(ids) - start + (self.bos is not None) >= 2  # a single token has no next token
        ]
        for _, of_one_length in groupby(sorted(cuts, key=lambda cut: -cut[2]), key=lambda cut: cut[2]):
            same = list(of_one_length)
            for first in range(0, len(same), batch_size):
                yield self._windows(same[first : first + batch_size])

    def _windows(self, cuts: Sequence[tuple[int, int, int]]) -> Windows:
        rows = np.stack([self.documents[document][start : start + n] for document, start, n in cuts])
        if self.bos is not None:
            rows = np.concatenate([np.full((len(rows), 1), self.bos), rows], axis=1)
        document, start, _ = np.array(cuts).T
        return Windows(torch.from_numpy(rows), document, start)


def windows(
    documents: Sequence[Document],
    length: int,
    d_vocab: int,
    bos: int | None = None,
    limit: int | None = None,
    family: str = "documents",
    settings: Mapping[str, Any] | None = None,
) -> Corpus:
    """Cut documents into windows of `length` tokens.

    limit:             keep the first `limit` tokens of all documents together
    family, settings:  where the documents came from, for the recipe

    Raises TaskError for tokens outside the vocabulary, and if no document has a next token to predict.
    """
    if length < 2:
        raise TaskError(f"window length is {length} tokens; expected at least 2")
    kept: list[Document] = []
    for number, document in enumerate(documents):
        outside = (document < 0) | (document >= d_vocab)
        if outside.any():
            raise TaskError(
                f"token {document[outside.argmax()]} at position {outside.argmax()} of document {number}; expected 0 to"
                f" {d_vocab - 1}, this model's vocabulary; the text may have been encoded with another tokenizer"
            )
        left = None if limit is None else limit - sum(map(len, kept))
        if left is None or left > 0:
            kept.append(document[:left])
    if (longest := max(map(len, kept), default=0) + (bos is not None)) < 2:
        raise TaskError(
            f"the longest document has a length of {longest}, BOS included; expected at least 2; give longer text"
        )
    ids = [torch.from_numpy(document) for document in kept]
    full = {**(settings or {}), "window": length, "bos": bos, "limit": limit}
    return Corpus(tuple(kept), length, bos, Recipe(family, full, None, len(kept), tensors_sha256(*ids)))
