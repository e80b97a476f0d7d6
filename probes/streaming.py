"""One forward pass for all who watch: batches stream through a language model, and nothing of them is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ..models.language_model import LanguageModel
from ..models.subject import Edit, Reduce, Site
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


def stream(
    subject: LanguageModel,
    batches: Iterable[Int[Tensor, "_ _"]],
    watchers: Sequence[Watcher],
    edit: Mapping[Site, Edit] | None = None,
    progress: Progress = silent,
    stage: str = "",
    total: int | None = None,
) -> None:
    """One forward pass a batch, however many watch it.

    edit:   what is replaced in every batch, before anybody sees it
    total:  batches to come, for the progress told as `stage`
    """
    logits = any(watcher.logits for watcher in watchers)
    for done, tokens in enumerate(batches, 1):
        watch = together([watcher.watch(tokens) for watcher in watchers])
        output = subject.run(tokens, watch, edit, logits=logits).output
        for watcher in watchers:
            watcher.take(tokens, output)
        del output  # logits of a large vocabulary are not to lie beside those of the next batch
        if total:
            progress(stage, done / total)


def together(watches: Sequence[Mapping[Site, Reduce]]) -> dict[Site, Reduce]:
    """Several reductions of one pass as one: each site goes to all who asked for it, in their order."""
    sites: dict[Site, None] = dict.fromkeys(site for watch in watches for site in watch)
    return {site: _all([watch[site] for watch in watches if site in watch]) for site in sites}


def _all(reductions: Sequence[Reduce]) -> Reduce:
    def reduce(activation: Any, layer: int) -> None:
        for reduction in reductions:
            reduction(activation, layer)

    return reduce
