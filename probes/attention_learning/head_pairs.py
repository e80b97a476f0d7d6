"""The agreements of every head of one layer, pair by pair, with their nulls.

Which keys a query attends to is up to the head. So what a key says about a target is known of all keys, and those that
a query does not attend to are hidden afterwards: the null of other targets has what the same keys say about the target
of another query, which may attend to more of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..measure import null_mean
from .agreement import DRAWS, Agreements, agreement, agreements, others, shuffles
from .names import BETA, OTHER_TARGETS, OWN_PROXY, OWN_SALIENCY, SALIENCY, TWIN_PROXY, UNIFORM

Rows = Float[np.ndarray, "sequence head query key"]
Words = Float[np.ndarray, "sequence 1 query key"]
OfPairs = dict[str, Agreements]
"""By the name of the pair."""


@dataclass(frozen=True)
class Draws:
    """The draws of both nulls for some sequences of one length.

    other_targets, other_few:  among all queries, and among those at which saliency is measured; without a draw where
                               there is no other query
    """

    shuffled: Int[np.ndarray, "draw sequence key"]
    other_targets: Int[np.ndarray, "some_draws sequence query"]
    other_few: Int[np.ndarray, "few_draws sequence few"]

    @classmethod
    def of(cls, n_sequences: int, n_keys: int, n_queries: int, n_few: int, seed: int) -> Draws:
        moved = (
            others(n_sequences, n, seed) if n > 1 else np.empty((0, n_sequences, n), dtype=np.int64)
            for n in (n_queries, n_few)
        )
        return cls(shuffles(n_sequences, n_keys, seed), *moved)

    def some(self, places: slice) -> Draws:
        """Those of some of the sequences."""
        return Draws(self.shuffled[:, places], self.other_targets[:, places], self.other_few[:, places])


@dataclass(frozen=True)
class Layer:
    """What the heads of one layer do on some sequences of one length.

    alpha:     attention; NaN for keys that a query does not attend to
    beta:      of every key, attended to or not
    twin:      beta of the twin's heads at the same places, or None
    proxy:     what co-occurrence says, alike for all heads, or None
    saliency:  of a few of the queries, alike for all heads; None where it is not measured
    few:       which of the queries these are
    """

    alpha: Rows
    beta: Rows
    twin: Rows | None
    proxy: Words | None
    saliency: Float[np.ndarray, "sequence 1 few key"] | None
    few: list[int]

    def agreements(self, draws: Draws) -> OfPairs:
        """Of every pair of which both are there."""
        hides = np.isnan(self.alpha[:, :1])
        pairs = _Pairs(hides, draws.shuffled, draws.other_targets)
        compared: dict[str, Agreements | None] = {
            BETA.name: pairs.of(self.alpha, self.beta),
            UNIFORM.name: pairs.of(self.alpha, self.twin),
            TWIN_PROXY.name: pairs.of(self.twin, self.proxy),
            OWN_PROXY.name: pairs.of(self.beta, self.proxy),
        }
        if self.saliency is not None:
            of_few = _Pairs(hides[:, :, self.few], draws.shuffled, draws.other_few)
            shown = np.broadcast_to(self.saliency, self.alpha[:, :, self.few].shape)
            compared[SALIENCY.name] = of_few.of(shown, None if self.twin is None else self.twin[:, :, self.few])
            compared[OWN_SALIENCY.name] = of_few.of(shown, self.beta[:, :, self.few])
        return {name: found for name, found in compared.items() if found is not None}

    @property
    def same_for_every_source(self) -> Bool[np.ndarray, " head"]:
        """The heads whose beta is."""
        return (self.beta == self.beta[..., :1]).all(axis=(0, 2, 3))


@dataclass(frozen=True)
class _Pairs:
    """Pairs of numbers of some queries, with the draws of their nulls.

    hides:  whether a query does not attend to a key
    """

    hides: Bool[np.ndarray, "sequence 1 query key"]
    shuffled: Int[np.ndarray, "draw sequence key"]
    other_targets: Int[np.ndarray, "some_draws sequence query"]

    def of(self, u: Rows | None, v: Float[np.ndarray, "sequence some_heads query key"] | None) -> Agreements | None:
        """None where one of them is not there."""
        if u is None or v is None:
            return None
        u = np.where(self.hides, np.nan, u)
        found = agreements(u, self._shown(v, u), self.shuffled)
        moved = [np.take_along_axis(v, order[:, None, :, None], axis=2) for order in self.other_targets]
        rows = [agreement(u, self._shown(other, u)) for other in moved]
        nothing = np.full((DRAWS, *found.samples.shape), np.nan)
        drawn = np.stack([null_mean(np.moveaxis(row, -1, 0)) for row in rows]) if rows else nothing
        return Agreements(found.samples, {**found.drawn, OTHER_TARGETS: drawn})

    def _shown(self, v: Float[np.ndarray, "sequence some_heads query key"], like: Rows) -> Rows:
        return np.broadcast_to(np.where(self.hides, np.nan, v), like.shape)
