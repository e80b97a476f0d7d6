"""mesascope's own transformers once more, in NumPy and float64: without taps, kernels and all else of a watched pass.

What a model must answer, for the check of every opened file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.special import erf

from .attention_only import AttentionOnlyConfig
from .copy_transformer import CopyConfig
from .regression_config import RegressionConfig
from .regression_transformer import LAYER_NORM_EPS
from .softmax_layer import SoftmaxLayerConfig

Parameters = Mapping[str, np.ndarray]
ACTIVATIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "gelu": lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2,
    "silu": lambda x: x / (1 + np.exp(-x)),
}


class PlainPass(NamedTuple):
    """Logits of one sequence, or its last states where the model has no unembedding, and every pattern."""

    output: Float[np.ndarray, "pos width"]
    patterns: Float[np.ndarray, "layer head pos key"]


def plain_pass(config: AttentionOnlyConfig, parameters: Parameters, tokens: Int[np.ndarray, " pos"]) -> PlainPass:
    """Of a transformer from tokens to logits."""
    n, at = len(tokens), parameters
    h = at["W_E"][tokens] + _added(config, at, n)
    patterns = np.zeros((config.n_layers, config.n_heads, n, n))
    for layer in range(config.n_layers):
        x = _normed(config, at, "ln1", layer, h)
        scored = x + at["W_pos"][:n] if config.positions == "shortformer" else x
        h = h + at["b_O"][layer]
        for head in range(config.n_heads):
            q, k = (scored @ at[f"W_{role}"][layer, head] + at[f"b_{role}"][layer, head] for role in "QK")
            if config.positions == "rotary":
                q, k = _turned(config, q), _turned(config, k)
            scores = q @ k.T / (np.sqrt(config.d_head) if config.attention_scale is None else config.attention_scale)
            if config.causal:
                scores[np.triu_indices(n, 1)] = -np.inf
            patterns[layer, head] = _softmax(scores)
            v = x @ at["W_V"][layer, head] + at["b_V"][layer, head]
            h = h + patterns[layer, head] @ v @ at["W_O"][layer, head]
        if config.d_mlp is not None:
            h = h + _mlp(config, at, layer, _normed(config, at, "ln2", layer, h))
    state = _normed(config, at, "ln_final", None, h)
    return PlainPass(state @ at["W_U"] + at["b_U"] if config.n_logits else state, patterns)


def plain_softmax_regression(
    config: SoftmaxLayerConfig,
    parameters: Parameters,
    A: Float[np.ndarray, "task token d_in"],
    b: Float[np.ndarray, "task token"],
) -> Float[np.ndarray, "task token"]:
    """Of a softmax layer, query by query: what it writes of each token, and the softmax over the tokens."""
    W_KQ, w_V, predictions = parameters["W_KQ"], parameters["w_V"], []
    for rows, targets in zip(A, b, strict=True):
        tokens = [np.append(row, target) for row, target in zip(rows, targets, strict=True)]
        values = np.array([token @ w_V for token in tokens])
        asked = [np.append(row, 0.0) @ W_KQ for row in rows]
        written = [_softmax(np.array([[q @ token for token in tokens]]))[0] @ values for q in asked]
        predictions.append(_softmax(config.output_scale * len(rows) * np.array([written]))[0])
    return np.stack(predictions)


def plain_copies(config: CopyConfig, parameters: Parameters, words: Int[np.ndarray, " source"]) -> PlainPass:
    """Of a copy model, target by target: the mean over heads of what each reads of the words that it attends to."""
    at, n, W_U = parameters, len(words), parameters["W_U"]
    logits, patterns = np.zeros((n, config.d_vocab)), np.zeros((1, config.n_heads, n, n))
    for head in range(config.n_heads):
        keyed = [at["W_E"][word] + at["W_pos"][place] for place, word in enumerate(words)]
        valued = keyed if config.positions_in_values else [at["W_E"][word] for word in words]
        for target in range(n):
            scores = np.zeros(n)
            if not config.uniform_attention:
                asked = at["W_query"][target] @ at["W_Q"][head] @ at["W_K"][head].T
                scores = np.array([asked @ key for key in keyed]) / np.sqrt(config.d_head)
            patterns[0, head, target] = _softmax(scores)
            read = sum(weight * v for weight, v in zip(patterns[0, head, target], valued, strict=True))
            logits[target] += read @ at["W_V"][head] @ at["W_O"][head] @ W_U / config.n_heads
    return PlainPass(logits, patterns)


def plain_predictions(
    config: RegressionConfig, parameters: Parameters, inputs: Float[np.ndarray, "task token feature"]
) -> Float[np.ndarray, "task d_out"]:
    """Of a regression transformer: the negative of what the query's y slot ends with."""
    predictions = []
    for tokens in inputs:
        h = _read_in(config, parameters, tokens)
        for layer in range(config.n_layers):
            h = _regression_layer(config, parameters, layer, h)
        predictions.append(-h[-1, len(h[-1]) - config.d_out :])
    return np.stack(predictions)


def _read_in(config: RegressionConfig, at: Parameters, tokens: Float[np.ndarray, "token feature"]) -> np.ndarray:
    h = tokens
    if config.token_order != "joint":
        apart = []
        for token in tokens:
            x, y = token[: config.d_in], token[config.d_in :]
            beside = np.zeros(0) if config.token_order == "interleaved" else np.zeros(config.d_out)
            apart += [np.concatenate([x, beside]), np.concatenate([np.zeros(len(x) + len(beside) - len(y)), y])]
        h = np.array(apart[:-1])
    if config.d_embed is not None:
        h = h @ at["W_E"]
        hidden = ACTIVATIONS["gelu_tanh"](h @ at["embed_W_in"] + at["embed_b_in"])
        h = h + hidden @ at["embed_W_out"] + at["embed_b_out"]
    codes = np.zeros((len(h), config.d_position))
    for pos, place in np.ndindex(codes.shape):
        if config.one_hot_positions:
            codes[pos, place] = pos == place
            continue
        angle = pos / 10_000 ** (place // 2 * 2 / config.d_position)
        codes[pos, place] = np.cos(angle) if place % 2 else np.sin(angle)
    return np.concatenate([h, codes], axis=1)


def _regression_layer(config: RegressionConfig, at: Parameters, layer: int, h: np.ndarray) -> np.ndarray:
    block, x = 0 if config.tied else layer, h
    if config.layer_norm and (config.tied or layer > 0):
        number = 0 if config.tied else layer - 1
        x = _standardised(h, LAYER_NORM_EPS) * at["ln_scale"][number] + at["ln_offset"][number]
    context = x if config.query_in_context else x[:-1]
    update = np.zeros_like(h)
    for head in range(config.n_heads):
        scores = (x @ at["W_Q"][block, head]) @ (context @ at["W_K"][block, head]).T
        softmax = config.softmax_in(layer)
        if softmax:
            scores = scores / np.sqrt(config.d_head)
        if config.causal:
            scores[np.triu_indices_from(scores, 1)] = -np.inf if softmax else 0.0
        pattern = _softmax(scores) if softmax else scores
        update = update + pattern @ (context @ at["W_V"][block, head]) @ at["W_O"][block, head]
    if config.target_only:
        update[:, : -config.d_out] = 0
    h, clip = h + config.dampening * update, np.inf if config.activation_clip is None else config.activation_clip
    h = np.clip(h, -clip, clip)
    if config.mlp is not None:
        mlp, x = layer if config.mlp == "own" else 0, h
        if config.layer_norm:
            x = _standardised(h, LAYER_NORM_EPS) * at["mlp_ln_scale"][mlp] + at["mlp_ln_offset"][mlp]
        h = h + config.dampening * ACTIVATIONS["gelu_tanh"](x @ at["W_in"][mlp]) @ at["W_out"][mlp]
    return np.clip(h, -clip, clip)


def _added(config: AttentionOnlyConfig, at: Parameters, n: int) -> np.ndarray | float:
    """What is added to the embeddings."""
    if config.positions == "learned":
        return at["W_pos"][:n]
    if config.positions == "sinusoidal":
        dimension = np.arange(config.d_model)
        angles = np.arange(n)[:, None] / 10_000 ** (dimension // 2 * 2 / config.d_model)
        return np.where(dimension % 2 == 0, np.sin(angles), np.cos(angles))
    return 0.0


def _turned(config: AttentionOnlyConfig, x: Float[np.ndarray, "pos d_head"]) -> Float[np.ndarray, "pos d_head"]:
    """Each pair of dimensions as a complex number, turned by its angle."""
    width, turned = config.rotated, x.copy()
    pairs = np.arange(width).reshape(-1, 2) if config.rotary_interleaved else np.arange(width).reshape(2, -1).T
    angles = np.arange(len(x))[:, None] * config.rotary_base ** (-np.arange(0, width, 2) / width)
    numbers = (x[:, pairs[:, 0]] + 1j * x[:, pairs[:, 1]]) * np.exp(1j * angles)
    turned[:, pairs[:, 0]], turned[:, pairs[:, 1]] = numbers.real, numbers.imag
    return turned


def _mlp(config: AttentionOnlyConfig, at: Parameters, layer: int, x: np.ndarray) -> np.ndarray:
    act, hidden = ACTIVATIONS[config.activation], x @ at["W_in"][layer]
    if config.gated_mlp:
        hidden = act(x @ at["W_gate"][layer]) * hidden + at["b_in"][layer]
    else:
        hidden = act(hidden + at["b_in"][layer])
    return hidden @ at["W_out"][layer] + at["b_out"][layer]


def _normed(config: AttentionOnlyConfig, at: Parameters, name: str, layer: int | None, h: np.ndarray) -> np.ndarray:
    place = ... if layer is None else layer
    if config.norm == "layer":
        return _standardised(h, config.norm_eps) * at[f"{name}_scale"][place] + at[f"{name}_offset"][place]
    if config.norm == "rms":
        return h / np.sqrt(np.mean(h**2, axis=-1, keepdims=True) + config.norm_eps) * at[f"{name}_scale"][place]
    return h


def _standardised(h: np.ndarray, eps: float) -> np.ndarray:
    centred = h - h.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + eps)


def _softmax(scores: np.ndarray) -> np.ndarray:
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return weights / weights.sum(axis=-1, keepdims=True)
