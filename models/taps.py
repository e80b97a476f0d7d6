"""Taps: the watched and edited activations of a forward pass, and attention that is computed beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor

from ..data.errors import UsageError, nearest
from .attention import Scoring, flash_attention
from .subject import AttentionScores, Edit, Reduce, Site

_ONCE: tuple[Site, ...] = ("embed", "final", "final_norm")


BESIDE: tuple[Site, ...] = ("attention", "z")
"""Sites of attention that is computed beside a pass."""
ProjectHeads = Callable[[Float[Tensor, "batch pos d_model"], int], Float[Tensor, "batch head pos d_head"]]
"""(what a layer's projections of q and k read, layer) -> heads that take the place of its own."""
Project = tuple[ProjectHeads, ProjectHeads]
"""Of q and of k."""


class AllSeen(Exception):
    """Every watched site is complete: the rest of the pass is not needed."""


@dataclass(frozen=True)
class Halfway:
    """What the layers below one made of some tokens: passes over these tokens can go on from there.

    layer:   the first layer that has not run
    answer:  what the layer below it handed on, as its model does; None for layer 0
    """

    layer: int
    answer: Any


@dataclass(frozen=True)
class OtherAttention:
    """Attention that every layer would have with other q and k, on the states of the pass and with its own v.

    It is computed beside the pass, and nothing of it enters the residual stream. Norms of q and k, positions, scale,
    caps and masks are the layer's own.

    watch:  reductions of its `attention` and its `z`
    """

    project: Project
    watch: Mapping[Site, Reduce]


class Taps:
    """Called at each site of a pass: applies the edit, then keeps the watcher's value.

    layers:     number of layers, if the pass needs no output: `AllSeen` is raised once every watched site is complete
    not_shown:  sites that are neither watched nor edited, with the reason
    others:     attention to be computed beside the pass
    """

    def __init__(
        self,
        watch: Mapping[Site, Reduce] | None,
        edit: Mapping[Site, Edit] | None,
        layers: int | None = None,
        not_shown: Mapping[Site, str] | None = None,
        others: Sequence[OtherAttention] = (),
    ) -> None:
        wanted, hidden = watch or {}, not_shown or {}
        self._watch: dict[Site, Reduce] = {site: reduce for site, reduce in wanted.items() if site not in hidden}
        self._edit, self._layers = edit or {}, layers
        self.values: dict[Site, list[Any]] = {site: [] for site in wanted}
        for site in (*wanted, *self._edit):
            if site not in get_args(Site):
                raise UsageError(f"site {site!r} is not known; {nearest(str(site), get_args(Site))}")
        if "attention" in self._edit:
            raise UsageError("site 'attention' can be watched, not edited; edit q, k or pattern")
        for site, reason in hidden.items():
            if site in self._edit:
                raise UsageError(f"site {site!r} of this model cannot be edited: {reason}")
        self.beside = [(other.project, _taps_beside(other, hidden)) for other in others]
        self._set_aside = False

    def wants(self, site: Site) -> bool:
        """Whether a site is watched or edited."""
        return site in self._watch or site in self._edit

    @contextmanager
    def set_aside(self) -> Iterator[None]:
        """Neither watch nor edit what is computed in the meantime."""
        self._set_aside = True
        try:
            yield
        finally:
            self._set_aside = False

    def __call__(self, site: Site, layer: int, activation: Tensor) -> Tensor:
        if self._set_aside:
            return activation
        if site in self._edit:
            activation = self._edited(site, layer, activation)
        if site in self._watch:
            self._keep(site, layer, activation)
        return activation

    def attention(
        self,
        layer: int,
        q: Float[Tensor, "batch head pos d_head"],
        k: Float[Tensor, "batch kv_head pos d_head"],
        v: Float[Tensor, "batch kv_head pos d_value"],
        scoring: Scoring,
        sinks: Float[Tensor, "head"] | None = None,
    ) -> Float[Tensor, "batch head pos d_value"] | None:
        """Pass `AttentionScores` to the watcher, and return z if one kernel call computes both.

        sinks:    each head's learned logit in the softmax's denominator

        Returns None without doing anything if attention is not watched.
        """
        if "attention" not in self._watch:
            return None
        z, normaliser = (None if self.wants("pattern") else flash_attention(q, k, v, *scoring)) or (None, None)
        self._keep("attention", layer, AttentionScores.of(q, k, *scoring, normaliser=normaliser, sinks=sinks))
        return z if sinks is None else None  # the kernel knows no sinks

    def _keep(self, site: Site, layer: int, activation: Any) -> None:
        self.values[site].append(self._watch[site](activation, layer))
        if self._layers is None:
            return
        if all(len(self.values[site]) == (1 if site in _ONCE else self._layers) for site in self._watch):
            raise AllSeen

    def _edited(self, site: Site, layer: int, activation: Tensor) -> Tensor:
        edited = self._edit[site](activation, layer)
        if edited.shape != activation.shape:
            raise UsageError(
                f"the edit of {site} returned shape {list(edited.shape)}; expected {list(activation.shape)}"
            )
        return edited.to(activation)


def _taps_beside(other: OtherAttention, hidden: Mapping[Site, str]) -> Taps:
    for site in other.watch:
        if site not in BESIDE:
            raise UsageError(f"site {site!r} cannot be watched beside a pass; expected {' or '.join(BESIDE)}")
    if "attention" in hidden:
        raise UsageError(f"other attention of this model cannot be computed: {hidden['attention']}")
    return Taps(other.watch, None)
