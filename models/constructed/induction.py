"""Constructed induction circuits, and heads that are easily mistaken for induction heads.

Two layers of attention without norms. The residual stream holds four codes, each one-hot:

    own    the token                                from the embedding
    place  the position                             from the position embedding
    moved  an earlier token's identity              written by heads of layer 0
    next   the token to predict                     written by heads of layer 1, read by the unembedding

A head of layer 0 at offset 1 scores key j with q_i·k_j = β [j = i - 1] and moves the token at j into `moved` of i: a
previous-token head. A head of layer 1 that matches `moved` scores β [own_i = moved_j], hence finds the keys that follow
an earlier occurrence of its token, and copies their token into `next`: together an induction circuit (Elhage et al.
2021, "A Mathematical Framework for Transformer Circuits"; Olsson et al. 2022, arXiv 2209.11895). Every head also scores
β/2 on BOS, so it attends to BOS when it finds no match; BOS itself is never predicted. With β = 60 the attention to all
other keys together is below e^-30 times the context length.

On BOS + r + r, all tokens of r distinct, the induction head's attention from i to i - |r| + 1 is 1, and the second
repeat is predicted; in the first, every token but BOS is equally likely.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import IN_MEMORY, Source
from ..weights import weights_sha256

BOS = 0
_SHARPNESS = 60.0  # β
_GAIN = 20.0  # logits of a token that is copied
_NEVER = -1000.0  # logit of BOS


@dataclass(frozen=True)
class PlantedHead:
    """One head: where it attends, and what it writes.

    offset:   attends this many positions back, whatever the tokens are
    matches:  attends to keys whose `own` or `moved` token is the query's own token; never to the query itself
    noise:    seed of random W_Q and W_K with the Frobenius norms of an induction head's
    writes:   the code that the attended token's identity is written into
    copies:   factor on the write; negative: the head lowers the attended token's logit; 0: it writes nothing
    strength: of matching: the attention to a single match, between 0 and 1; the rest goes to BOS

    Without offset, matches and noise it always attends to BOS.
    """

    offset: int | None = None
    matches: Literal["own", "moved"] | None = None
    noise: int | None = None
    writes: Literal["moved", "next"] = "next"
    copies: float = 1.0
    strength: float = 1.0


PREVIOUS_TOKEN = PlantedHead(offset=1, writes="moved")
CURRENT_TOKEN = PlantedHead(offset=0)
FIRST_TOKEN = PlantedHead()
DUPLICATE_TOKEN = PlantedHead(matches="own")
INDUCTION = PlantedHead(matches="moved")
ANTI_INDUCTION = PlantedHead(matches="moved", copies=-1.0)
SILENT = PlantedHead(copies=0.0)


def induction_circuit(shift: int = 0, d_vocab: int = 30, n_ctx: int = 64) -> AttentionOnlyModel:
    """A previous-token head L0H0 and the induction head L1H0 that reads it.

    shift:  L0H0 moves the token from 1 + `shift` positions back, so L1H0 attends `shift` positions after its target:
            -1 attends to the earlier occurrence itself, 1 to the second token after it
    """
    return planted_model([PlantedHead(offset=1 + shift, writes="moved")], [INDUCTION], d_vocab, n_ctx)


def near_misses(period: int, d_vocab: int = 30, n_ctx: int = 64) -> AttentionOnlyModel:
    """Heads of layer 1 that resemble an induction head, after the same previous-token head, in this order: a fixed
    offset of period - 1; duplicate-token; matching but anti-copying; random at the same scale."""
    second = [PlantedHead(offset=period - 1), DUPLICATE_TOKEN, ANTI_INDUCTION, PlantedHead(noise=0)]
    return planted_model([PREVIOUS_TOKEN], second, d_vocab, n_ctx)


def planted_model(
    first: Sequence[PlantedHead],
    second: Sequence[PlantedHead],
    d_vocab: int = 30,
    n_ctx: int = 64,
    dtype: torch.dtype = torch.float64,
) -> AttentionOnlyModel:
    """Two layers with these heads; the layer with fewer gets silent heads. Token 0 is BOS, which begins sequences.

    d_model is 3 d_vocab + n_ctx, d_head d_vocab + n_ctx + 1.
    """
    n_heads = max(len(first), len(second))
    config = AttentionOnlyConfig(
        d_vocab=d_vocab,
        n_ctx=n_ctx,
        d_model=3 * d_vocab + n_ctx,
        n_layers=2,
        n_heads=n_heads,
        d_head=d_vocab + n_ctx + 1,
        norm="none",
        attention_scale=1.0,
    )
    parameters = {name: torch.zeros(shape, dtype=dtype) for name, shape in config.shapes.items()}
    codes = _codes(d_vocab, n_ctx)
    parameters["W_E"][:, codes["own"]] = torch.eye(d_vocab, dtype=dtype)
    parameters["W_pos"][:, codes["place"]] = torch.eye(n_ctx, dtype=dtype)
    parameters["W_U"][codes["next"]] = _GAIN * torch.eye(d_vocab, dtype=dtype)
    parameters["b_U"][BOS] = _NEVER
    for layer, heads in enumerate((first, second)):
        for head in range(n_heads):
            planted = heads[head] if head < len(heads) else SILENT
            weights = {name: parameters[name][layer, head] for name in ("W_Q", "W_K", "b_Q", "W_V", "W_O")}
            _write_attention(planted, weights, d_vocab, n_ctx)
            _write_copying(planted, weights, d_vocab, codes)
    return in_memory(config, parameters, "planted-heads")


def in_memory(config: AttentionOnlyConfig, parameters: Mapping[str, Tensor], name: str) -> AttentionOnlyModel:
    """A constructed language model as a subject; its sequences begin with `BOS`."""
    source = Source(
        name,
        layout="in-memory",
        weights_sha256=weights_sha256(parameters),
        facts={**config.as_dict(), "bos": BOS},
        notes=(IN_MEMORY,),
    )
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source)


def _codes(d_vocab: int, n_ctx: int) -> dict[str, slice]:
    """Where each code lies in the residual stream."""
    ends = {"own": d_vocab, "place": d_vocab + n_ctx, "moved": 2 * d_vocab + n_ctx, "next": 3 * d_vocab + n_ctx}
    starts = [0, *ends.values()]
    return {name: slice(start, end) for (name, end), start in zip(ends.items(), starts, strict=False)}


def _write_attention(planted: PlantedHead, weights: Mapping[str, Tensor], d_vocab: int, n_ctx: int) -> None:
    """W_Q, W_K and b_Q; d_head is a token's code, a position's code, and one that every query has."""
    W_Q, W_K, codes = weights["W_Q"], weights["W_K"], _codes(d_vocab, n_ctx)
    token, place = slice(0, d_vocab), slice(d_vocab, d_vocab + n_ctx)
    weights["b_Q"][-1] = 1.0
    W_K[BOS, -1] = _SHARPNESS / 2  # attends to BOS without a match
    W_K[codes["place"], place] = torch.eye(n_ctx, dtype=W_K.dtype)
    if planted.offset is not None:
        back = torch.ones(n_ctx - planted.offset, dtype=W_Q.dtype).diag(-planted.offset)
        W_Q[codes["place"], place] = _SHARPNESS * back
    matches = "moved" if planted.noise is not None else planted.matches
    if matches is not None:
        W_Q[codes["own"], token] = _score_of(planted.strength) * torch.eye(d_vocab, dtype=W_Q.dtype)
        W_K[codes[matches], token] = torch.eye(d_vocab, dtype=W_K.dtype)
        W_Q[codes["place"], place] = -_SHARPNESS * torch.eye(n_ctx, dtype=W_Q.dtype)  # never itself
    if planted.noise is not None:
        rng = torch.Generator().manual_seed(planted.noise)
        weights["b_Q"][-1] = 0.0
        for W in (W_Q, W_K):
            W.copy_(_scaled_to(torch.randn(W.shape, generator=rng, dtype=W.dtype), W.norm()))


def _score_of(strength: float) -> float:
    """Of a match that gets so much attention beside BOS, whose score is β/2; β at most."""
    return _SHARPNESS if strength == 1 else _SHARPNESS / 2 + math.log(strength / (1 - strength))


def _scaled_to(direction: Tensor, norm: Float[Tensor, ""]) -> Tensor:
    return direction * (norm / direction.norm())


def _write_copying(
    planted: PlantedHead, weights: Mapping[str, Tensor], d_vocab: int, codes: Mapping[str, slice]
) -> None:
    """W_V reads the token's own code, W_O writes it."""
    identity = torch.eye(d_vocab, dtype=weights["W_V"].dtype)
    weights["W_V"][codes["own"], :d_vocab] = identity
    weights["W_O"][:d_vocab, codes[planted.writes]] = planted.copies * identity
