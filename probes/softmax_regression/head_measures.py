"""The two shifts of every attention head of a language model, as measures over a few sequences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import generator
from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, NotApplicable
from ..findings import Findings
from ..head_sequences import Sequences, queries_of, read_sequences
from ..measure import Measure, along, missing
from ..probe import Progress, silent
from ..statistics.sample_measures import PerTask, task_measures
from .head_names import ALL, AVERAGED, HEADS, KEYS, LATER, MEANS, RANDOM, UNITS, UNTRAINED, WORDS
from .head_settings import HeadSettings
from .head_shifts import MovedHeads, head_shifts, random_shifts
from .written_states import Projections, read_layers

DRAWS = 20
"""Random directions of each sequence."""
_FIRST = {ALL: 0, LATER: 1}
_NO_NUMBER = (
    "NaN where there is a sequence at none of whose queries it has a number: the head attends to one key only, or its"
    " layer's write changes nothing"
)


def random_directions(seed: int, first: int, n: int, d_head: int) -> Float[Tensor, "batch draw d_head"]:
    """Vectors of length 1 for the sequences of one batch, alike for all layers, heads and queries.

    first:  number of the first sequence: directions do not depend on the batch size
    """
    rngs = [generator(seed, "random directions", number) for number in range(first, first + n)]
    drawn = torch.stack([torch.randn(DRAWS, d_head, generator=rng, dtype=torch.float64) for rng in rngs])
    return drawn / drawn.norm(dim=-1, keepdim=True)


Samples = dict[tuple[str, str], Float[np.ndarray, "sequence layer head"]]
"""Means over the queries of a sequence, by the name of the measure and the label of `keys`."""
Drawn = dict[tuple[str, str], Float[np.ndarray, "sequence layer head draw"]]
"""The same for random directions."""


@dataclass
class ShiftReader:
    """Reduces the attention of a batch's layers to means over its queries.

    directions:  None: the null of random directions is not wanted
    """

    queries: tuple[int, ...]
    directions: Float[Tensor, "batch draw d_head"] | None
    own: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)
    random: dict[tuple[str, str], list[Tensor]] = field(default_factory=dict)

    def take(self, layer: int, before: AttentionScores, after: AttentionScores) -> None:
        window = before.window or before.q.shape[2]
        k, k_after = before.k.cpu().double(), after.k.cpu().double()
        x, x_after = (scores.scale * scores.q.cpu().double() for scores in (before, after))
        for keys in KEYS:
            own, random = [], []
            for t in self.queries:
                rows = slice(max(_FIRST[keys], t + 1 - window), t + 1)
                heads = MovedHeads(k[:, :, rows], k_after[:, :, rows], x[:, :, t], x_after[:, :, t])
                own.append(_where_weighed(head_shifts(heads), heads))
                if self.directions is not None:
                    random.append(_where_weighed(random_shifts(heads, self.directions), heads))
            _append_means(self.own, keys, own)
            _append_means(self.random, keys, random)


def _where_weighed(found: dict[str, Tensor], heads: MovedHeads) -> dict[str, Tensor]:
    """No numbers where there is one key: whatever A and x are, f is 1."""
    return found if heads.A.shape[2] > 1 else {name: torch.full_like(x, torch.nan) for name, x in found.items()}


def _append_means(into: dict[tuple[str, str], list[Tensor]], keys: str, found: list[dict[str, Tensor]]) -> None:
    """Means of one layer over the queries at which there is a number."""
    for name in found[0] if found else ():
        into.setdefault((name, keys), []).append(torch.stack([of[name] for of in found]).nanmean(dim=0))


@dataclass(frozen=True, eq=False)
class ReadShifts:
    """What one model's heads do on the sequences."""

    own: Samples
    random: Drawn


def read_shifts(
    subject: LanguageModel,
    sequences: Sequences,
    n_queries: int,
    seed: int,
    batch_size: int,
    with_random: bool = True,
    progress: Progress = silent,
) -> ReadShifts | NotApplicable:
    """Reads the sequences with one model."""
    weights = subject.weights()
    if isinstance(weights, NotApplicable):
        return weights
    projections, readers = Projections(subject, weights), []
    for first, tokens in sequences.batches(batch_size):
        n, length = tokens.shape
        directions = random_directions(seed, first, n, weights.W_Q.shape[-1]) if with_random else None
        readers.append(reader := ShiftReader(queries_of(length, n_queries), directions))
        refused = read_layers(subject, projections, tokens, reader.take)
        if refused is not None:
            return refused
        progress(f"reading {subject.source.name}", (first + n) / len(sequences))
    return ReadShifts(_joined([reader.own for reader in readers]), _joined([reader.random for reader in readers]))


def _joined(batches: list[dict[tuple[str, str], list[Tensor]]]) -> dict[tuple[str, str], np.ndarray]:
    return {name: torch.cat([torch.stack(batch[name], dim=1) for batch in batches]).numpy() for name in batches[0]}


def head_findings(
    subject: LanguageModel, how: HeadSettings, seed: int, batch_size: int, progress: Progress = silent
) -> Findings:
    """The shifts of every head beside untrained models and random directions. Where a pass shows that a layer's
    attention is not f(A, x), every measure says so instead.
    """
    sequences = read_sequences(subject, how, seed)
    recipes, share = {"evaluation": sequences.recipe}, 1 / (1 + how.untrained)
    found = read_shifts(
        subject, sequences, how.queries, seed, batch_size,
        progress=lambda stage, fraction: progress(stage, share * fraction),
    )  # fmt: skip
    if isinstance(found, NotApplicable):
        return Findings({n: missing(unit, "not applicable", found.reason) for n, unit in UNITS.items()}, {}, recipes)
    untrained: list[Samples] = []
    for number, model in enumerate(_untrained(subject, how.untrained, seed), 1):
        progress(f"reading {model.source.name}", share * number)
        other = read_shifts(model, sequences, how.queries, seed, batch_size, with_random=False)
        untrained += [] if isinstance(other, NotApplicable) else [other.own]
    progress("done", 1.0)
    measures, arrays = shift_measures(found, untrained, seed)
    return Findings(measures, arrays, recipes)


def _untrained(subject: LanguageModel, n: int, seed: int) -> Iterator[LanguageModel]:
    """One at a time; none where nobody knows how to initialise one."""
    for number in range(n):
        model = subject.untrained(named_seed(seed, "untrained", number))
        if isinstance(model, NotApplicable):
            return
        yield model


def shift_measures(
    found: ReadShifts, untrained: list[Samples], seed: int
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Means over sequences with their intervals and nulls, along the axis `keys`: of every head, of the heads of each
    layer, and of all heads. And the values of single sequences.
    """
    metrics = {keys: _metrics(keys, found, untrained) for keys in KEYS}
    parts = {keys: task_measures(of, seed) for keys, of in metrics.items()}
    measures = {name: along("keys", {keys: _explained(parts[keys][name]) for keys in KEYS}) for name in parts[ALL]}
    return measures, {f"{name}_{keys}": metric.samples for keys in KEYS for name, metric in metrics[keys].items()}


def _metrics(keys: str, found: ReadShifts, untrained: list[Samples]) -> dict[str, PerTask]:
    metrics = {name: _metric(name, keys, found, untrained) for name in WORDS}
    for of, (axes, words) in MEANS.items():
        metrics |= {f"{of}_{name}": _averaged(metrics[name], axes, words) for name in AVERAGED}
    return metrics


def _metric(name: str, keys: str, found: ReadShifts, untrained: list[Samples]) -> PerTask:
    unit, words = WORDS[name]
    nulls: dict[str, np.ndarray] = {}
    if untrained:
        nulls[UNTRAINED] = np.stack([samples[name, keys].mean(axis=0) for samples in untrained])
    if (name, keys) in found.random:
        nulls[RANDOM] = np.moveaxis(found.random[name, keys].mean(axis=0), -1, 0)
    return PerTask(
        found.own[name, keys], unit, HEADS, nulls=nulls, no_nulls="" if nulls else "no untrained model was read",
        message=words, replicate="sequence", no_number=_NO_NUMBER,
    )  # fmt: skip


def _averaged(metric: PerTask, axes: tuple[str, ...], words: str) -> PerTask:
    """The mean over heads, the same ones in every sequence and every sample of a null."""
    counted = np.isfinite(metric.samples).all(axis=0)
    over = HEADS[len(axes) :]

    def mean(samples: Float[np.ndarray, "sample layer head"]) -> Float[np.ndarray, "sample *axes"]:
        where = np.broadcast_to(counted, samples.shape)
        dims = tuple(1 + HEADS.index(axis) for axis in over)
        total, n = np.where(where, samples, 0.0).sum(axis=dims), where.sum(axis=dims)
        return np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)

    nulls = {name: mean(samples) for name, samples in metric.nulls.items()}
    return replace(metric, samples=mean(metric.samples), axes=axes, nulls=nulls, message=f"{words}; {metric.message}")


def _explained(measure: Measure) -> Measure:
    """With the reason of a measure that has no number at all."""
    return measure if measure.status == "ok" else replace(measure, message=f"{measure.message}; {_NO_NUMBER}")
