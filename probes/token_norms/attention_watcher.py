"""Watches how long what attention moves is, and how much of each token a block mixes in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...models.subject import AttentionScores, NotApplicable, Reduce, Site
from ...models.weights import AttentionOutput
from ..streaming import Watcher
from .accumulator import ModelPass
from .attention import (
    RATIOS,
    head_summed_lengths,
    mixing_ratios,
    own_write,
    summed_writes,
    weighted_lengths,
    write_factors,
    write_lengths,
)


@dataclass
class _RunningLayer:
    """What is held of a layer from one of its sites to the next, and dropped with the last."""

    output: AttentionOutput
    stream: Float[Tensor, "batch pos d_model"]
    v: Float[Tensor, "batch kv_head pos d_head"] | None = None
    own_attention: Float[Tensor, "batch head pos"] | None = None
    own_write: Float[Tensor, "batch pos d_model"] | None = None


class AttentionWatcher(Watcher):
    """Notes ‖f(x)‖ of every head, what of attention goes to the first token, and mixing ratios.

    maps:       of so many windows, all of one length, the head-summed ‖sum alpha f(x)‖ of every pair of tokens is kept
    last_only:  mixing ratios of the last layer alone
    """

    def __init__(self, model_pass: ModelPass, maps: int = 0, last_only: bool = False) -> None:
        self.subject, self.noted, self.maps = model_pass.subject, model_pass.noted, maps
        self.applies = no_attention_output(model_pass) is None
        self.causal = self.subject.shape.causal
        self.window_maps: list[Float[np.ndarray, "window layer query key"]] = []
        self._factors: dict[int, Float64[Tensor, "head width d_head"]] = {}
        self._running: _RunningLayer | None = None
        self._last_only = last_only

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        if not self.applies:
            return {}
        same_length = not self.window_maps or self.window_maps[0].shape[-1] == tokens.shape[1]
        maps_left = self.maps - sum(map(len, self.window_maps))
        self._n_maps = min(len(tokens), maps_left) if same_length else 0
        self._layer_maps: list[Tensor] = []
        sites: dict[Site, Reduce] = {
            "resid_pre": self._stream, "v": self._values, "attention": self._attention, "z": self._heads,
        }  # fmt: skip
        return {site: partial(self._where_asked, reduce) for site, reduce in sites.items()}

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        if self.applies and self._layer_maps:
            self.window_maps.append(torch.stack(self._layer_maps, dim=1).float().cpu().numpy())
            self._layer_maps = []

    def _where_asked(self, reduce: Reduce, activation: Any, layer: int) -> None:
        if not self._last_only or layer == self.subject.shape.n_layers - 1:
            reduce(activation, layer)

    def _stream(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        output = self.subject.attention_output(layer)
        assert not isinstance(output, NotApplicable)  # asked at the beginning
        self._running = _RunningLayer(output, x)

    def _values(self, v: Float[Tensor, "batch kv_head pos d_head"], layer: int) -> None:
        assert self._running is not None
        self._running.v = v

    def _attention(self, scores: AttentionScores, layer: int) -> None:
        running = self._running
        assert running is not None
        assert running.v is not None
        if not self._last_only:
            self._note_writes(scores, self._write_lengths(running, layer), layer)
        running.own_attention = scores.at_offset(0)
        running.own_write = own_write(running.v, running.own_attention, running.output.W_O)
        if self._n_maps:
            first = {name: getattr(scores, name)[: self._n_maps] for name in ("q", "k", "log_normaliser")}
            maps = head_summed_lengths(replace(scores, **first), running.v[: self._n_maps], running.output.W_O)
            self._layer_maps.append(maps)

    def _write_lengths(self, running: _RunningLayer, layer: int) -> Float64[Tensor, "batch head pos"]:
        assert running.v is not None
        if layer not in self._factors:
            self._factors[layer] = write_factors(running.output.W_O)
        return write_lengths(running.v, self._factors[layer])

    def _note_writes(self, scores: AttentionScores, write: Float64[Tensor, "batch head pos"], layer: int) -> None:
        noted, by_token = self.noted, write.mT
        noted.add_mean("write_norm", torch.stack([by_token, by_token.square()], dim=-1), layer, "head", "power")
        noted.add_tokens("write_norm", by_token.mean(dim=-1), layer)
        to_first, weighted = scores.to_key(0).double(), weighted_lengths(scores, write)
        noted.add_mean("weighted_write_norm", weighted.mT, layer, "head")
        share = to_first * write[..., :1] / weighted
        noted.add_later_mean("attention_to_first", to_first.mT[:, 1:], layer, "head")
        noted.add_later_mean("weighted_attention_to_first", share.mT[:, 1:], layer, "head")

    def _heads(self, z: Float[Tensor, "batch head pos d_head"], layer: int) -> None:
        running, self._running = self._running, None  # nothing of one layer is held while the next one runs
        assert running is not None
        assert running.own_write is not None
        assert running.own_attention is not None
        output = running.output
        writes, own, bias = summed_writes(z, output.W_O), running.own_write, output.b_O
        if output.own_norm is not None:  # as they arrive in the stream
            whole = writes if bias is None else writes + bias
            writes, own = (output.own_norm.linear(write, whole) for write in (writes, own))
        ratios = mixing_ratios(running.stream, writes, own, running.own_attention, output.norm, bias)
        self.noted.add_tokens("mixing_ratio", ratios[..., RATIOS.index("AttnRes-N")], layer)
        if self.causal:  # the first token has nothing to mix in
            self.noted.add_later_mean("mixing_ratio", ratios[:, 1:], layer, "ratio")
        else:
            self.noted.add_mean("mixing_ratio", ratios, layer, "ratio")

    @property
    def arrays(self) -> dict[str, Float[np.ndarray, "window layer query key"]]:
        """Maps of windows, where they were asked for."""
        return {"head_summed_norms": np.concatenate(self.window_maps)} if self.window_maps else {}


def no_attention_output(model_pass: ModelPass) -> str | None:
    """Why the model does not show what its heads write; None where it does."""
    found = model_pass.subject.attention_output(0)
    return found.reason if isinstance(found, NotApplicable) else None
