"""What a language model is given to read, and in which pieces it is resampled."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from ...data.corpus import Corpus, Document, Windows, read_documents, windows
from ...data.errors import TaskError
from ...data.grammar import Grammar
from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable

LONGEST = 512
"""Tokens of a window where nobody asks for another length, and the model reads as many."""
TOKENS = 16_384
"""Tokens of the grammar's text, or a few more, where nobody asks for another number."""
UNITS, BLOCKS = 500, 50
"""So many pieces are resampled at most: memory does not grow with the corpus."""
_IDS = "give token ids with --tokens FILE (.npy, .npz, .jsonl)"


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of text from a grammar: every token's log frequency, and the entropy of what follows each token."""

    log_frequency: Float[np.ndarray, " d_vocab"]
    entropy: tuple[Float[np.ndarray, " _"], ...]


@dataclass(frozen=True, eq=False)
class Reading:
    """A corpus, with what is known of its tokens.

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
        return len(self.corpus.documents) if self.replicate == "document" else self.n_units

    @cached_property
    def n_units(self) -> int:
        """Pieces that sums are kept of."""
        if self.replicate == "document":
            return min(len(self.corpus.documents), UNITS)
        return min(self._windows_of(self.corpus.documents[0]), BLOCKS)

    def _windows_of(self, document: Document) -> int:
        return math.ceil(len(document) / self.own)

    @property
    def own(self) -> int:
        """Tokens of a document in one window, BOS aside."""
        return self.corpus.length - (self.corpus.bos is not None)

    @property
    def message(self) -> str:
        """What an interval must say."""
        n = self.n_replicates
        if self.replicate == "block":
            return f"a single document: intervals resample {n} blocks of consecutive windows"
        if n > self.n_units:
            return f"{n:,} documents in {self.n_units} groups of consecutive ones"
        return "few documents: intervals are rough" if n < 10 else ""

    def units(self, some: Windows) -> Int[np.ndarray, " window"]:
        """Which piece each window belongs to."""
        if self.replicate == "document":
            return some.document * self.n_units // len(self.corpus.documents)
        return some.start // self.own * self.n_units // self._windows_of(self.corpus.documents[0])

    def true_entropy(self, some: Windows) -> Float[np.ndarray, "window pos"] | None:
        """Entropy of what follows each token, by the grammar; NaN for a document's last token, which none follows."""
        if self.truth is None:
            return None
        n = some.tokens.shape[1]
        after_first = some.start + (1 if self.corpus.bos is not None else 2)  # the grammar counts its own BOS, too
        rows = zip((self.truth.entropy[document] for document in some.document), after_first, strict=True)
        return np.stack([row[first : first + n] for row, first in rows])

    def first(self, tokens: int) -> Reading:
        """The first documents, so many tokens of them."""
        corpus, d_vocab = self.corpus, len(self.log_frequency)
        of = (corpus.recipe.family, corpus.recipe.settings)
        return replace(self, corpus=windows(corpus.documents, corpus.length, d_vocab, corpus.bos, tokens, *of))


def read(
    subject: LanguageModel,
    text: str | None = None,
    tokens: str | None = None,
    limit: int | None = None,
    context: int | None = None,
    seed: int = 0,
) -> Reading:
    """The user's text or tokens; without either, text of the grammar that nothing was trained on.

    Raises TaskError for files and lengths that do not fit the subject.
    """
    length = _length(subject, context)
    if text is None and tokens is None:
        return _of_grammar(subject, limit, length, seed)
    path = text if text is not None else tokens
    documents = read_documents(str(path), None if subject.tokenizer is None else subject.encode)
    return _reading(subject, documents, length, limit, "text" if text is not None else "tokens", {})


def refusal(subject: LanguageModel, text: str | None, tokens: str | None) -> NotApplicable | None:
    """Why nothing can be read, where that is known before trying."""
    if tokens is not None or subject.tokenizer is not None or (text is None and recorded_grammar(subject)):
        return None
    return NotApplicable(f"{subject.source.name} came without a tokenizer, so text cannot go in; {_IDS}")


def recorded_grammar(subject: LanguageModel) -> Grammar | None:
    """The grammar that the subject's own record names, when its vocabulary is the grammar's."""
    tasks: Mapping[str, Any] = subject.source.record.get("recipe", {}).get("tasks", {})
    if tasks.get("family") != Grammar.family:
        return None
    grammar = Grammar(**{name: value for name, value in tasks.items() if name != "family"})
    return grammar if grammar.d_vocab == subject.shape.d_vocab else None


def _length(subject: LanguageModel, context: int | None) -> int:
    longest = subject.shape.n_ctx
    if context is not None and longest is not None and context > longest:
        raise TaskError(f"context = {context}: {subject.source.name} reads at most {longest} tokens")
    return context or min(longest or LONGEST, LONGEST)


def _of_grammar(subject: LanguageModel, limit: int | None, length: int, seed: int) -> Reading:
    """Documents drawn with a seed of their own: none of a training's."""
    grammar = recorded_grammar(subject) or Grammar()
    n = math.ceil((limit or TOKENS) / (grammar.length - 1))
    own = named_seed(seed, "token norms")
    found = grammar.documents(n, own)
    settings = {**asdict(grammar), "documents_seed": own}
    if recorded_grammar(subject) is None:
        documents = [np.array(subject.encode(grammar.text(ids)), dtype=np.int64) for ids in found.tokens]
        return _reading(subject, documents, length, limit or TOKENS, "grammar as text", settings)
    documents = [ids.numpy() for ids in found.tokens[:, 1:]]
    entropy = torch.nn.functional.pad(found.entropy, (0, 1), value=torch.nan).numpy()
    with np.errstate(divide="ignore"):
        truth = Truth(np.log(grammar.frequencies().numpy()), tuple(entropy))
    return _reading(subject, documents, length, limit, "grammar", settings, truth)


def _reading(
    subject: LanguageModel,
    documents: Sequence[Document],
    length: int,
    limit: int | None,
    family: str,
    settings: Mapping[str, Any],
    truth: Truth | None = None,
) -> Reading:
    d_vocab = subject.shape.d_vocab
    corpus = windows(documents, length, d_vocab, subject.bos, limit, family, settings)
    counts = np.bincount(np.concatenate(documents), minlength=d_vocab).astype(np.float64)
    with np.errstate(divide="ignore"):
        return Reading(corpus, np.log(counts), truth)
