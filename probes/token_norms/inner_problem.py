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

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

CHUNK, CACHED = 2**22, 2**18
"""Logits in float64 at a time, whatever the vocabulary: 32 MiB where they are multiplied, 2 MiB where summed up."""

ReadOut = Callable[[Tensor], Tensor]
"""From states to logits, differentiable."""


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
    above = logits - logits.amax(dim=-1, keepdim=True)
    weights = above.exp()
    total = weights.sum(dim=-1)
    chosen = above.gather(-1, targets[:, None])[:, 0]
    return Foresight(total.log() - chosen, total.log() - (weights * above).sum(dim=-1) / total)


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

    The softmax is differentiated by hand, in float64; what read_out does to a state is left to autograd, which keeps
    nothing of the size of the vocabulary for it. The cost is that of three read-outs: one there and two back.
    """
    losses, pushes, shuffled = [], [], []
    vocabulary = read_out(states[:1]).shape[-1]
    for some in _chunks(len(states), vocabulary, CHUNK):
        with torch.enable_grad():
            at = states[some].detach().requires_grad_()
            logits = read_out(at)
        log_p = logits.detach().double().log_softmax(dim=-1)
        losses.append(-log_p.gather(-1, targets[some, None])[:, 0])
        p = log_p.exp_()
        pushes.append(_push_towards(targets[some], logits, at, p, keep_graph=True))
        shuffled.append(_push_towards(others[some], logits, at, p, keep_graph=False))
    return InnerStep(torch.cat(losses), torch.cat(pushes), torch.cat(shuffled))


def _push_towards(targets: Tensor, logits: Tensor, at: Tensor, p: Tensor, keep_graph: bool) -> Tensor:
    """(one-hot of the target - p) back through the read-out: minus the gradient of the loss."""
    slope = -p
    slope[torch.arange(len(targets), device=targets.device), targets] += 1
    return torch.autograd.grad(logits, at, slope.to(logits.dtype), retain_graph=keep_graph)[0]


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
