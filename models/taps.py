"""Taps: the watched and edited activations of a forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor

from ..data.errors import UsageError, nearest
from .attention import Scoring, flash_attention
from .subject import AttentionScores, Edit, Reduce, Site

_ONCE: tuple[Site, ...] = ("embed", "final", "final_norm")


class AllSeen(Exception):
    """Every watched site is complete: the rest of the pass is not needed."""


class Taps:
    """Called at each site of a pass: applies the edit, then keeps the watcher's value.

    layers:     number of layers, if the pass needs no output: `AllSeen` is raised once every watched site is complete
    not_shown:  sites that are neither watched nor edited, with the reason
    """

    def __init__(
        self,
        watch: Mapping[Site, Reduce] | None,
        edit: Mapping[Site, Edit] | None,
        layers: int | None = None,
        not_shown: Mapping[Site, str] | None = None,
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

    def wants(self, site: Site) -> bool:
        """Whether a site is watched or edited."""
        return site in self._watch or site in self._edit

    def __call__(self, site: Site, layer: int, activation: Tensor) -> Tensor:
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
