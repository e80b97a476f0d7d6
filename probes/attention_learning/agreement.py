"""How often v is among the largest where u is largest: the agreement of Snell et al. (2021, arXiv 2103.07601).

A row has one number of u and one of v for each source. S sources count: those that are NaN in neither. With
k = ceil(S / 20), a twentieth of them,

    A(u, v) = mean over rows of 1[ v at the source where u is largest is among the k largest of v ]

The paper asks that fewer than k sources have a strictly larger v. A constant v then agrees with everything, and a
saturated one with almost everything. Here equals stand in random order, and a row has its expectation:

    clip((k - above) / equal, 0, 1),    above: sources with a larger v,  equal: with the same v, itself included

and the mean of that where several sources share the largest u. If u or v is constant, or u independent of v, that is
k / S, the agreement by chance. Rows with fewer than two sources have none: NaN.

Nulls leave u as it is. Shuffled: each row's v is dealt out anew among its sources. All rows of a sequence, whatever
their head or target, follow one permutation: their sources are the same words, and if one word has a large v for every
target, rows that are shuffled apart would make the null too narrow. Where a row sees some of the sources only, those
it does not see are struck out of the permutation's cycles. What is left is a permutation of those it sees, each as
likely as any other. Other targets: v of another target of the same sequence, where every target sees every source.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ...data.recipe import named_seed
from .names import OTHER_TARGETS, SHUFFLED

DRAWS = 20
"""Samples of each null."""
_ONE_OF = 20
_BLOCK = 2**20  # numbers of u at a time: bounds the copies

Flat = Float[np.ndarray, "row source"]
PerRow = Float[np.ndarray, " row"]
Shuffles = Int[np.ndarray, "draw sequence source"]
Others = Int[np.ndarray, "draw sequence target"]


def agreement(u: Float[np.ndarray, "*rows source"], v: Float[np.ndarray, "*rows source"]) -> Float[np.ndarray, "*rows"]:
    """A of each row, between 0 and 1; NaN where fewer than two sources count."""
    flat_u, flat_v = (array.reshape(-1, array.shape[-1]) for array in (u, v))
    blocks = _blocks(len(flat_u), u.shape[-1])
    found = [_Rows.of(flat_u[block], flat_v[block]).agreement() for block in blocks]
    return np.concatenate(found).reshape(u.shape[:-1])


def by_chance(u: Float[np.ndarray, "*rows source"], v: Float[np.ndarray, "*rows source"]) -> Float[np.ndarray, "*rows"]:
    """k / S of each row: the agreement with a v that knows nothing of u; NaN where fewer than two sources count."""
    n = (~(np.isnan(u) | np.isnan(v))).sum(axis=-1, keepdims=True)
    return np.where(n < 2, np.nan, _n_largest(n) / np.maximum(n, 1))[..., 0]


# -- samples and nulls -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Agreements:
    """Means over the targets of each sequence; NaN where no row of a sequence has an agreement.

    samples:    the agreement
    drawn:      the same of each draw of a null, by its name: sequences can be measured in batches, and joined
    """

    samples: Float[np.ndarray, "sequence *axes"]
    drawn: Mapping[str, Float[np.ndarray, "draw sequence *axes"]]

    @property
    def nulls(self) -> dict[str, Float[np.ndarray, "draw *axes"]]:
        """The samples of each null, as a measure takes them: means over sequences."""
        return {name: _mean(drawn, axis=1) for name, drawn in self.drawn.items()}


def joined(parts: list[Agreements]) -> Agreements:
    """Batches of sequences as one."""
    names = parts[0].drawn
    drawn = {name: np.concatenate([part.drawn[name] for part in parts], axis=1) for name in names}
    return Agreements(np.concatenate([part.samples for part in parts]), drawn)


def shuffles(n_sequences: int, n_sources: int, seed: int) -> Shuffles:
    """A permutation of the sources of each sequence, for each draw of the null `shuffled`."""
    rng = np.random.default_rng(named_seed(seed, "attention-learning", SHUFFLED))
    in_order = np.broadcast_to(np.arange(n_sources), (DRAWS, n_sequences, n_sources))
    return rng.permuted(in_order, axis=-1)


def others(n_sequences: int, n_targets: int, seed: int) -> Others:
    """Another target for each target of each sequence, for each draw of the null `other targets`: cycles through all,
    in which each other target is as likely as any.
    """
    rng = np.random.default_rng(named_seed(seed, "attention-learning", OTHER_TARGETS))
    in_order = np.broadcast_to(np.arange(n_targets), (DRAWS, n_sequences, n_targets))
    cycles = rng.permuted(in_order, axis=-1)
    following = np.empty_like(cycles)
    np.put_along_axis(following, cycles, np.roll(cycles, -1, axis=-1), axis=-1)
    return following


def agreements(
    u: Float[np.ndarray, "sequence *axes target source"],
    v: Float[np.ndarray, "sequence *axes target source"],
    shuffled: Shuffles,
    other_targets: Others | None = None,
) -> Agreements:
    """Samples and nulls of one pair, with the draws of `shuffles` and `others` for these sequences; a null whose draws
    are not given is left out.
    """
    per_sequence = int(np.prod(u.shape[1:]))
    parts = []
    for block in _blocks(len(u), per_sequence):
        others_here = None if other_targets is None else other_targets[:, block]
        parts.append(_agreements(u[block], v[block], shuffled[:, block], others_here))
    return joined(parts)


def _agreements(u: np.ndarray, v: np.ndarray, shuffled: Shuffles, other_targets: Others | None) -> Agreements:
    n_sequences, *axes, n_targets, n_sources = u.shape
    rows = _Rows.of(u.reshape(-1, n_sources), v.reshape(-1, n_sources))
    per_sequence = len(rows.v) // n_sequences

    def averaged(found: PerRow) -> np.ndarray:
        return _mean(found.reshape(n_sequences, *axes, n_targets), axis=-1)

    drawn = {SHUFFLED: np.stack([averaged(rows.shuffled(order, per_sequence)) for order in shuffled])}
    if other_targets is not None:
        if (rows.seen.any(axis=-1) != rows.seen.all(axis=-1)).any():
            raise ValueError("v of other targets: a target sees some of the sources only; expected all or none")
        drawn[OTHER_TARGETS] = np.stack([averaged(rows.of_others(order, per_sequence)) for order in other_targets])
    return Agreements(averaged(rows.agreement()), drawn)


# -- rows --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rows:
    """What is left to do once the largest are known: to look v up where u is largest, or elsewhere.

    v:          NaN at sources that do not count
    seen:       the sources that count
    defined:    rows with at least two of them
    row, place: where u is largest
    weight:     one over how many sources share the largest u
    least:      the k-th largest v of each row
    share:      how much of a source counts that has this v: those with a larger one count fully
    """

    v: Flat
    seen: Bool[np.ndarray, "row source"]
    defined: Bool[np.ndarray, " row"]
    row: Int[np.ndarray, " maximum"]
    place: Int[np.ndarray, " maximum"]
    weight: Float[np.ndarray, " maximum"]
    least: PerRow
    share: PerRow

    @classmethod
    def of(cls, u: Flat, v: Flat) -> _Rows:
        seen = ~(np.isnan(u) | np.isnan(v))
        n = seen.sum(axis=-1)
        defined = n >= 2
        held = np.where(seen, u, -np.inf)
        largest = seen & (held == held.max(axis=-1, keepdims=True)) & defined[:, None]
        row, place = np.nonzero(largest)
        v = np.where(seen, v, np.nan)
        k = _n_largest(n)
        least = _kth_largest(v, k)
        above, equal = ((v > least[:, None]).sum(axis=-1), (v == least[:, None]).sum(axis=-1))
        share = (k - above) / np.maximum(equal, 1)
        return cls(v, seen, defined, row, place, 1 / largest.sum(axis=-1)[row], least, share)

    def agreement(self) -> PerRow:
        return self._looked_up(self.row, self.place)

    def shuffled(self, order: Int[np.ndarray, "sequence source"], rows_of_sequence: int) -> PerRow:
        """The agreement with v dealt out anew: each source gets that of the next one that counts in its cycle."""
        sequence = self.row // rows_of_sequence
        place = order[sequence, self.place]
        struck = np.flatnonzero(~self.seen[self.row, place])
        while len(struck):
            place[struck] = order[sequence[struck], place[struck]]
            struck = struck[~self.seen[self.row[struck], place[struck]]]
        return self._looked_up(self.row, place)

    def of_others(self, order: Int[np.ndarray, "sequence target"], rows_of_sequence: int) -> PerRow:
        """The agreement with v of another target."""
        n_targets = order.shape[-1]
        target = self.row % n_targets
        row = self.row - target + order[self.row // rows_of_sequence, target]
        return self._looked_up(row, self.place)

    def _looked_up(self, row: Int[np.ndarray, " maximum"], place: Int[np.ndarray, " maximum"]) -> PerRow:
        """The mean over the sources where u is largest, with v read at another row or place for each."""
        v, least = self.v[row, place], self.least[row]
        counted = np.where(v > least, 1.0, np.where(v == least, self.share[row], 0.0))
        counted[np.isnan(v)] = np.nan
        found = np.bincount(self.row, self.weight * counted, minlength=len(self.v))
        return np.where(self.defined, found, np.nan)


def _n_largest(n: Int[np.ndarray, "*rows"]) -> Int[np.ndarray, "*rows"]:
    """k = ceil(n / 20)."""
    return -(-n // _ONE_OF)


def _kth_largest(v: Flat, k: Int[np.ndarray, " row"]) -> PerRow:
    """NaN where k is 0."""
    found = np.full(len(v), np.nan)
    negative = np.where(np.isnan(v), np.inf, -v)
    for each in np.unique(k[k > 0]):
        rows = np.flatnonzero(k == each)
        found[rows] = -np.partition(negative[rows], each - 1, axis=-1)[:, each - 1]
    return found


def _mean(array: np.ndarray, axis: int) -> np.ndarray:
    """Of what is not NaN; NaN where all is."""
    n = (~np.isnan(array)).sum(axis=axis)
    return np.where(n > 0, np.nansum(array, axis=axis) / np.maximum(n, 1), np.nan)


def _blocks(n: int, size: int) -> list[slice]:
    """Slices of n rows of this many numbers each."""
    step = max(1, _BLOCK // max(1, size))
    return [slice(first, first + step) for first in range(0, n, step)]
