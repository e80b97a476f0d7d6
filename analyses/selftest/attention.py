"""What attention is pushed towards while it learns, as attention-learning measures it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import permutations

import numpy as np
import torch

from ...probes.attention_learning import agreement, odds, toy
from .agreement import Agreement, Check, same
from .sources import SNELL


def attention_push(device: torch.device) -> Iterator[Agreement]:
    """Of two words the log-odds are linear in what attention brings: their gradient by its logits, by autograd."""
    rng = torch.Generator().manual_seed(0)
    states, scores = (
        torch.randn(*shape, generator=rng, dtype=torch.float64).to(device) for shape in ((9, 7, 4), (9, 7))
    )
    readout = torch.randn(4, 2, generator=rng, dtype=torch.float64).to(device)
    target = torch.arange(9, device=device) % 2
    alpha = scores.requires_grad_().softmax(dim=-1)
    brought = (alpha[..., None] * states).sum(dim=1)
    p = (brought @ readout).softmax(dim=-1).gather(1, target[:, None])
    (gradient,) = torch.autograd.grad((p / (1 - p)).log().sum(), scores)
    beta = odds.log_odds(states @ readout, target[:, None].expand(9, 7))
    yield same(odds.attention_push(alpha, beta), gradient)


def agreement_by_chance(_: torch.device) -> Iterator[Agreement]:
    """The mean over all orders of v, with ties and without: k / S."""
    u = np.array([0.3, 0.3, 0.1, 0.2, 0.0, 0.1])
    for v in (np.arange(6.0), np.array([4.0, 4.0, 1.0, 4.0, 0.0, 1.0]), np.ones(6)):
        every = np.array([v[list(order)] for order in permutations(range(6))])
        yield same(float(agreement.agreement(np.broadcast_to(u, every.shape), every).mean()), 1 / 6)


def attention_toy(_: torch.device) -> Iterator[Agreement]:
    """Integrated until attention is all on one word, and beyond."""
    times = np.linspace(0, 2, 41)
    for start in ((0.5, 0.0), (0.2, 0.7)):
        found, expected = toy.integrate(times, *start), toy.closed_form(times, *start)
        yield same(found.p, expected.p)
        yield same(found.D, expected.D)
    yield same(toy.time_to(1.0), math.acosh(2) / math.sqrt(2))


CHECKS = (
    Check("attention push", "α (β - Σ α β) of log-odds", "a gradient by autograd", SNELL, attention_push),
    Check("agreement by chance", "A(u, v) over all orders of v", "k/S", SNELL, agreement_by_chance),
    Check("attention toy", "its flow, integrated", "cosh, sinh; arcosh(2)/√2", SNELL, attention_toy),
)
