"""The inner problem at one token: a state, the loss of reading it out at once, and the push that would lower the loss.

Wu & Varshney (2024, arXiv 2310.05884) look at a causal language model as if an optimization ran inside it, from layer
to layer. What is defined here is an operationalization of ours. At one position, with the state h as the parameter and
y the token that follows,

    loss(h) = -log softmax(readout(h))_y        readout: final norm, with the statistics of h itself, and unembedding
    push    = -d loss / d h

Two identities hold exactly. Without a final norm and without a bias, h . push = log p_y + H(p): entropy minus
surprisal, so that a gradient step lengthens h where the surprisal is below the entropy. With one (and eps = 0) the
loss does not depend on the length of h, so that h . push = 0, and a gradient step can only lengthen h.

To first order a write w lowers the loss by w . push. A loss that falls from layer to layer therefore forces a positive
cosine of write and push, whatever computes the write.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...models.attention import in_float32
from .read_out import ReadOut

CHUNK, CACHED = 2**23, 2**18
"""Logits at a time, whatever the vocabulary: 32 MiB in float32 where they are multiplied, 2 MiB in float64 where summed
up."""
SUMMED = 2**11
"""Exponentials that are summed in their own precision; their sums are in float64."""


class Foresight(NamedTuple):
    """surprisal: -log p of the token that follows; entropy: of p; both in nats."""

    surprisal: Float64[Tensor, "*batch"]
    entropy: Float64[Tensor, "*batch"]


class InnerStep(NamedTuple):
    """loss: in nats; push: minus its gradient; shuffled: the same for other targets."""

    loss: Float64[Tensor, " token"]
    push: Float[Tensor, "token d_model"]
    shuffled: Float[Tensor, "token d_model"]


def foresight(logits: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"]) -> Foresight:
    """Surprisal and entropy of next-token predictions, in float64, a chunk of tokens at a time."""
    chunks = _chunks(len(logits), logits.shape[1], CACHED)
    found = [_foresight_of_chunk(logits[some].double(), targets[some]) for some in chunks]
    surprisal, entropy = (torch.cat(values) for values in zip(*found, strict=True))
    return Foresight(surprisal, entropy)


def _foresight_of_chunk(logits: Float64[Tensor, "token vocab"], targets: Int[Tensor, " token"]) -> Foresight:
    """Ranks are taken of these: the entropies of two tokens may differ in the seventh digit."""
    found = _exponentials(logits, targets)
    mean = (found.weights * (logits - found.highest)).sum(dim=-1) / found.total
    return Foresight(found.loss, found.total.log() - mean)


class _Exponentials(NamedTuple):
    """Of logits above the highest of their token, their sum, and the surprisal."""

    weights: Float[Tensor, "token vocab"]
    total: Float64[Tensor, " token"]
    loss: Float64[Tensor, " token"]
    highest: Float[Tensor, "token 1"]


def _exponentials(
    logits: Float[Tensor, "token vocab"], targets: Int[Tensor, " token"], in_place: bool = False
) -> _Exponentials:
    """Exponentials are taken in the logits' own precision, and summed in float64.

    in_place:  the exponentials take the logits' place
    """
    highest = logits.amax(dim=-1, keepdim=True)
    chosen = logits.gather(-1, targets[:, None]).double() - highest.double()
    weights = (logits.sub_(highest) if in_place else logits - highest).exp_()
    total = _sum(weights)
    return _Exponentials(weights, total, total.log() - chosen[:, 0], highest)


def _sum(x: Float[Tensor, "token vocab"]) -> Float64[Tensor, " token"]:
    """Over the vocabulary. Blocks of it in their own precision, which takes a tenth of the time."""
    return torch.stack([block.sum(dim=-1) for block in x.split(SUMMED, dim=-1)], dim=-1).double().sum(dim=-1)


def _chunks(tokens: int, vocabulary: int, most: int) -> Iterator[slice]:
    size = max(1, most // vocabulary)
    yield from (slice(first, first + size) for first in range(0, tokens, size))


def inner_step(
    states: Float[Tensor, "token d_model"],
    read_out: ReadOut,
    targets: Int[Tensor, " token"],
    others: Int[Tensor, " token"],
) -> InnerStep:
    """Losses of states read out at once, and the pushes towards the targets and towards other tokens.

    The softmax and the unembedding are differentiated by hand, so that one product with the unembedding there and one
    back serve both kinds of targets:

        d loss / d norm(h) = sum over v of p_v W_U[:, v] - W_U[:, y]
    """
    found = [
        _step_of_chunk(states[some], read_out, targets[some], others[some])
        for some in _chunks(len(states), read_out.W_U.shape[1], CHUNK)
    ]
    return InnerStep(*(torch.cat(values) for values in zip(*found, strict=True)))


def _step_of_chunk(states: Tensor, read_out: ReadOut, targets: Tensor, others: Tensor) -> InnerStep:
    with torch.enable_grad():
        at = states.detach().requires_grad_()
        normed = read_out.norm(at)
    with torch.no_grad():
        logits = read_out.of_normed(normed.detach())
        found = _exponentials(in_float32(logits), targets, in_place=read_out.cap is None)  # a cap needs them once more
        expected = read_out.expected_rows(found.weights, logits) / found.total[:, None]
        ups = [read_out.rows(of, logits) - expected for of in (targets, others)]
    pushes = [torch.autograd.grad(normed, at, up.to(normed.dtype), retain_graph=True)[0] for up in ups]
    return InnerStep(found.loss, *pushes)


@torch.no_grad()
def inner_loss(
    states: Float[Tensor, "token d_model"], read_out: ReadOut, targets: Int[Tensor, " token"]
) -> Float64[Tensor, " token"]:
    """The losses alone, at half the cost."""
    chunks = _chunks(len(states), read_out.W_U.shape[1], CHUNK)
    found = [_exponentials(in_float32(read_out(states[some])), targets[some], in_place=True).loss for some in chunks]
    return torch.cat(found)


def cosine(a: Float[Tensor, "*batch d_model"], b: Float[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch"]:
    """In float64; 0 where one of the two is a vector of zeros."""
    a, b = a.double(), b.double()
    scale = a.norm(dim=-1) * b.norm(dim=-1)
    return (a * b).sum(dim=-1) / scale.masked_fill(scale == 0, 1)


def radial(states: Float[Tensor, "*batch d_model"], push: Float[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch"]:
    """h . push / ‖h‖: how much a unit gradient step lengthens the state, to first order. 0 for a state of zeros."""
    states, push = states.double(), push.double()
    length = states.norm(dim=-1)
    return (states * push).sum(dim=-1) / length.masked_fill(length == 0, 1)


def first_order(
    write: Float[Tensor, "*batch d_model"], push: Float[Tensor, "*batch d_model"]
) -> Float64[Tensor, "*batch"]:
    """write . push: the fall of the loss that a write would bring, were the loss linear; in nats."""
    return (write.double() * push.double()).sum(dim=-1)
