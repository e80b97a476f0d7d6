"""One forward pass for all who watch: batches stream through a language model, and nothing of them is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..models.language_model import LanguageModel
from ..models.subject import Edit, Reduce, Site
from ..models.taps import BESIDE, Halfway, OtherAttention, Project
from .findings import Head
from .probe import Progress, silent


class Watcher(ABC):
    """Somebody who reduces what a pass yields to a few numbers, and gathers them from batch to batch.

    logits:  whether `take` is to be given logits; otherwise it may get the states after the final norm
    """

    logits: bool = False

    @abstractmethod
    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        """What is to be done with the sites of this batch. The reductions are called as the layers run."""

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:  # noqa: B027
        """The batch is through; by default nothing more is wanted of it."""


@dataclass(frozen=True)
class Beside:
    """Attention with other q and k beside every pass, and who watches it.

    To these watchers `attention` and `z` are those of the other attention, and all other sites the model's own.
    """

    project: Project
    watchers: Sequence[Watcher]


def of_heads(heads: Collection[Head], change: Callable[[Tensor, int, list[int]], None]) -> Mapping[Site, Edit]:
    """The edit of a pass that changes the z of these heads alone.

    change:  is given a copy of a layer's z [batch head pos d_head] to change in place, the layer, and its heads
    """
    by_layer = {
        layer: [head for _, head in group] for layer, group in groupby(sorted(heads), key=lambda place: place[0])
    }

    def edit(own: Float[Tensor, "batch head pos d_head"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
        if layer not in by_layer:
            return own
        changed = own.clone()
        change(changed, layer, by_layer[layer])
        return changed

    return {"z": edit}


def stream(
    subject: LanguageModel,
    batches: Iterable[Int[Tensor, "_ _"]],
    watchers: Sequence[Watcher],
    edit: Mapping[Site, Edit] | None = None,
    beside: Sequence[Beside] = (),
    begun: Halfway | None = None,
    progress: Progress = silent,
    stage: str = "",
    total: int | None = None,
) -> None:
    """One forward pass a batch, however many watch it.

    edit:   what is replaced in every batch, before anybody sees it
    begun:  where the only batch was left
    total:  batches to come, for the progress told as `stage`
    """
    everybody = [*watchers, *(watcher for one in beside for watcher in one.watchers)]
    logits = any(watcher.logits for watcher in everybody)
    for done, tokens in enumerate(batches, 1):
        own = [watcher.watch(tokens) for watcher in watchers]
        others = []
        for one in beside:
            wanted = together([watcher.watch(tokens) for watcher in one.watchers])
            others.append(OtherAttention(one.project, {site: wanted[site] for site in BESIDE if site in wanted}))
            own.append({site: reduce for site, reduce in wanted.items() if site not in BESIDE})
        output = subject.run(tokens, together(own), edit, logits, others, begun).output
        for watcher in everybody:
            watcher.take(tokens, output)
        del output  # logits of a large vocabulary are not to lie beside those of the next batch
        if total:
            progress(stage, done / total)


def goes_on(subject: LanguageModel, tokens: Int[Tensor, "sequence pos"], layers: Iterable[int]) -> bool:
    """Whether passes that go on from these layers end as a whole one does: not where layers are tied to each other by
    more than what one hands to the next.
    """
    whole, begun = subject.run(tokens).output, None
    for layer in sorted({*layers} - {0}):
        begun = subject.halfway(tokens, layer, begun)
        if not torch.allclose(subject.run(tokens, begun=begun).output, whole):
            return False
    return True


def together(watches: Sequence[Mapping[Site, Reduce]]) -> dict[Site, Reduce]:
    """Several reductions of one pass as one: each site goes to all who asked for it, in their order."""
    sites: dict[Site, None] = dict.fromkeys(site for watch in watches for site in watch)
    return {site: _all([watch[site] for watch in watches if site in watch]) for site in sites}


def _all(reductions: Sequence[Reduce]) -> Reduce:
    def reduce(activation: Any, layer: int) -> None:
        for reduction in reductions:
            reduction(activation, layer)

    return reduce
