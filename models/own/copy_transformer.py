"""One layer of attention that says a sequence again: a copy model, after Snell et al. 2021 (arXiv 2103.07601).

Their models are recurrent. This one keeps what their theory is about, and nothing else. For the words x of a source and
each target place t, with heads averaged:

    keyed = W_E[x] + W_pos,   valued = keyed, or W_E[x] alone
    pattern[t, s] = softmax over s of (W_query[t] W_Q) · (keyed[s] W_K) / sqrt(d_head)
    logits[t] = mean over heads of Σ_s pattern[t, s] valued[s] W_V W_O W_U

The queries are learned, one for each target place: nothing of the target is shown, and no query asks for a word. With
uniform attention the pattern is 1 / n_sources, and there are no queries and keys.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...data.errors import CheckpointRefused
from ...data.settings import check_settings, read_settings
from .config import check_shapes

Weights = Mapping[str, Tensor]
"""Parameters by name; leading dimensions, of several models side by side, are the same for all."""


@dataclass(frozen=True)
class CopyConfig:
    """The model's sizes and settings.

    d_vocab:              words
    n_ctx:                places of a source, and of a target
    d_head:               width of queries, keys and values
    positions_in_values:  positions are added to what values are formed from, too
    uniform_attention:    every target attends to all places alike
    """

    d_vocab: Annotated[int, Ge(2)]
    n_ctx: Annotated[int, Ge(2)]
    d_model: Annotated[int, Ge(1)]
    n_heads: Annotated[int, Ge(1)]
    d_head: Annotated[int, Ge(1)]
    positions_in_values: bool = True
    uniform_attention: bool = False

    def __post_init__(self) -> None:
        check_settings(self, "config: ", CheckpointRefused)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter with its shape; what attention alone reads comes last."""
        into, out = (self.n_heads, self.d_model, self.d_head), (self.n_heads, self.d_head, self.d_model)
        places = (self.n_ctx, self.d_model)
        shapes = {"W_E": (self.d_vocab, self.d_model), "W_pos": places, "W_V": into, "W_O": out}
        shapes["W_U"] = (self.d_model, self.d_vocab)
        return shapes if self.uniform_attention else {**shapes, "W_query": places, "W_Q": into, "W_K": into}

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> CopyConfig:
        """A configuration from its settings. Raises CheckpointRefused for unknown and missing keys and wrong types."""
        return read_settings(cls, values, "config: ", refused=CheckpointRefused)


class CopyTransformer(nn.Module):
    """The model as an `nn.Module`, with the parameters of `CopyConfig.shapes`."""

    def __init__(self, config: CopyConfig, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        check_shapes(parameters, config.shapes)
        for name in config.shapes:
            self.register_parameter(name, nn.Parameter(parameters[name], requires_grad=False))
        self.config = config

    @property
    def weights(self) -> dict[str, Tensor]:
        return dict(self.named_parameters())

    def forward(self, tokens: Int[Tensor, "sequence source"]) -> Float[Tensor, "sequence target d_vocab"]:
        """The logits of every target place."""
        return self.logits_of(self.get_parameter("W_E")[tokens])

    def logits_of(self, embedded: Float[Tensor, "sequence source d_model"]) -> Float[Tensor, "sequence target d_vocab"]:
        """The logits, given the words' embeddings."""
        return copy_logits(self.config, self.weights, embedded)


def copy_pattern(
    config: CopyConfig, weights: Weights, embedded: Float[Tensor, "*model sequence source d_model"]
) -> Float[Tensor, "*model sequence head target source"]:
    """The attention of one model, or of several side by side."""
    n = embedded.shape[-2]
    if config.uniform_attention:
        shape = (*embedded.shape[:-2], config.n_heads, n, n)
        return torch.full(shape, 1 / n, dtype=embedded.dtype, device=embedded.device)
    asked = einsum(
        weights["W_query"][..., :n, :], weights["W_Q"], weights["W_K"],
        "... target d, ... head d d_head, ... head e d_head -> ... head target e",
    )  # fmt: skip
    keyed = embedded + weights["W_pos"][..., None, :n, :]
    scores = einsum(asked, keyed, "... head target d, ... sequence source d -> ... sequence head target source")
    return (scores / math.sqrt(config.d_head)).softmax(dim=-1)


def copy_values(
    config: CopyConfig, weights: Weights, embedded: Float[Tensor, "*model sequence source d_model"]
) -> Float[Tensor, "*model sequence source d_model"]:
    """What values are formed from."""
    return embedded + weights["W_pos"][..., None, : embedded.shape[-2], :] if config.positions_in_values else embedded


def head_read_outs(weights: Weights) -> Float[Tensor, "*model head d_model d_vocab"]:
    """The circuit from what a head's values are formed from to logits: W_V W_O W_U of every head."""
    return weights["W_V"] @ weights["W_O"] @ weights["W_U"][..., None, :, :]


def copy_logits(
    config: CopyConfig, weights: Weights, embedded: Float[Tensor, "*model sequence source d_model"]
) -> Float[Tensor, "*model sequence target d_vocab"]:
    """The logits of one model, or of several side by side."""
    pattern, valued = copy_pattern(config, weights, embedded), copy_values(config, weights, embedded)
    read = einsum(
        pattern, valued, "... sequence head target source, ... sequence source d -> ... sequence head target d"
    )
    by_head = head_read_outs(weights) / config.n_heads
    return einsum(read, by_head, "... sequence head target d, ... head d d_vocab -> ... sequence target d_vocab")
