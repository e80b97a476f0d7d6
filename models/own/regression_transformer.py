"""The in-context regression transformer of von Oswald et al. 2023 (arXiv 2212.07677, appendix A; code `attn.py`).

For a layer with tokens h [task, token, d_model], row convention:

    q = h W_Q,  k = c W_K,  v = c W_V        c: the context tokens (all but the query, unless `query_in_context`)
    h <- h + dampening * (q k^T) v W_O       linear attention has no scale and no 1/N; softmax has 1/sqrt(d_head)
    h <- clip(h, ±activation_clip)           where a clip is set, on every token
    h <- h + dampening * gelu(h W_in) W_out  where there are MLPs, with gelu's tanh approximation; then clipped again
    y_hat = -h[query, y slots]               the read-out, after any layer, carries a minus sign; y slots are the last

There is no mask unless `causal`: then a token attends to context tokens up to itself only. The query comes last, so the
mask changes its prediction through what context tokens hold after the first layer, and never with one layer.

Tokens are [x ; y]. A model may put x and y into tokens of their own, read them in (h = e + MLP(e), e = token W_E), and
write position codes behind them: then the last y slots are those of the codes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from ...data.errors import TaskError
from ..attention import causal_linear_attention, linear_attention, linear_pattern, softmax_pattern
from ..subject import Edit, Reduce, Site, Trace
from ..weights import AttentionWeights
from .config import check_shapes
from .regression_config import RegressionConfig

LAYER_NORM_EPS = 1e-5
ROLES = ("W_Q", "W_K", "W_V", "W_O")
INTO_HEADS = "task pos d_model, head d_model d_head -> task head pos d_head"
Tap = Callable[[Site, int, Tensor], Tensor]


class RegressionTransformer(nn.Module):
    """The transformer as an `nn.Module`. `forward` returns the query's prediction; `run` watches and edits activations.

    Parameters: W_Q, W_K, W_V [block, head, d_model, d_head], W_O [block, head, d_head, d_model]; with layer norm
    ln_scale, ln_offset [norm, d_model]; with MLPs W_in [mlp, d_model, d_mlp], W_out [mlp, d_mlp, d_model], and both
    their norms' vectors; with an embedding W_E [token, d_embed] and the weights and biases of its MLP. Tied layers
    share block 0.
    """

    W_Q: Tensor
    W_K: Tensor
    W_V: Tensor
    W_O: Tensor
    ln_scale: Tensor
    ln_offset: Tensor
    W_in: Tensor
    W_out: Tensor
    mlp_ln_scale: Tensor
    mlp_ln_offset: Tensor
    W_E: Tensor
    embed_W_in: Tensor
    embed_b_in: Tensor
    embed_W_out: Tensor
    embed_b_out: Tensor

    def __init__(self, config: RegressionConfig, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_shapes(parameters, config.shapes)
        for name in config.shapes:
            self.register_parameter(name, nn.Parameter(parameters[name], requires_grad=False))
        self.config = config

    @classmethod
    def from_products(
        cls,
        config: RegressionConfig,
        KQ: Float[Tensor, "block head d_model d_model"],
        PV: Float[Tensor, "block head d_model d_model"],
    ) -> RegressionTransformer:
        """A transformer with the given gauge-invariant products: W_Q = KQ, W_O = PV, W_K = W_V = identity.

        For linear attention only: softmax scores also depend on d_head, which the products do not determine.
        """
        if config.softmax:
            raise ValueError(
                "softmax = True; expected linear attention: KQ and PV do not determine the scale of softmax scores"
            )
        eye = torch.eye(config.d_model, dtype=KQ.dtype, device=KQ.device).expand_as(KQ).clone()
        shape = {"n_heads": KQ.shape[1], "d_head": config.d_model}
        config = RegressionConfig(**{**config.as_dict(), **shape})
        return cls(config, {"W_Q": KQ, "W_K": eye, "W_V": eye.clone(), "W_O": PV})

    def weights(self) -> AttentionWeights:
        """Weights of every layer; tied layers repeat the one block."""
        repeat = self.config.n_layers if self.config.tied else 1
        W_Q, W_K, W_V, W_O = (
            weight.expand(repeat * weight.shape[0], -1, -1, -1)
            for weight in (self.get_parameter(role).detach() for role in ROLES)
        )
        return AttentionWeights(W_Q, W_K, W_V, W_O)

    def forward(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "task d_out"]:
        """Prediction for the query token after the last layer."""
        return self.predict_layers(inputs)[-1]

    def predict_query(
        self, context: Float[Tensor, "task context feature"], query: Float[Tensor, "task 1 feature"]
    ) -> Float[Tensor, "task d_out"]:
        """The same prediction, differentiable with respect to the query token alone, at a fraction of the cost."""
        return self.query_readouts(context, query)[-1]

    def query_readouts(
        self, context: Float[Tensor, "task context feature"], query: Float[Tensor, "task 1 feature"]
    ) -> Float[Tensor, "layer task d_out"]:
        """The read-out after each layer, likewise."""
        return self._readouts(context, query, of_query=True)

    def predict_layers(self, inputs: Float[Tensor, "task token feature"]) -> Float[Tensor, "layer task d_out"]:
        """The read-out -h[query, y slot] after each layer."""
        return self._readouts(inputs[:, :-1], inputs[:, -1:])

    def run(
        self,
        inputs: Float[Tensor, "task token feature"],
        watch: Mapping[Site, Reduce] | None = None,
        edit: Mapping[Site, Edit] | None = None,
    ) -> Trace:
        """One forward pass. A watched activation is reduced at once and dropped. An edit replaces an activation.

        Shapes: resid_pre, attn_out, resid_post, and with MLPs resid_mid and mlp_out [task, token, d_model]; q, k, v, z
        [task, head, token, d_head] (k and v without the query token); pattern [task, head, token, key], raw scores for
        linear attention, 0 where a mask hides a key. The output is the prediction [task, d_out].
        """
        watch, edit = watch or {}, edit or {}
        values: dict[Site, list[Any]] = {site: [] for site in watch}

        def tap(site: Site, layer: int, activation: Tensor) -> Tensor:
            if site in edit:
                activation = edit[site](activation, layer)
            if site in watch:
                values[site].append(watch[site](activation, layer))
            return activation

        h = self.embedded(inputs)
        for layer in range(self.config.n_layers):
            h = tap("resid_post", layer, self._layer(tap("resid_pre", layer, h), layer, tap))
        return Trace(self._readout(h), values)

    def _checked(self, inputs: Tensor) -> Tensor:
        if (width := self.config.d_in + self.config.d_out) != inputs.shape[-1]:
            raise ValueError(f"inputs are {inputs.shape[-1]} wide; expected d_in + d_out = {width}")
        return inputs

    def embedded(self, inputs: Tensor) -> Float[Tensor, "task pos d_model"]:
        """What the first layer reads of tokens [x ; y]."""
        config, h = self.config, self._checked(inputs)
        if config.token_order != "joint":
            h = config.layout.arrange(inputs)
        if config.d_embed is not None:
            h = h @ self.W_E
            h = h + _gelu(h @ self.embed_W_in + self.embed_b_in) @ self.embed_W_out + self.embed_b_out
        if config.d_position:
            codes = position_codes(h.shape[1], config.d_position, config.one_hot_positions).to(h)
            h = torch.cat([h, codes.expand(len(h), -1, -1)], dim=-1)
        return h

    def _readouts(self, context: Tensor, query: Tensor, of_query: bool = False) -> Float[Tensor, "layer task d_out"]:
        """After each layer. Only the query's read-out leaves the last one."""
        config, readouts = self.config, []
        if config.as_given:
            context, query = self._checked(context), self._checked(query)
        else:
            h = self.embedded(torch.cat([context, query], dim=1))
            context, query = h[:, :-1], h[:, -1:]
        for layer in range(config.n_layers):
            tokens = torch.cat([context, query], dim=1) if config.query_in_context else context
            k, v = self._keys_and_values(self._norm(tokens, layer), layer, _pass)
            h = query if layer == config.n_layers - 1 else torch.cat([context, query], dim=1)
            h = self._moved(h, self._norm(h, layer), k, v, layer, _pass)
            context, query = h[:, :-1], h[:, -1:]
            if of_query and not (config.query_in_context and not config.causal):
                context = context.detach()  # context tokens do not see the query, so no gradient passes through them
            readouts.append(self._readout(query))
        return torch.stack(readouts)

    def _readout(self, h: Tensor) -> Float[Tensor, "task d_out"]:
        return -h[:, -1, -self.config.d_out :]

    def _layer(self, h: Tensor, layer: int, tap: Tap) -> Tensor:
        """All tokens after one layer."""
        x = self._norm(h, layer)
        k, v = self._keys_and_values(x if self.config.query_in_context else x[:, :-1], layer, tap)
        return self._moved(h, x, k, v, layer, tap)

    def _keys_and_values(self, x: Tensor, layer: int, tap: Tap) -> tuple[Tensor, Tensor]:
        block = 0 if self.config.tied else layer
        k = tap("k", layer, einsum(x, self.W_K[block], INTO_HEADS))
        return k, tap("v", layer, einsum(x, self.W_V[block], INTO_HEADS))

    def _moved(self, h: Tensor, x: Tensor, k: Tensor, v: Tensor, layer: int, tap: Tap) -> Tensor:
        """Tokens h, of which x are the normed ones, with what they read from keys and values, and behind the MLP."""
        config, block = self.config, 0 if self.config.tied else layer
        q = tap("q", layer, einsum(x, self.W_Q[block], INTO_HEADS))
        causal = config.causal and h.shape[1] > 1  # a token alone is the query, which comes after all keys
        softmax = config.softmax_in(layer)
        if softmax or tap is not _pass:
            pattern = softmax_pattern(q, k, causal) if softmax else linear_pattern(q, k, causal)
            z = tap("pattern", layer, pattern) @ v
        else:
            z = causal_linear_attention(q, k, v) if causal else linear_attention(q, k, v)
        z = tap("z", layer, z)
        update = einsum(z, self.W_O[block], "task head pos d_head, head d_head d_model -> task pos d_model")
        update = tap("attn_out", layer, update)
        if config.target_only:
            update = torch.cat([torch.zeros_like(update[..., : -config.d_out]), update[..., -config.d_out :]], dim=-1)
        h = self._clipped(h + config.dampening * update)
        if config.mlp is None:
            return h
        h = tap("resid_mid", layer, h)
        return self._clipped(h + config.dampening * tap("mlp_out", layer, self._mlp(h, layer)))

    def _mlp(self, h: Tensor, layer: int) -> Tensor:
        mlp = layer if self.config.mlp == "own" else 0
        x = self._normed(h, self.mlp_ln_scale[mlp], self.mlp_ln_offset[mlp]) if self.config.layer_norm else h
        return _gelu(x @ self.W_in[mlp]) @ self.W_out[mlp]

    def _clipped(self, h: Tensor) -> Tensor:
        clip = self.config.activation_clip
        return h if clip is None else h.clamp(-clip, clip)

    def _norm(self, h: Tensor, layer: int) -> Tensor:
        norm = 0 if self.config.tied else layer - 1
        if not self.config.layer_norm or norm < 0:
            return h
        return self._normed(h, self.ln_scale[norm], self.ln_offset[norm])

    def _normed(self, h: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
        return nn.functional.layer_norm(h, (self.config.d_model,), scale, offset, LAYER_NORM_EPS)


def position_codes(n: int, width: int, one_hot: bool = False) -> Float[Tensor, "pos width"]:
    """sin(p / 10000^(2k/width)) and cos of the same, side by side, for pairs k; or one-hot. In float64.

    Raises TaskError for more tokens than one-hot codes have places.
    """
    if one_hot:
        if n > width:
            raise TaskError(
                f"tasks of {n} tokens; expected at most {width}, for which the model has positions; give it tasks of"
                " fewer pairs (--n-context)"
            )
        return torch.eye(n, width, dtype=torch.float64)
    rates = 10_000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
    angles = torch.arange(n, dtype=torch.float64)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def _gelu(x: Tensor) -> Tensor:
    return nn.functional.gelu(x, approximate="tanh")


def _pass(site: Site, layer: int, activation: Tensor) -> Tensor:
    """The tap of a pass without watchers and edits."""
    return activation


def with_label_last(module: RegressionTransformer, slot: int) -> RegressionTransformer:
    """For a transformer whose tokens have the label at `slot` instead of behind x, one that has it behind x.

    With the coordinates of the residual stream in the other order both compute the same.
    """
    return RegressionTransformer(module.config, label_last(module.config, dict(module.named_parameters()), slot))


def label_last(config: RegressionConfig, parameters: Mapping[str, Tensor], slot: int) -> dict[str, Tensor]:
    """The same of parameters; with leading dimensions, of as many transformers."""
    d_in, d_out = config.d_in, config.d_out
    if slot == d_in:
        return dict(parameters)
    if not config.as_given:
        raise ValueError(
            f"tokens with the label at {slot}; expected it behind x: this model has {config.beside_attention}"
        )
    order = [*range(slot), *range(slot + d_out, d_in + d_out), *range(slot, slot + d_out)]
    coordinates = {name: -2 if name in ("W_Q", "W_K", "W_V", "W_in") else -1 for name in config.shapes}
    index = torch.tensor(order, device=parameters["W_Q"].device)
    return {name: parameters[name].index_select(axis, index) for name, axis in coordinates.items()}


def initialise(config: RegressionConfig, scale: float, rng: torch.Generator) -> RegressionTransformer:
    """An untrained transformer, initialised like the authors' (haiku's VarianceScaling, fan-in, truncated normal).

    Entries have variance scale / fan_in: a normal of std sqrt(scale / fan_in) / 0.8796 cut off at ±2 std. The authors'
    scale is 0.002 / n_layers (the paper calls it a standard deviation; the code says variance). Layer norms start at 1
    and 0, biases at 0. `rng` lives on the CPU, so that every device starts from the same weights.
    """
    parameters = {}
    for name, shape in config.shapes.items():
        if "W_" in name:
            # W_O takes all heads at once: its fan-in is head x d_head, in the authors' [n_heads * d_head, d_model]
            fan_in = config.n_heads * config.d_head if name == "W_O" else shape[-2]
            std = (scale / fan_in) ** 0.5 / 0.87962566103423978
            weight = torch.empty(shape, dtype=torch.float64)
            nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std, generator=rng)
            parameters[name] = weight
        else:
            fill = torch.ones if name.endswith("ln_scale") else torch.zeros
            parameters[name] = fill(shape, dtype=torch.float64)
    return RegressionTransformer(config, parameters)
