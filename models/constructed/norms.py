"""A constructed transformer with known causes of its token norms: three effects, each planted or absent.

Two blocks without norms, d_model wide. The last dimension marks position 0 if an effect needs it. Random weights do not
read or write that dimension or the massive dimension. All other weights are random and small.

    sink:         every query scores β on keys at position 0, where BOS stands. BOS's embedding lies in the last
                  dimension alone, which no W_V reads: all attention is on key 0, and the value there is zero. This is
                  attention that does nothing (Gu et al. 2024, arXiv 2410.10781; Guo et al. 2024, arXiv 2410.13835)
    massive:      one hidden unit of the first MLP reads the mark of position 0 and writes this number into one
                  dimension, where it stays to the end (Sun et al. 2024, arXiv 2402.17762)
    frequencies:  token w's embedding has norm -log p_w, in nats: rare tokens are long (Oyama et al. 2023, arXiv
                  2212.09663). Otherwise the norms are random and independent of frequency
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel
from .induction import BOS, in_memory

_SHARPNESS = 60.0  # β
_START = -1  # the dimension that marks position 0


def planted_norms(
    sink: bool = False,
    massive: float = 0.0,
    massive_dimension: int = 5,
    frequencies: Float[Tensor, " d_vocab"] | None = None,
    d_vocab: int = 50,
    n_ctx: int = 64,
    d_model: int = 32,
    seed: int = 0,
) -> AttentionOnlyModel:
    """The model, in float64, with the chosen effects. Token 0 is BOS, which begins sequences.

    sink:         all attention goes to BOS, whose value is 0
    massive:      activation at position 0, where other entries of a state are of order 1; 0: no massive activation
    frequencies:  probability of every token, which sets the norm of its embedding; None: random norms
    """
    config = AttentionOnlyConfig(
        d_vocab=d_vocab,
        n_ctx=n_ctx,
        d_model=d_model,
        n_layers=2,
        n_heads=2,
        d_head=d_model // 2,
        d_mlp=2 * d_model,
        activation="relu",
        norm="none",
        attention_scale=1.0,
    )
    rng = torch.Generator().manual_seed(seed)
    parameters = _random_weights(config, massive_dimension % d_model, rng)
    norms = torch.randn(d_vocab, generator=rng, dtype=torch.float64).mul(0.3).exp()
    if frequencies is not None:
        norms = -frequencies.to(torch.float64).log()
    W_E = parameters["W_E"]
    W_E *= (norms / W_E.norm(dim=-1))[:, None]
    if sink or massive:
        parameters["W_pos"][0, _START] = 1.0
    if sink:
        W_E[BOS] = 0.0
        W_E[BOS, _START] = norms[BOS]
        parameters["b_Q"][..., 0] = 1.0
        parameters["W_K"][..., _START, 0] = _SHARPNESS
    if massive:
        parameters["W_in"][0, :, 0] = 0.0
        parameters["W_in"][0, _START, 0] = 1.0
        parameters["W_out"][0, 0] = 0.0
        parameters["W_out"][0, 0, massive_dimension] = massive / (1.0 + W_E[BOS, _START])
    return in_memory(config, parameters, "planted-norms")


def _random_weights(
    config: AttentionOnlyConfig, massive_dimension: int, rng: torch.Generator
) -> dict[str, Float[Tensor, "..."]]:
    """Weights that keep the scale of a state and attend almost evenly; biases and positions are zero."""
    parameters = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in config.shapes.items()}
    free = torch.ones(config.d_model, dtype=torch.float64)
    free[[massive_dimension, _START]] = 0.0
    for name in ("W_E", "W_Q", "W_K", "W_V", "W_O", "W_in", "W_out", "W_U"):
        W = torch.randn(config.shapes[name], generator=rng, dtype=torch.float64) / math.sqrt(config.d_model)
        writes = name in ("W_E", "W_O", "W_out")
        parameters[name] = W * (free if writes else free[:, None])
    parameters["W_Q"] *= 0.1
    return parameters
