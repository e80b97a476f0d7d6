"""The user's own text or tokens: attention to what followed earlier occurrences of the same token, wherever they are.

Natural text repeats itself in ways that position alone predicts, so the control is within the text: what the same
offsets get from queries that have no match there (see `matching_attention`). No verdict depends on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.corpus import Corpus, read_documents, windows
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, Reduce, Site
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .experiment import OWN_TEXT, Experiment
from .names import HEADS
from .scores import matching_attention
from .watchers import PerHead

LONGEST = 1024
"""Tokens of a window, where the model reads so many."""
_AFTER = {"text_matching": 1, "text_duplicate": 0}


class Matches(PerHead):
    """Attention to matches by the tokens' identity, and its excess over the same offsets without a match."""

    _tokens: Int[Tensor, "batch pos"]

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        self._tokens = tokens
        return super().watch(tokens)

    def reduce(self, activation: AttentionScores, layer: int) -> Mapping[str, Float[Tensor, "batch head"]]:
        tokens = self._tokens.to(activation.q.device)
        matchings = {name: matching_attention(activation, tokens, after) for name, after in _AFTER.items()}
        scores = {f"{name}_score": matching.score for name, matching in matchings.items()}
        return scores | {f"{name}_excess": matching.excess for name, matching in matchings.items()}


def read_corpus(subject: LanguageModel, path: str, limit: int | None) -> Corpus:
    """The user's file as windows that the model can read."""
    length = min(subject.shape.n_ctx or LONGEST, LONGEST)
    documents = read_documents(path, None if subject.tokenizer is None else subject.encode)
    return windows(documents, length, subject.shape.d_vocab, subject.bos, limit, settings={"file": Path(path).name})


def text_measures(experiment: Experiment, corpus: Corpus) -> dict[str, Measure]:
    """text_matching_score and _excess, text_duplicate_score and _excess, of every head.

    Means over documents, or over windows where there is one document only; those without any match are left out.
    """
    watcher, documents = Matches(), []
    for batch in corpus.batches(experiment.passes.batch_size):
        experiment.passes.send(OWN_TEXT, batch.tokens, [watcher])
        documents.append(batch.document)
    groups, replicate = np.concatenate(documents), "document"
    if len(np.unique(groups)) == 1:
        groups, replicate = np.arange(len(groups)), "window"
    measures = {}
    for name, values in watcher.arrays().items():
        samples = _means(values, groups)
        if not len(samples):
            measures[name] = missing("probability", "undefined", "no token of the text has an earlier occurrence")
            continue
        message = _left_out(len(np.unique(groups)) - len(samples), replicate)
        no_nulls = "the excess is over the same offsets without a match"
        metric = PerTask(samples, "probability", HEADS, no_nulls=no_nulls, message=message, replicate=replicate)
        measures |= task_measures({name: metric}, experiment.seed)
    return measures


def _left_out(n: int, replicate: str) -> str:
    return f"without {n} {replicate}{'s' * (n > 1)} in which no token comes back" if n else ""


def _means(
    values: Float64[np.ndarray, "window layer head"], groups: Int[np.ndarray, " window"]
) -> Float64[np.ndarray, "group layer head"]:
    """Mean over the windows of each group that have a value; a window has one for all heads or for none."""
    present = np.isfinite(values).all(axis=(1, 2))
    values, groups = values[present], groups[present]
    kept = np.unique(groups)
    means = np.empty((len(kept), *values.shape[1:]))
    for place, group in enumerate(kept):
        means[place] = values[groups == group].mean(axis=0)
    return means
