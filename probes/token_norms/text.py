"""What a language model is given to read, and the pieces of it that intervals resample."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int

from ...data.corpus import Corpus, Windows, windows
from ...data.documents import Document, read_documents
from ...data.errors import TaskError
from ...data.grammar import Grammar
from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ..reading import WINDOW

TOKENS = 16_384
"""Tokens of the grammar's text, or a few more, where nobody asks for another number."""
PIECES, BLOCKS = 500, 50
"""So many pieces are resampled at most: memory does not grow with the corpus."""
FEW_DOCUMENTS = 10


@dataclass(frozen=True)
class TextSettings:
    """What a user asks to have read: the settings of the probe with these names."""

    text: str | None = None
    tokens: str | None = None
    limit: int | None = None
    context: int | None = None
    pad_id: int | None = None


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of text from a grammar: every token's log frequency, and the entropy of what follows each token."""

    log_frequency: Float[np.ndarray, " d_vocab"]
    entropy: tuple[Float[np.ndarray, " _"], ...]


@dataclass(frozen=True, eq=False)
class Text:
    """A corpus, and what is known of its tokens.

    log_frequency:  log of how often each token occurs in all the text given; -inf where it does not
    truth:          where the text is a grammar's, in the subject's own tokens
    """

    corpus: Corpus
    log_frequency: Float[np.ndarray, " d_vocab"]
    truth: Truth | None = None

    @property
    def replicate(self) -> str:
        """What is resampled. Tokens of a document depend on each other; a single one is cut into blocks."""
        return "document" if len(self.corpus.documents) > 1 else "block"

    @property
    def n_replicates(self) -> int:
        return len(self.corpus.documents) if self.replicate == "document" else self.n_pieces

    @cached_property
    def n_pieces(self) -> int:
        """Pieces that sums are kept of: documents, groups of consecutive ones, or blocks of a single one."""
        if self.replicate == "document":
            return min(len(self.corpus.documents), PIECES)
        return min(self._n_windows(self.corpus.documents[0]), BLOCKS)

    @cached_property
    def window_shapes(self) -> tuple[tuple[int, int], ...]:
        """How many windows there are of each length, and the length."""
        return tuple((len(some.document), some.tokens.shape[1]) for some in self.corpus.batches(2**31))

    @property
    def longest_window(self) -> int:
        return max(length for _, length in self.window_shapes)

    def n_batches(self, batch_size: int) -> int:
        return sum(math.ceil(n / batch_size) for n, _ in self.window_shapes)

    @property
    def document_tokens(self) -> int:
        """Tokens of a document in one window, BOS not counted."""
        return self.corpus.length - (self.corpus.bos is not None)

    def _n_windows(self, document: Document) -> int:
        return math.ceil(len(document) / self.document_tokens)

    @property
    def interval_note(self) -> str:
        """What a reader of an interval must know about its resamples."""
        n = self.n_replicates
        if self.replicate == "block":
            return f"the text is one document: intervals resample {n} blocks of consecutive windows"
        if n > self.n_pieces:
            return f"intervals resample {n:,} documents in {self.n_pieces} groups of consecutive ones"
        return f"intervals are rough: they resample only {n} documents" if n < FEW_DOCUMENTS else ""

    def pieces(self, some: Windows) -> Int[np.ndarray, " window"]:
        """Which piece each window belongs to."""
        if self.replicate == "document":
            return some.document * self.n_pieces // len(self.corpus.documents)
        return some.start // self.document_tokens * self.n_pieces // self._n_windows(self.corpus.documents[0])

    def true_entropy(self, some: Windows) -> Float[np.ndarray, "window pos"] | None:
        """Entropy of what follows each token, by the grammar; NaN for a document's last token, which none follows."""
        if self.truth is None:
            return None
        n = some.tokens.shape[1]
        after_first = some.start + (1 if self.corpus.bos is not None else 2)  # the grammar counts its own BOS, too
        rows = zip((self.truth.entropy[document] for document in some.document), after_first, strict=True)
        return np.stack([row[first : first + n] for row, first in rows])

    def shortened(self, tokens: int) -> Text:
        """The first documents, so many tokens of them, the BOS of full windows among these."""
        corpus, recipe = self.corpus, self.corpus.recipe
        shape = (corpus.length, len(self.log_frequency), corpus.bos)
        limit = tokens * self.document_tokens // corpus.length
        return replace(self, corpus=windows(corpus.documents, *shape, limit, recipe.family, recipe.settings))


def read_text(subject: LanguageModel, settings: TextSettings, seed: int = 0) -> Text:
    """The user's text or tokens; without either, text of the grammar that nothing was trained on.

    Raises TaskError for files and lengths that do not fit the subject.
    """
    length = _window_length(subject, settings.context)
    if settings.text is None and settings.tokens is None:
        return _grammar_text(subject, settings.limit, length, seed)
    family: Literal["text", "tokens"] = "tokens" if settings.text is None else "text"
    path = str(settings.text or settings.tokens)
    encode = None if subject.tokenizer is None else subject.encode
    documents = read_documents(path, encode, family, subject.bos, settings.pad_id)
    shape = subject.shape.d_vocab, subject.bos
    corpus = windows(documents.ids, length, *shape, settings.limit, family, documents.facts)
    return _with_frequencies(corpus, documents.ids, subject)


def unreadable(subject: LanguageModel, settings: TextSettings) -> NotApplicable | None:
    """Why the subject can read nothing, where that is known before trying, and what to try."""
    own_grammar = Grammar.recorded(subject.source.record, subject.shape.d_vocab)
    needs_no_tokenizer = settings.text is None and own_grammar is not None
    if settings.tokens is not None or subject.tokenizer is not None or needs_no_tokenizer:
        return None
    return NotApplicable(
        f"{subject.source.name} has no tokenizer, so mesascope cannot turn text into its tokens. token-norms would"
        " apply with --tokens FILE (token ids: .npy, .npz or .jsonl)"
    )


def _window_length(subject: LanguageModel, context: int | None) -> int:
    longest = subject.shape.n_ctx
    if context is not None and longest is not None and context > longest:
        raise TaskError(f"context = {context}: {subject.source.name} reads at most {longest} tokens; give fewer")
    return context or min(longest or WINDOW, WINDOW)


def _grammar_text(subject: LanguageModel, limit: int | None, length: int, seed: int) -> Text:
    """Documents drawn with a seed of their own: none of a training's."""
    own_grammar = Grammar.recorded(subject.source.record, subject.shape.d_vocab)
    grammar = own_grammar or Grammar()
    documents_seed = named_seed(seed, "token norms")
    drawn = grammar.documents(math.ceil((limit or TOKENS) / (grammar.length - 1)), documents_seed)
    settings = {**asdict(grammar), "documents_seed": documents_seed}
    if own_grammar is None:
        documents = tuple(np.array(subject.encode(grammar.text(ids)), dtype=np.int64) for ids in drawn.tokens)
        family, limit, truth = "grammar as text", limit or TOKENS, None
    else:
        documents = tuple(ids.numpy() for ids in drawn.tokens[:, 1:])
        family, truth = "grammar", _truth(grammar, drawn.entropy)
    corpus = windows(documents, length, subject.shape.d_vocab, subject.bos, limit, family, settings)
    return _with_frequencies(corpus, documents, subject, truth)


def _truth(grammar: Grammar, entropy: Float[torch.Tensor, "document pos"]) -> Truth:
    after_each = torch.nn.functional.pad(entropy, (0, 1), value=torch.nan).numpy()
    with np.errstate(divide="ignore"):
        return Truth(np.log(grammar.frequencies().numpy()), tuple(after_each))


def _with_frequencies(
    corpus: Corpus, documents: tuple[Document, ...], subject: LanguageModel, truth: Truth | None = None
) -> Text:
    """A corpus, and how often each token occurs in all documents, also those beyond the limit."""
    counts = np.bincount(np.concatenate(documents), minlength=subject.shape.d_vocab).astype(np.float64)
    with np.errstate(divide="ignore"):
        return Text(corpus, np.log(counts), truth)
