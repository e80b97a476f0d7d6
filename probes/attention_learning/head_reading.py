"""What a language model's heads do on some sequences: one watched pass, layer by layer, reduced to agreements at once.

Of each layer there are for a moment, for every head, query and key: alpha, the attention; and beta by the direct path,
of the model and of its twin. What is kept of them is each sequence's agreements, and the rows of a few queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int
from torch import Tensor

from ...models.attention import hidden
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, NotApplicable, Reduce, Site
from ..head_sequences import Sequences
from ..probe import Progress, silent
from .agreement import Agreements, joined
from .copy_reading import share_right
from .direct_path import DirectPath
from .head_pairs import Draws, Layer, OfPairs
from .head_saliency import saliency
from .head_settings import HeadHow, spaced
from .odds import attention_push
from .proxy import Proxy

FOLLOWED = 500_000
"""Numbers at most in each of the arrays that checkpoints are compared by."""
ROWS_AT_A_TIME = 2**19
"""Numbers of alpha that are looked at together: each copy takes 4 MB."""
_BIDIRECTIONAL = (
    "this model's attention is bidirectional: it sees the token after each position, which is the target here."
    " mesascope compares heads of causal models with what tokens say about the next one"
)

Kept = Float32[np.ndarray, "kept layer head query key"]


@dataclass(frozen=True, eq=False)
class Reader:
    """A model, and what its heads are compared with.

    twin:          a model of the same shape, with its direct path, or None
    proxy:         what each token says about each next one, or None
    with_saliency: whether saliency is measured, too
    """

    subject: LanguageModel
    path: DirectPath
    twin: DirectPath | None
    proxy: Proxy | None
    with_saliency: bool
    how: HeadHow
    seed: int

    def few(self, n_queries: int) -> list[int]:
        """Which of the queries saliency is measured at."""
        return list(spaced(n_queries, self.how.saliency)) if self.with_saliency else []


@dataclass(frozen=True, eq=False)
class HeadReading:
    """What was found on the sequences.

    agreed:           by the name of the pair; axes layer and head
    right:            share of a sequence's queries whose next token has the largest logit
    same:             heads whose beta is the same for every source, everywhere
    attention, push:  rows of a few queries, alike for every checkpoint of a shape; empty where one is too long
    """

    agreed: OfPairs
    right: Float64[np.ndarray, " sequence"]
    same: Bool[np.ndarray, "layer head"]
    attention: Kept
    push: Kept


def no_heads(subject: LanguageModel) -> NotApplicable | None:
    """Why heads of this model cannot be compared with beta; None where they can."""
    if not subject.shape.causal:
        return NotApplicable(_BIDIRECTIONAL)
    for site in ("attention", "v"):
        if reason := subject.not_shown.get(site):
            return NotApplicable(f"what this model's heads attend to and read cannot be compared: {reason}")
    path = DirectPath.of(subject)
    return path if isinstance(path, NotApplicable) else None


def attended(scores: AttentionScores, queries: tuple[int, ...]) -> Float64[Tensor, "batch head query key"]:
    """The attention of these queries; NaN for keys that the mask hides from them."""
    found, n = [], scores.log_normaliser.shape[-1]
    for first, block in scores.blocks():
        rows = [t - first for t in queries if first <= t < first + block.shape[2]]
        part = block[:, :, rows].cpu().double()
        found.append(torch.nn.functional.pad(part, (0, n - part.shape[-1])))
    back = torch.tensor(queries)[:, None] - torch.arange(n)
    return torch.cat(found, dim=2).masked_fill(hidden(back, scores.causal, scores.window), torch.nan)


class Followed(NamedTuple):
    """How many sequences, and queries of each, are kept row by row."""

    sequences: int
    queries: int

    @classmethod
    def of(cls, n_sequences: int, n_queries: int, numbers: int) -> Followed:
        """As many queries as fit, of all sequences; one query each of fewer sequences where that is too much.

        numbers:  that one query takes, in all layers and heads
        """
        fit = FOLLOWED // numbers
        return cls(min(n_sequences, fit), min(n_queries, max(1, fit // n_sequences)))


def read_heads(reader: Reader, sequences: Sequences, batch_size: int, progress: Progress = silent) -> HeadReading:
    """Reads all sequences."""
    shape, n = reader.subject.shape, len(sequences)
    longest = len(reader.how.positions(sequences.length, n))
    followed = Followed.of(n, longest, shape.n_layers * shape.n_heads * sequences.length)
    found = []
    for first, tokens in sequences.batches(batch_size):
        length, last = tokens.shape[1], first + len(tokens)
        queries = reader.how.positions(length, n)
        draws = Draws.of(n, length, len(queries), len(reader.few(len(queries))), reader.seed)
        kept = Followed(max(0, min(last, followed.sequences) - first), followed.queries)
        found.append(_Batch(reader, tokens, queries, draws.some(slice(first, last)), kept).read())
        progress(f"reading {reader.subject.source.label}", last / n)
    return HeadReading(
        agreed={name: joined([one.agreed[name] for one in found]) for name in found[0].agreed},
        right=np.concatenate([one.right for one in found]),
        same=np.all([one.same for one in found], axis=0),
        attention=_padded([one.attention for one in found], min(longest, followed.queries), sequences.length),
        push=_padded([one.push for one in found], min(longest, followed.queries), sequences.length),
    )


def _padded(batches: list[Kept], n_queries: int, n_keys: int) -> Float32[np.ndarray, "whole layer head most longest"]:
    """As one, with NaN where sequences are shorter."""
    sizes = [(n_queries - one.shape[-2], n_keys - one.shape[-1]) for one in batches]
    return np.concatenate(
        [
            np.pad(one, ((0, 0),) * 3 + ((0, queries), (0, keys)), constant_values=np.nan)
            for one, (queries, keys) in zip(batches, sizes, strict=True)
        ]
    )


class _Batch:
    """Takes the layers of one batch as they run.

    kept:  how many of its sequences are kept row by row, at how many queries
    """

    def __init__(
        self, reader: Reader, tokens: Int[Tensor, "batch pos"], queries: tuple[int, ...], draws: Draws, kept: Followed
    ) -> None:
        self._reader, self._tokens, self._queries, self._draws, self._kept = reader, tokens, queries, draws, kept
        self._targets = tokens[:, [t + 1 for t in queries]]
        self._directions = reader.path.directions(self._targets)
        self._twin = None if reader.twin is None else _Twin(reader.twin, tokens, self._targets)
        self._few = reader.few(len(queries))
        self._saliency = saliency(reader.subject, tokens, tuple(queries[n] for n in self._few)) if self._few else None
        self._proxy = None
        if reader.proxy is not None:
            self._proxy = reader.proxy.of(self._targets[..., None], tokens[:, None])[:, None].numpy()
        self._v = torch.empty(0)
        self._agreed: list[OfPairs] = []
        self._same: list[Bool[np.ndarray, " head"]] = []
        self._rows: list[tuple[Tensor, Tensor]] = []

    def read(self) -> HeadReading:
        watch: dict[Site, Reduce] = {"v": self._keep, "attention": self._take}
        states = self._reader.subject.run(self._tokens, watch).output
        attention, push = (torch.stack(layers, dim=1).numpy() for layers in zip(*self._rows, strict=True))
        agreed = {name: _over_layers([of[name] for of in self._agreed]) for name in self._agreed[0]}
        right = self._share_right(states[:, list(self._queries)])
        return HeadReading(agreed, right, np.stack(self._same), attention, push)

    def _keep(self, v: Float[Tensor, "batch kv_head pos d_head"], layer: int) -> None:
        self._v = v

    def _take(self, scores: AttentionScores, layer: int) -> None:
        alpha = attended(scores, self._queries)
        size, found, same = max(1, ROWS_AT_A_TIME // alpha[0].numel()), [], []
        for first in range(0, len(alpha), size):
            some = slice(first, min(first + size, len(alpha)))
            part = self._part(layer, alpha[some], some)
            found.append(part.agreements(self._draws.some(some)))
            same.append(part.same_for_every_source)
        self._agreed.append({name: joined([of[name] for of in found]) for name in found[0]})
        self._same.append(np.all(same, axis=0))
        self._rows.append(self._followed(layer, alpha))

    def _part(self, layer: int, alpha: Float64[Tensor, "some head query key"], some: slice) -> Layer:
        """The layer on some of the sequences."""
        return Layer(
            alpha=alpha.numpy(),
            beta=self._reader.path.beta(layer, self._v[some], self._directions[some]).numpy(),
            twin=None if self._twin is None else self._twin.beta(layer, some),
            proxy=None if self._proxy is None else self._proxy[some],
            saliency=None if self._saliency is None else self._saliency[some, None].numpy(),
            few=self._few,
        )

    def _followed(self, layer: int, alpha: Float64[Tensor, "batch head query key"]) -> tuple[Tensor, Tensor]:
        """Attention and push of the first sequences at a few queries."""
        n, n_queries = self._kept
        few = list(spaced(len(self._queries), n_queries))
        beta = self._reader.path.beta(layer, self._v[:n], self._directions[:n, few])
        rows = alpha[:n, :, few]
        return rows.float(), attention_push(rows, beta).float()

    def _share_right(self, states: Float[Tensor, "batch query d_model"]) -> Float64[np.ndarray, " batch"]:
        """One sequence at a time: logits of a large vocabulary are large."""
        found = []
        for of_one, targets in zip(states, self._targets, strict=True):
            with torch.no_grad():
                logits = self._reader.subject.unembed(of_one)
            found.append(float(share_right(logits.cpu(), targets).mean()))
        return np.array(found)


class _Twin:
    """The twin's values on one batch, of all layers."""

    def __init__(self, path: DirectPath, tokens: Int[Tensor, "batch pos"], targets: Int[Tensor, "batch query"]) -> None:
        keep: Any = lambda v, layer: v  # noqa: E731
        self._path, self._v = path, path.subject.observe(tokens, {"v": keep})["v"]
        self._directions = path.directions(targets)

    def beta(self, layer: int, some: slice) -> Float64[np.ndarray, "some head query key"]:
        return self._path.beta(layer, self._v[layer][some], self._directions[some]).numpy()


def _over_layers(layers: list[Agreements]) -> Agreements:
    """Of [sequence, head] for each layer, [sequence, layer, head]."""
    drawn = {null: np.stack([one.drawn[null] for one in layers], axis=2) for null in layers[0].drawn}
    return Agreements(np.stack([one.samples for one in layers], axis=1), drawn)
