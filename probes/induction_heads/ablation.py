"""Heads taken away, alone and in groups: what their z is replaced by, and which others a group is compared with."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.recipe import named_seed
from ...data.repeated import RepeatedTokens
from ...models.subject import Edit, Site
from ..measure import Measure, missing
from ..statistics.sample_measures import PerTask, task_measures
from .losses import in_context_learning, of_run
from .passes import Passes
from .watchers import NextTokenLoss

Head = tuple[int, int]
"""(layer, head)"""
Halves = tuple[Collection[Head], Collection[Head]]
"""Heads chosen on the even, and on the odd sequences."""
EVEN, ODD = slice(0, None, 2), slice(1, None, 2)
KINDS = ("zero", "mean")
RANDOM = "random heads of the same layers"
RANDOM_GROUPS = 8
NOBODY = "no head has a verdict that says what it does with the token it looks at"
NO_OTHERS = "the layers have no other heads"


def taking_away(heads: Collection[Head], instead: Float[Tensor, "layer head d_head"]) -> Mapping[Site, Edit]:
    """The edit of a pass in which these heads' z is this, at every position."""
    by_layer = {
        layer: [head for _, head in of_one] for layer, of_one in groupby(sorted(heads), key=lambda place: place[0])
    }

    def edit(z: Float[Tensor, "batch head pos d_head"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
        if layer not in by_layer:
            return z
        changed, which = z.clone(), by_layer[layer]
        changed[:, which] = instead[layer, which][:, None].to(z)
        return changed

    return {"z": edit}


def others_like(group: Collection[Head], n_heads: int, rng: np.random.Generator) -> list[Head] | None:
    """As many random heads of the same layers, none of the group; fewer where a layer has fewer, None where it has none
    at all."""
    found: list[Head] = []
    for layer in sorted({layer for layer, _ in group}):
        own = {head for of, head in group if of == layer}
        others = [head for head in range(n_heads) if head not in own]
        chosen = rng.permutation(len(others))[: len(own)]
        found += [(layer, others[index]) for index in sorted(chosen)]
    return found or None


@dataclass(frozen=True)
class Ablations:
    """Losses on the repeated sequences of one period with heads taken away.

    base:   losses of the model as it is, [sequence, pos - 1]
    means:  each head's mean z without repeats
    """

    passes: Passes
    law: RepeatedTokens
    tokens: Int[Tensor, "sequence pos"]
    base: Float64[np.ndarray, "sequence next"]
    means: Float64[Tensor, "layer head d_head"]
    seed: int

    def losses(
        self, part: str, heads: Collection[Head], kind: str, which: slice = slice(None)
    ) -> Float64[np.ndarray, "some next"]:
        """Of some sequences, with these heads' z set to zero or to its mean."""
        instead = self.means if kind == "mean" else torch.zeros_like(self.means)
        watcher = NextTokenLoss(self.passes.subject)
        self.passes.over(part, self.tokens[which], [watcher], taking_away(heads, instead))
        return watcher.arrays()["loss"]

    def single(self, heads: Sequence[Head], shape: tuple[int, int]) -> dict[str, Measure]:
        """Rise of the loss on the second run for each of these heads alone; NaN for the others."""
        if not heads:
            return {f"ablation_{kind}": missing("nat", "not applicable", NOBODY) for kind in KINDS}
        found = {}
        for kind in KINDS:
            losses = [self.losses("heads taken away", [head], kind) for head in heads]
            rises = np.stack([self._rise(of_one) for of_one in losses], axis=1)
            measure = task_measures({"": self._per_sequence(rises, ("place",))}, self.seed)[""]
            values, low, high = (np.full(shape, np.nan) for _ in range(3))
            for into, of in zip((values, low, high), (measure.values, *measure.interval), strict=True):
                into[tuple(np.array(heads).T)] = of
            words = self._words(kind) + "; NaN for heads that were not taken away" * (len(heads) < values.size)
            found[f"ablation_{kind}"] = replace(
                measure, values=values, interval=(low, high), axes=("layer", "head"), message=words
            )
        return found

    def groups(self, chosen: Mapping[str, Halves], n_heads: int) -> dict[str, Measure]:
        """Rise of the loss, and in-context learning left, without all heads that one half of the sequences calls so.

        chosen:  by verdict, the heads called on the even and on the odd sequences; tested on the others
        """
        found: dict[str, Measure] = {}
        for kind in KINDS:
            pairs = [self._group(name, halves, kind, n_heads) for name, halves in chosen.items()]
            for name, parts in zip(
                (f"group_ablation_{kind}", f"in_context_learning_without_{kind}"), zip(*pairs, strict=True), strict=True
            ):
                found[name] = _along_groups(tuple(chosen), parts)
        return found

    def _group(self, name: str, halves: Halves, kind: str, n_heads: int) -> tuple[Measure, Measure]:
        if not all(halves):
            reason = f"no head was called {name} on both halves of the sequences"
            return missing("nat", "not applicable", reason), missing("nat", "not applicable", reason)
        losses = self._cross_fitted(halves, kind)
        rises, left = self._rise(losses), in_context_learning(losses, self.law)
        rng = np.random.default_rng(named_seed(self.seed, "random groups", name))
        random = [tuple(others_like(half, n_heads, rng) for half in halves) for _ in range(RANDOM_GROUPS)]
        null: dict[str, list[float]] = {"rise": [], "left": []}
        for one in random:
            if all(one):
                of_null = self._cross_fitted(cast(Halves, one), kind)
                null["rise"].append(self._rise(of_null).mean())
                null["left"].append(in_context_learning(of_null, self.law).mean())
        sizes = " and ".join(str(len(half)) for half in halves)
        words = f"{name}: {sizes} heads, each group chosen on one half of the sequences and taken away on the other"
        if any(len(other or ()) < len(half) for other, half in zip(random[0], halves, strict=True)):
            words += "; random groups are smaller: their layers have fewer other heads"
        metrics = {
            "rise": self._per_sequence(rises, (), null["rise"], f"{self._words(kind)}; {words}"),
            "left": self._per_sequence(left, (), null["left"], words),
        }
        measures = task_measures(metrics, self.seed)
        return measures["rise"], measures["left"]

    def _cross_fitted(self, halves: Halves, kind: str) -> Float64[np.ndarray, "sequence next"]:
        """Each half of the sequences without the group that was chosen on the other."""
        found = np.empty_like(self.base)
        for half, tested in zip(halves, (ODD, EVEN), strict=True):
            found[tested] = self.losses("groups taken away", half, kind, tested)
        return found

    def _rise(self, losses: Float64[np.ndarray, "sequence next"]) -> Float64[np.ndarray, "sequence"]:
        return of_run(losses, self.law, 1) - of_run(self.base, self.law, 1)

    def _words(self, kind: str) -> str:
        instead = {"zero": "zero", "mean": "its mean over sequences without repeats"}[kind]
        return f"z set to {instead}; loss of the second run at period {self.law.period}"

    def _per_sequence(
        self, samples: np.ndarray, axes: tuple[str, ...], null: Sequence[float] = (), words: str = ""
    ) -> PerTask:
        nulls = {RANDOM: np.array(null)} if null else {}
        reason = "" if nulls else NO_OTHERS if words else "heads stand beside each other; groups have a null"
        return PerTask(samples, "nat", axes, nulls=nulls, no_nulls=reason, message=words, replicate="sequence")


def _along_groups(names: tuple[str, ...], parts: Sequence[Measure]) -> Measure:
    """One measure with an entry a group; NaN, and why, where a group is empty."""
    words = "; ".join(dict.fromkeys(part.message for part in parts if part.message))
    present = [part for part in parts if part.status == "ok"]
    if not present:
        return missing(parts[0].unit, "not applicable", words)
    nulls: dict[str, np.ndarray] = {}
    if any(part.nulls for part in present):
        nothing = np.full(RANDOM_GROUPS, np.nan)
        nulls[RANDOM] = np.stack([part.nulls.get(RANDOM, nothing) for part in parts], axis=1)
    return replace(
        present[0],
        values=np.array([part.values for part in parts]),
        interval=(np.array([part.interval[0] for part in parts]), np.array([part.interval[1] for part in parts])),
        axes=("group",),
        coords={"group": names},
        nulls=nulls,
        no_nulls="" if nulls else NO_OTHERS,
        message=words,
    )
