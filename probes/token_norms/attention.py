"""Attention weighed by the length of what it moves: formulas for tensors from anywhere.

Head h writes sum_j alpha[i, j] f(x_j) at token i, where f(x) = (x W_V + b_V) W_O. Kobayashi et al. 2020 (arXiv
2004.10102) look at ‖alpha f(x)‖ in place of alpha: much attention to a token with a short f(x) moves little. Kobayashi
et al. 2021 (arXiv 2109.07152) part what a block makes of token i into what is mixed into it, sum over j != i of
alpha[i, j] f(x_j), and what is preserved, alpha[i, i] f(x_i) and the residual stream, all heads together. The mixing
ratio is

    ‖mixed‖ / (‖mixed‖ + ‖preserved‖)

The mixed part is the block's output minus the preserved part, so that no tensor of length x length x width is made.
Both papers examine models that normalise after attention; where the norm comes before it, f acts on the normalised
state, the residual stream is the state itself, and nothing follows the sum that AttnResLn could linearise.
"""

from __future__ import annotations

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Float64
from torch import Tensor

from ...models.attention import in_float32
from ...models.norms import Norm
from ...models.subject import AttentionScores
from .lengths import lengths

RATIOS = ("Attn-W", "AttnRes-W", "Attn-N", "AttnRes-N", "AttnResLn-N")
"""W: from weights alone, N: from norms; Res: the residual stream is preserved, too; Ln: under the norm that follows."""


def write_factors(W_O: Float[Tensor, "head d_head d_model"]) -> Float64[Tensor, "head width d_head"]:
    """Small matrices R with ‖v W_O‖ = ‖R v‖, one a head: from a QR decomposition, so that nothing cancels."""
    return torch.linalg.qr(W_O.double().mT).R


def write_lengths(
    v: Float[Tensor, "batch kv_head pos d_head"], factors: Float64[Tensor, "head width d_head"]
) -> Float64[Tensor, "batch head pos"]:
    """‖f(x)‖ of every token, from its values and `write_factors`. Query head h uses kv head h // (heads / kv heads)."""
    grouped = rearrange(factors, "(kv group) width d -> kv (group width) d", kv=v.shape[1])
    turned = v.double() @ grouped.mT
    return rearrange(turned, "b kv t (g w) -> b (kv g) t w", g=len(factors) // v.shape[1]).norm(dim=-1)


def weighted_lengths(
    scores: AttentionScores, write: Float64[Tensor, "batch head pos"]
) -> Float64[Tensor, "batch head pos"]:
    """sum_j ‖alpha[i, j] f(x_j)‖ of every query i: attention is a factor, so each is alpha[i, j] ‖f(x_j)‖."""
    by_block = [
        einsum(block.double(), write[..., : block.shape[-1]], "b h i j, b h j -> b h i") for _, block in scores.blocks()
    ]
    return torch.cat(by_block, dim=-1)


def own_write(
    v: Float[Tensor, "batch kv_head pos d_head"],
    own: Float[Tensor, "batch head pos"],
    W_O: Float[Tensor, "head d_head d_model"],
) -> Float[Tensor, "batch pos d_model"]:
    """sum over heads of alpha[i, i] f(x_i): what attention preserves of each token."""
    weighed = rearrange(own, "b (kv g) t -> b kv g t 1", kv=v.shape[1]) * in_float32(v)[:, :, None]
    return summed_writes(weighed.flatten(1, 2), W_O)


def summed_writes(
    z: Float[Tensor, "batch head pos d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float[Tensor, "batch pos d_model"]:
    """sum over heads of z W_O: the block's output, its bias and any norm on it left out. In float32 at least."""
    return rearrange(in_float32(z), "b h t d -> b t (h d)") @ rearrange(in_float32(W_O), "h d m -> (h d) m")


def mixing_ratios(
    stream: Float[Tensor, "batch pos d_model"],
    writes: Float[Tensor, "batch pos d_model"],
    own: Float[Tensor, "batch pos d_model"],
    own_attention: Float[Tensor, "batch head pos"],
    norm: Norm | None = None,
    bias: Float[Tensor, "d_model"] | None = None,
) -> Float64[Tensor, "batch pos 5"]:
    """The five ratios in the order of `RATIOS`, each in [0, 1]; NaN where nothing is written at all.

    stream:  what attention's output is added to
    writes:  `summed_writes`; own: `own_write`
    norm:    what the sum goes through, where norms follow attention; None: AttnResLn-N is NaN
    bias:    of attention's output; part of the sum whose statistics the norm takes
    """
    mixed = writes.double() - own.double()
    weights = 1 - own_attention.double().mean(dim=1)
    kept = own.double() + stream.double()
    found = [weights, weights / 2, _ratio(mixed, own), _ratio(mixed, kept)]
    if norm is None:
        found.append(torch.full_like(weights, torch.nan))
    else:
        whole = kept + mixed + (0 if bias is None else bias.double())
        found.append(_ratio(norm.linear(mixed, whole), norm.linear(kept, whole)))
    return torch.stack(found, dim=-1)


def _ratio(mixed: Tensor, preserved: Tensor) -> Float64[Tensor, "*batch"]:
    mixing, preserving = lengths(mixed), lengths(preserved)
    return mixing / (mixing + preserving)


def head_summed_lengths(
    scores: AttentionScores,
    v: Float[Tensor, "batch kv_head pos d_head"],
    W_O: Float[Tensor, "head d_head d_model"],
) -> Float64[Tensor, "batch pos pos"]:
    """‖sum over heads of alpha[i, j] f(x_j)‖ for every pair: the map of Kobayashi et al. 2020.

    Formed from the products f_g(x_j) . f_h(x_j) of each token's writes, sequence by sequence and a block of queries at
    a time: length x length x width is never needed.
    """
    batch, n = scores.q.shape[0], scores.q.shape[2]
    maps = torch.zeros(batch, n, n, dtype=torch.float64, device=v.device)
    products = [_products_of_writes(sequence, W_O) for sequence in v]
    for first, block in scores.blocks():
        for sequence, alpha in enumerate(block.double()):
            keys = alpha.shape[-1]
            squares = einsum(alpha, products[sequence][:keys], alpha, "g i j, j g h, h i j -> i j")
            maps[sequence, first : first + alpha.shape[1], :keys] = squares.clamp_min(0).sqrt()
    return maps


def _products_of_writes(
    v: Float[Tensor, "kv_head pos d_head"], W_O: Float[Tensor, "head d_head d_model"]
) -> Float64[Tensor, "pos head head"]:
    grouped = rearrange(W_O.double(), "(kv g) d m -> kv g d m", kv=len(v))
    writes = einsum(v.double(), grouped, "kv j d, kv g d m -> kv g j m").flatten(0, 1)
    return einsum(writes, writes, "g j m, h j m -> j g h")
