"""The user's own text or tokens: attention to what followed earlier occurrences of the same token, wherever they are.

Natural text repeats itself in ways that position alone predicts, so the control is within the text: what the same
offsets get from queries that have no match there (see `matching_attention`). The null is the same read-out with the
window's ids shuffled: as many matches, at places where nothing matches.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.batch import generator
from ...data.corpus import Corpus, windows
from ...data.documents import read_documents
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, Reduce, Site
from ..measure import Measure, missing, without_interval
from ..reading import WINDOW, WINDOWS_A_PASS, Reading
from ..statistics.sample_measures import PerTask, task_measures
from ..statistics.sign_flips import adjusted, flips_needed, sequences_needed, sign_flip_p
from .names import HEADS, SHUFFLED_IDS
from .scores import matching_attention
from .watchers import PerHead
from .words import joined

SHUFFLES = 4
"""How often the ids of each window are shuffled."""
_AFTER = {"text_matching": 1, "text_duplicate": 0}
_NO_MATCH = "no token of the text has an earlier occurrence"


class Matches(PerHead):
    """Attention to matches by the tokens' identity, and its excess over the same offsets without a match.

    first:  where a window's own tokens begin: behind BOS
    seed:   of the shuffles; `shuffled` is the excess of matching with the ids shuffled, along a last axis
    """

    def __init__(self, first: int, seed: int) -> None:
        super().__init__()
        self._first, self._rng = first, generator(seed, "shuffled ids")
        self._tokens = torch.empty(0, 0, dtype=torch.int64)
        self._shuffled: list[Tensor] = []

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        self._tokens, self._shuffled = tokens, [self._shuffle(tokens) for _ in range(SHUFFLES)]
        return super().watch(tokens)

    def _shuffle(self, tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
        """Each window's tokens in a random order."""
        order = torch.rand(tokens[:, self._first :].shape, generator=self._rng).argsort(dim=1)
        return torch.cat([tokens[:, : self._first], tokens[:, self._first :].gather(1, order)], dim=1)

    def reduce(self, activation: AttentionScores, layer: int) -> Mapping[str, Float[Tensor, "batch head *more"]]:
        device = activation.q.device
        matchings = {name: matching_attention(activation, self._tokens.to(device), a) for name, a in _AFTER.items()}
        nulls = [matching_attention(activation, tokens.to(device)).excess for tokens in self._shuffled]
        scores = {f"{name}_score": matching.score for name, matching in matchings.items()}
        excesses = {f"{name}_excess": matching.excess for name, matching in matchings.items()}
        return {**scores, **excesses, "shuffled": torch.stack(nulls, dim=-1)}


PerGroup = Float64[np.ndarray, "group layer head *more"]


@dataclass(frozen=True)
class Replicates:
    """What is resampled: documents, or windows where there are too few of them.

    groups:  of each window
    """

    groups: Int[np.ndarray, " window"]
    name: str

    @classmethod
    def of(cls, documents: Int[np.ndarray, " window"], needed: int) -> Replicates:
        if len(np.unique(documents)) < needed:
            return cls(np.arange(len(documents)), "window")
        return cls(documents, "document")

    def means(self, values: Float64[np.ndarray, "window layer head *more"]) -> PerGroup:
        """Mean over the windows of each group that have a value; a window has one for all heads or for none."""
        present = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
        values, groups = values[present], self.groups[present]
        kept = np.unique(groups)
        means = np.empty((len(kept), *values.shape[1:]))
        for place, group in enumerate(kept):
            means[place] = values[groups == group].mean(axis=0)
        return means

    def left_out(self, kept: int) -> str:
        """How many had no match; "" where all had one."""
        n = len(np.unique(self.groups)) - kept
        return f"without {n} {self.name}{'s' * (n > 1)} in which no token comes back" if n else ""


def window_length(subject: LanguageModel) -> int:
    return min(subject.shape.n_ctx or WINDOW, WINDOW)


def read_corpus(
    subject: LanguageModel, path: str, asked: Literal["text", "tokens"], limit: int | None, pad: int | None
) -> Corpus:
    """The user's file as windows that the model can read."""
    length = window_length(subject)
    encode = None if subject.tokenizer is None else subject.encode
    documents = read_documents(path, encode, asked, subject.bos, pad)
    facts = {"file": Path(path).name, **documents.facts}
    return windows(documents.ids, length, subject.shape.d_vocab, subject.bos, limit, settings=facts)


class TextFindings(NamedTuple):
    """What a text shows, and how many windows of it were read."""

    measures: dict[str, Measure]
    windows: int


def text_reading(subject: LanguageModel, corpus: Corpus, batch_size: int, level: float, seed: int) -> Reading:
    """The text, and who watches. `TextFindings` come of it. Windows are longer than sequences, so of them no more than
    `WINDOWS_A_PASS` go through the model at once.

    level:  false discovery rate over heads
    """
    watcher, seen = Matches(int(corpus.bos is not None), seed), list[Int[np.ndarray, " window"]]()
    needed = sequences_needed(subject.shape.n_layers * subject.shape.n_heads, level)

    def found() -> TextFindings:
        documents = np.concatenate(seen)
        return TextFindings(text_measures(watcher, Replicates.of(documents, needed), level, seed), len(documents))

    return Reading(
        corpus, min(batch_size, WINDOWS_A_PASS), lambda: [watcher], found, lambda some: seen.append(some.document)
    )


def text_measures(watcher: Matches, replicates: Replicates, level: float, seed: int) -> dict[str, Measure]:
    """text_matching_score, _excess and _p_adjusted, text_duplicate_score and _excess, of every head.

    Means over documents, or over windows where there are too few documents for a test of all heads; those without any
    match are left out.
    """
    found = {name: replicates.means(values) for name, values in watcher.arrays().items()}
    shuffled = found.pop("shuffled")
    nulls = {SHUFFLED_IDS: np.moveaxis(shuffled.mean(axis=0), -1, 0)} if len(shuffled) else {}
    measures = {}
    for name, samples in found.items():
        beside = nulls if name == "text_matching_excess" else {}
        measures |= _measure(name, samples, beside, replicates, seed)
    p = _significance(found["text_matching_excess"], replicates.name, level, seed)
    return measures | {"text_p_adjusted": p}


def _measure(
    name: str, samples: PerGroup, nulls: Mapping[str, np.ndarray], replicates: Replicates, seed: int
) -> dict[str, Measure]:
    if not len(samples):
        return {name: missing("probability", "undefined", _NO_MATCH)}
    metric = PerTask(
        samples,
        "probability",
        HEADS,
        nulls=nulls,
        no_nulls="" if nulls else "the excess is over the same offsets without a match",
        message=replicates.left_out(len(samples)),
        replicate=replicates.name,
    )
    return task_measures({name: metric}, seed)


def _significance(excess: Float64[np.ndarray, "sample layer head"], replicate: str, level: float, seed: int) -> Measure:
    """p of an excess above 0, as false discovery rate over heads."""
    if not len(excess):
        return missing("probability", "undefined", _NO_MATCH)
    flips = flips_needed(excess[0].size, level)
    words = f"false discovery rate over heads; one-sided, from {flips:,} random sign flips of the {replicate}s"
    needed = sequences_needed(excess[0].size, level)
    few = f"{len(excess)} {replicate}s are too few: it takes {needed}" if len(excess) < needed else ""
    return without_interval(
        adjusted(sign_flip_p(excess, flips, seed)),
        "probability",
        HEADS,
        message=joined(few, words),
        no_nulls="a p value has a null of its own",
        higher_is_better=False,
        replicate=replicate,
        n=len(excess),
    )
