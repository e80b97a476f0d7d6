"""Attention by the length of what it moves, and how much of each token a block mixes in: streamed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.hugging_face.attention_output import AttentionOutput, attention_output
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, NotApplicable, Reduce, Site
from ...models.weights import Factors
from ..measure import Measure, missing
from ..streaming import Watcher
from .accumulator import PLACES, Notes
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
from .means import built, without_interval

UNITS = {
    "write_norm": "norm",
    "write_norm_variation": "standard deviation / mean",
    "weighted_write_norm": "norm",
    "ov_norm": "Frobenius norm",
    "attention_to_first": "probability",
    "weighted_attention_to_first": "share of norm",
    "mixing_ratio": "ratio",
}


class AttentionNorms(Watcher):
    """Notes ‖f(x)‖ of every head, what of attention goes to the first token, and mixing ratios.

    maps:  of so many windows, all of one length, the head-summed ‖sum alpha f(x)‖ of every pair of tokens is kept
    """

    def __init__(self, subject: LanguageModel, notes: Notes, maps: int = 0) -> None:
        self.subject, self.notes, self.maps = subject, notes, maps
        self.causal = subject.shape.causal
        found = attention_output(subject, 0)
        self.reason = found.reason if isinstance(found, NotApplicable) else None
        self.kept: list[np.ndarray] = []
        self._factors: dict[int, Tensor] = {}

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        if self.reason is not None:
            return {}
        alike = not self.kept or self.kept[0].shape[-1] == tokens.shape[1]
        self._wanted = max(0, min(len(tokens), self.maps - sum(map(len, self.kept)))) if alike else 0
        self._maps: list[Tensor] = []
        return {"resid_pre": self._stream, "v": self._values, "attention": self._scores, "z": self._heads}

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        if self.reason is None and self._maps:
            self.kept.append(torch.stack(self._maps, dim=1).float().cpu().numpy())

    def _stream(self, x: Tensor, layer: int) -> None:
        self._x = x

    def _values(self, v: Tensor, layer: int) -> None:
        self._v = v

    def _output(self, layer: int) -> AttentionOutput:
        found = attention_output(self.subject, layer)
        assert not isinstance(found, NotApplicable)  # asked at the beginning
        return found

    def _scores(self, scores: AttentionScores, layer: int) -> None:
        notes, v, output = self.notes, self._v, self._output(layer)
        if layer not in self._factors:
            self._factors[layer] = write_factors(output.W_O)
        write = write_lengths(v, self._factors[layer])
        by_token = write.transpose(1, 2)
        notes.mean("write_norm", torch.stack([by_token, by_token.square()], dim=-1), layer)
        notes.token("write_norm", by_token.mean(dim=-1), layer)
        to_first, weighted = scores.to_key(0).double(), weighted_lengths(scores, write)
        notes.mean("weighted_write_norm", weighted.transpose(1, 2), layer)
        share = to_first * write[..., :1] / weighted
        both = torch.stack([to_first, share], dim=-1).transpose(1, 2)
        notes.mean("to_first", both[:, 1:], layer, later=True)
        self._own_attention = scores.at_offset(0)
        self._own = own_write(v, self._own_attention, output.W_O)
        if self._wanted:
            parts = {name: getattr(scores, name)[: self._wanted] for name in ("q", "k", "log_normaliser")}
            self._maps.append(head_summed_lengths(replace(scores, **parts), v[: self._wanted], output.W_O))

    def _heads(self, z: Tensor, layer: int) -> None:
        output = self._output(layer)
        writes, own, bias = summed_writes(z, output.W_O), self._own, output.b_O
        if output.own_norm is not None:  # as the parts arrive in the stream
            whole = writes if bias is None else writes + bias
            writes, own = (output.own_norm.linear(part, whole) for part in (writes, own))
        ratios = mixing_ratios(self._x, writes, own, self._own_attention, output.norm, bias)
        self.notes.token("mixing_ratio", ratios[..., RATIOS.index("AttnRes-N")], layer)
        if self.causal:  # the first token has nothing to mix in
            self.notes.mean("mixing_ratio", ratios[:, 1:], layer, later=True)
        else:
            self.notes.mean("mixing_ratio", ratios, layer)
        del self._x, self._v, self._own, self._own_attention  # nothing of one layer is held while the next one runs

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Maps [window, layer, query, key], where they were asked for."""
        return {"head_summed_norms": np.concatenate(self.kept)} if self.kept else {}

    def measures(self) -> dict[str, Measure]:
        if self.reason is not None:
            return {name: missing(unit, "not applicable", self.reason) for name, unit in UNITS.items()}
        notes, reading = self.notes, self.notes.reading
        means = {name: notes.means(name) for name in ("write_norm", "weighted_write_norm", "to_first", "mixing_ratio")}

        def measure(name: str, of: str, change: Any, axes: tuple[str, ...], *more: Any) -> Measure:
            return built(means[of].apply(change), reading, UNITS[name], axes, *more)

        heads, places = ("layer", "head"), {"position": PLACES}
        words = "no norm follows attention" + ("; the first token of causal attention mixes nothing in" * self.causal)
        return {
            "write_norm": measure(
                "write_norm", "write_norm", lambda x: x[..., 0].swapaxes(2, 3), (*heads, "position"), places
            ),
            "write_norm_variation": measure(
                "write_norm_variation", "write_norm", _variation, heads, {}, "over tokens after position 0"
            ),
            "weighted_write_norm": measure(
                "weighted_write_norm", "weighted_write_norm", lambda x: x.swapaxes(2, 3), (*heads, "position"), places,
                "of each query, summed over keys",
            ),
            "ov_norm": self._ov_norm(),
            "attention_to_first": measure(
                "attention_to_first", "to_first", lambda x: x[:, :, 1, :, 0], heads, {}, "of later queries"
            ),
            "weighted_attention_to_first": measure(
                "weighted_attention_to_first", "to_first", lambda x: x[:, :, 1, :, 1], heads, {}, "of later queries"
            ),
            "mixing_ratio": measure(
                "mixing_ratio", "mixing_ratio", lambda x: x.swapaxes(2, 3), ("layer", "ratio", "position"),
                {"ratio": RATIOS, **places}, "", words,
            ),
        }  # fmt: skip

    def _ov_norm(self) -> Measure:
        """‖W_V W_O‖ of every head, which grows with depth where the stream does (Heimersheim & Turner 2023)."""
        weights = self.subject.weights()
        assert not isinstance(weights, NotApplicable)  # its W_O was there
        layers, heads = weights.W_O.shape[:2]
        norms = [[_frobenius(weights.ov(layer, head)) for head in range(heads)] for layer in range(layers)]
        return without_interval(np.array(norms), UNITS["ov_norm"], ("layer", "head"))


def _frobenius(product: Factors) -> float:
    """Of left @ right, from two small Gram matrices."""
    left, right = product.left.double(), product.right.double()
    return float(((left.mT @ left) * (right @ right.mT)).sum().sqrt())


def _variation(x: np.ndarray) -> np.ndarray:
    """Coefficient of variation, from means [sample, layer, place, head, 2] of norms and of their squares."""
    mean, square = x[:, :, 1, :, 0], x[:, :, 1, :, 1]
    return np.sqrt(np.maximum(square - mean**2, 0)) / mean
