"""The regression transformer of every variant once more, in NumPy, for one task: real tokens, or complex ones.

A complex number carries a derivative along: f(x + iε) has ε f'(x) for its imaginary part, exactly up to rounding, since
nothing is subtracted. So no step takes the size of a complex number: a maximum and a clip look at its real part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mesascope.models import RegressionTransformer

Array = np.ndarray


@dataclass(frozen=True)
class InNumpy:
    """The weights of a model, and what its configuration says of them."""

    config: Any
    at: dict[str, Array]

    @classmethod
    def of(cls, module: RegressionTransformer) -> InNumpy:
        return cls(
            module.config, {name: held.detach().numpy().astype(float) for name, held in module.named_parameters()}
        )

    def __call__(self, tokens: Array) -> Array:
        return self.readouts(tokens)[-1]

    def readouts(self, tokens: Array, layers: int | None = None) -> list[Array]:
        """-h[query, y slot] after each layer; `layers`: so many applications of the only block."""
        h, found = self.read_in(tokens), []
        for layer in range(layers or self.config.n_layers):
            h = self._after(h, layer)
            found.append(-h[-1, -self.config.d_out :])
        return found

    def read_in(self, tokens: Array) -> Array:
        """The residual stream before the first layer."""
        config, d_in = self.config, self.config.d_in
        if config.token_order != "joint":
            rows = []
            for x, y in ((row[:d_in], row[d_in:]) for row in tokens):
                width = d_in + config.d_out if config.token_order == "separate" else d_in
                rows += [np.concatenate([x, np.zeros(width - d_in)]), np.concatenate([np.zeros(width - len(y)), y])]
            tokens = np.array(rows[:-1])
        if config.d_embed is not None:
            e = tokens @ self.at["W_E"]
            hidden = gelu(e @ self.at["embed_W_in"] + self.at["embed_b_in"])
            tokens = e + hidden @ self.at["embed_W_out"] + self.at["embed_b_out"]
        codes = [code(place, config.d_position, config.one_hot_positions) for place in range(len(tokens))]
        return np.concatenate([tokens, np.array(codes)], axis=1)

    def _after(self, h: Array, layer: int) -> Array:
        config, update = self.config, np.zeros_like(h)
        normed = self._normed(h, layer)
        for head in range(config.n_heads):
            update = update + self._head(normed, layer, head)
        if config.target_only:
            update[:, : -config.d_out] = 0
        h = clipped(h + config.dampening * update, config.activation_clip)
        return h if config.mlp is None else clipped(h + config.dampening * self._mlp(h, layer), config.activation_clip)

    def _normed(self, h: Array, layer: int) -> Array:
        which = 0 if self.config.tied else layer - 1
        if not self.config.layer_norm or which < 0:
            return h
        return normal(h) * self.at["ln_scale"][which] + self.at["ln_offset"][which]

    def _mlp(self, h: Array, layer: int) -> Array:
        which = layer if self.config.mlp == "own" else 0
        if self.config.layer_norm:
            h = normal(h) * self.at["mlp_ln_scale"][which] + self.at["mlp_ln_offset"][which]
        return gelu(h @ self.at["W_in"][which]) @ self.at["W_out"][which]

    def _head(self, x: Array, layer: int, head: int) -> Array:
        config, block = self.config, 0 if self.config.tied else layer
        W_Q, W_K, W_V, W_O = (self.at[f"W_{role}"][block, head] for role in "QKVO")
        softmax = config.softmax and (config.linear_from is None or layer < config.linear_from)
        rows = []
        for place, token in enumerate(x):
            keys = len(x) if config.query_in_context else len(x) - 1
            seen = x[: min(keys, place + 1) if config.causal else keys]
            scores = (seen @ W_K) @ (token @ W_Q)
            if softmax:
                powers = np.exp((scores - scores.real.max()) / config.d_head**0.5)
                scores = powers / powers.sum()
            rows.append(scores @ (seen @ W_V) @ W_O)
        return np.array(rows)


def gelu(x: Array) -> Array:
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3))) / 2


def normal(h: Array) -> Array:
    centred = h - h.sum(axis=1, keepdims=True) / h.shape[1]
    return centred / ((centred**2).sum(axis=1, keepdims=True) / h.shape[1] + 1e-5) ** 0.5


def clipped(h: Array, bound: float | None) -> Array:
    return h if bound is None else np.where(h.real > bound, bound, np.where(h.real < -bound, -bound, h))


def code(place: int, width: int, one_hot: bool) -> Array:
    if one_hot:
        return np.array([float(place == i) for i in range(width)])
    angles = [place * 10_000.0 ** (-2 * k / width) for k in range(width // 2)]
    return np.array([wave(angle) for angle in angles for wave in (np.sin, np.cos)])
