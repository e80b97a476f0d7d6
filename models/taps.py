"""Taps: what a forward pass hands out as it runs, and what is put in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from jaxtyping import Float
from torch import Tensor

from ..data.errors import UsageError, nearest
from .attention import flash_attention
from .subject import AttentionScores, Edit, Reduce, Site

_ONCE: tuple[Site, ...] = ("embed", "final", "final_norm")


class AllSeen(Exception):
    """What is watched was seen in every layer: the rest of the pass would be for nobody."""


class Taps:
    """Called at each site that a pass comes to: edits first, then the watcher, whose value is all that is kept.

    layers:  of the model, when nobody wants what the pass gives: `AllSeen` is raised as soon as it may end
    """

    def __init__(
        self, watch: Mapping[Site, Reduce] | None, edit: Mapping[Site, Edit] | None, layers: int | None = None
    ) -> None:
        self._watch, self._edit, self._layers = watch or {}, edit or {}, layers
        self.values: dict[Site, list[Any]] = {site: [] for site in self._watch}
        for site in (*self._watch, *self._edit):
            if site not in get_args(Site):
                raise UsageError(f"site {site!r} is not known; {nearest(str(site), get_args(Site))}")
        if "attention" in self._edit:
            raise UsageError("site 'attention' can be watched only; edit q, k or pattern")

    def wants(self, site: Site) -> bool:
        """Whether anybody asks for a site: what costs much is made only then."""
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
        kind: tuple[float, bool, float | None, int | None],
    ) -> Float[Tensor, "batch head pos d_value"] | None:
        """Hand over attention as scored, and give z where one call of a kernel gives both.

        kind:  scale, whether causal, soft cap and window

        Nothing is done, and None given, when nobody watches attention.
        """
        if "attention" not in self._watch:
            return None
        z, normaliser = (None if self.wants("pattern") else flash_attention(q, k, v, *kind)) or (None, None)
        self._keep("attention", layer, AttentionScores.of(q, k, *kind, normaliser))
        return z

    def _keep(self, site: Site, layer: int, activation: Any) -> None:
        self.values[site].append(self._watch[site](activation, layer))
        if self._layers is None:
            return
        if all(len(seen) == (1 if site in _ONCE else self._layers) for site, seen in self.values.items()):
            raise AllSeen

    def _edited(self, site: Site, layer: int, activation: Tensor) -> Tensor:
        edited = self._edit[site](activation, layer)
        if edited.shape != activation.shape:
            raise UsageError(f"the edit of {site} gave {list(edited.shape)}, expected {list(activation.shape)}")
        return edited.to(activation)
