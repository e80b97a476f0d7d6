"""What a language model reads while its heads are looked at: a few sequences, each of which is a replicate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from ..data.batch import generator
from ..data.corpus import Corpus, windows
from ..data.documents import Document, read_documents
from ..data.errors import TaskError
from ..data.grammar import Grammar
from ..data.recipe import Recipe, named_seed
from ..data.segments import RepeatedSegments
from ..models.language_model import LanguageModel

LONGEST = 128
"""Tokens of a sequence where nobody asks for another length, and the model reads as many."""
SHORTEST = 3
"""Tokens that a sequence needs: its last query attends to two keys, position 0 apart."""


@dataclass(frozen=True)
class SequenceSettings:
    """What a user asks to be read.

    text, tokens:  a file of text, read with the model's own tokenizer, or of token ids; without either, text of the
                   shipped grammar, and random tokens where the model has no tokenizer
    n_sequences:   sequences that are read, at most
    context:       tokens of a sequence, BOS included; by default the model's context, at most 128
    """

    text: str | None = None
    tokens: str | None = None
    n_sequences: int = 16
    context: int | None = None


@dataclass(frozen=True, eq=False)
class Sequences:
    """Tokens to read, the longest sequences first, and where they came from.

    groups:  sequences of one length each
    """

    groups: tuple[Int[Tensor, "sequence pos"], ...]
    recipe: Recipe

    def __len__(self) -> int:
        return sum(map(len, self.groups))

    @property
    def length(self) -> int:
        """Tokens of the longest sequence."""
        return self.groups[0].shape[1]

    def batches(self, batch_size: int) -> Iterator[tuple[int, Int[Tensor, "sequence pos"]]]:
        """Batches of one length, each with the number of its first sequence."""
        first = 0
        for group in self.groups:
            for tokens in group.split(batch_size):
                yield first, tokens
                first += len(tokens)


def queries_of(length: int, n: int) -> tuple[int, ...]:
    """Evenly spaced positions of a sequence, the last one included and position 0 not."""
    spaced = np.unique(np.linspace(0, length - 1, n + 1).round().astype(np.int64))
    return tuple(spaced[spaced > 0].tolist())


def read_sequences(subject: LanguageModel, settings: SequenceSettings, seed: int, segments: bool = False) -> Sequences:
    """The user's text or tokens; without either, text of the grammar, each sequence from a document of its own.

    segments:  a model whose record says that it learned repeated segments reads such, in place of random tokens

    Raises TaskError for files and lengths that do not fit the subject.
    """
    found = _cut(subject, settings, *_documents(subject, settings, seed, segments))
    if found is None:
        raise TaskError(f"the text has no window of {SHORTEST} tokens, BOS included; give longer text")
    return found


def other_sequences(
    subject: LanguageModel, settings: SequenceSettings, seed: int, segments: bool = False
) -> Sequences | None:
    """As many sequences of the same kind, none of which `read_sequences` gives: drawn with another seed, or what comes
    later in the user's text. None where nothing comes later.
    """
    if settings.text is None and settings.tokens is None:
        return read_sequences(subject, settings, named_seed(seed, "other head sequences"), segments)
    documents, family, facts = _documents(subject, settings, seed, segments)
    later = _later(documents, _limit(subject, settings))
    longest = max(map(len, later), default=0) + (subject.bos is not None)
    return _cut(subject, settings, later, family, facts) if longest >= SHORTEST else None


def _later(documents: Sequence[Document], limit: int) -> list[Document]:
    """All but the first `limit` tokens of all documents together."""
    begins = np.cumsum([0, *map(len, documents)])
    return [ids[max(0, limit - begin) :] for begin, ids in zip(begins, documents, strict=False)]


def _limit(subject: LanguageModel, settings: SequenceSettings) -> int:
    """Tokens that are read at most, BOS not counted."""
    return settings.n_sequences * _own_length(subject, settings)


def _own_length(subject: LanguageModel, settings: SequenceSettings) -> int:
    return length_of(subject, settings.context) - (subject.bos is not None)


def _cut(
    subject: LanguageModel,
    settings: SequenceSettings,
    documents: Sequence[Document],
    family: str,
    facts: Mapping[str, Any],
) -> Sequences | None:
    """The first windows of some documents; None where none is long enough."""
    length, shape = length_of(subject, settings.context), (subject.shape.d_vocab, subject.bos)
    full = {**facts, "sequences": settings.n_sequences}
    corpus = windows(documents, length, *shape, _limit(subject, settings), family, full)
    groups = tuple(_first(corpus, settings.n_sequences))
    return Sequences(groups, corpus.recipe) if groups else None


def _first(corpus: Corpus, n: int) -> Iterator[Int[Tensor, "sequence pos"]]:
    """The first so many windows, the longest first, those of one length together."""
    taken = islice((some.tokens for some in corpus.batches(1)), n)
    by_length: dict[int, list[Tensor]] = {}
    for tokens in taken:
        by_length.setdefault(tokens.shape[1], []).append(tokens)
    yield from (torch.cat(group) for length, group in by_length.items() if length >= SHORTEST)


def length_of(subject: LanguageModel, context: int | None) -> int:
    longest = subject.shape.n_ctx
    if context is not None and longest is not None and context > longest:
        raise TaskError(f"context = {context}: {subject.source.name} reads at most {longest} tokens; give fewer")
    length = context or min(longest or LONGEST, LONGEST)
    if length < SHORTEST:
        raise TaskError(f"sequences of {length} tokens; expected at least {SHORTEST}: a query needs two keys to weigh")
    return length


def _documents(
    subject: LanguageModel, settings: SequenceSettings, seed: int, segments: bool
) -> tuple[Sequence[Document], str, Mapping[str, Any]]:
    """Documents, the family of the recipe, and its facts."""
    if settings.text is None and settings.tokens is None:
        drawn = settings.n_sequences, _own_length(subject, settings), named_seed(seed, "head sequences")
        return (_segments(subject, *drawn) if segments else None) or _drawn(subject, *drawn)
    asked: Literal["text", "tokens"] = "tokens" if settings.text is None else "text"
    encode = None if subject.tokenizer is None else subject.encode
    found = read_documents(str(settings.text or settings.tokens), encode, asked, subject.bos)
    return found.ids, asked, found.facts


def _segments(
    subject: LanguageModel, n: int, length: int, seed: int
) -> tuple[Sequence[Document], str, Mapping[str, Any]] | None:
    """Repeated segments as the subject's own record names them; None where it names none."""
    own = RepeatedSegments.recorded(subject.source.record, subject.shape.d_vocab)
    if own is None:
        return None
    drawn = own.draw(n, seed, 0)[:, 1:].numpy()
    return [ids[:length] for ids in drawn], own.family, {**asdict(own), "documents_seed": seed}


def _drawn(subject: LanguageModel, n: int, length: int, seed: int) -> tuple[Sequence[Document], str, Mapping[str, Any]]:
    """Documents of the grammar that the subject's own record names, or of the shipped one as text, or random ids."""
    own_grammar = Grammar.recorded(subject.source.record, subject.shape.d_vocab)
    if own_grammar is None and subject.tokenizer is None:
        size = (n, length)
        ids = torch.randint(subject.shape.d_vocab, size, generator=generator(seed, "random tokens"))
        return list(ids.numpy()), "random tokens", {"documents_seed": seed}
    grammar = own_grammar or Grammar()
    drawn = grammar.documents(n, seed).tokens[:, 1:]
    facts = {**asdict(grammar), "documents_seed": seed}
    if own_grammar is not None:
        return [ids.numpy()[:length] for ids in drawn], "grammar", facts
    texts = [np.array(subject.encode(grammar.text(ids)), dtype=np.int64)[:length] for ids in drawn]
    return texts, "grammar as text", facts
