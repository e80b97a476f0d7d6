"""What the words of a source say about a target by occurring with it, without any model: beta by co-occurrence.

Snell et al. (2021, arXiv 2103.07601) fit a log-linear model that sees the bag of a source's words and no order:

    p(target | bag) = softmax( mean over the bag's words i of M[i] )        proxy_ts = log softmax(M[x_s])[y_t]

M minimises the sum of -log p over all targets plus RIDGE / 2 |M|²: its entries have the prior N(0, 1 / RIDGE). The
paper factors M, trains the factors by Adam and stops early. Here M is whole and has one minimum, found from M = 0. A
word that occurs in no bag keeps its row of zeros: it says the same about every target. Where all bags are the same,
nothing tells their words apart, and M is left at 0: every source says the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float64, Int
from scipy.optimize import minimize
from scipy.special import log_softmax
from torch import Tensor

RIDGE = 0.01
"""It keeps M finite where a bag tells for certain that a word is no target."""
MOST_WORDS = 512
"""Of a larger vocabulary M is too large to fit beside a measurement."""
_GRADIENT, _ITERATIONS = 1e-8, 2_000  # where the fit stops: of the mean over targets

Counts = Float64[np.ndarray, "bag d_vocab"]


@dataclass(frozen=True)
class Proxy:
    """table: log softmax(M), [source word, target word]"""

    table: Float64[Tensor, "d_vocab d_vocab"]

    def of(self, targets: Int[Tensor, "*target"], sources: Int[Tensor, "*source"]) -> Float64[Tensor, "*pair"]:
        """What source words say about target words; the two broadcast."""
        return self.table[sources, targets]


def fitted_proxy(sources: Int[Tensor, "bag place"], targets: Int[Tensor, "bag target"], d_vocab: int) -> Proxy | str:
    """Fitted to the words of sources and the targets beside them, or why there is none. Of a bag with fewer words, or
    targets, than others the rest are negative.
    """
    if d_vocab > MOST_WORDS:
        return f"co-occurrence is fitted for at most {MOST_WORDS} words, and the vocabulary has {d_vocab:,}"
    bags, counts = counts_of(sources, d_vocab), counts_of(targets, d_vocab)
    used = bags.any(axis=1) & counts.any(axis=1)
    if not used.any():
        return f"no word occurs with a target in any of the {len(bags):,} sequences that co-occurrence is fitted to"
    bags = bags[used] / bags[used].sum(axis=1, keepdims=True)
    if (bags == bags[0]).all():
        return Proxy(torch.full((d_vocab, d_vocab), -math.log(d_vocab), dtype=torch.float64))
    return Proxy(torch.from_numpy(log_softmax(_fitted_to(bags.tobytes(), counts[used].tobytes(), d_vocab), axis=1)))


def counts_of(words: Int[Tensor, "bag place"], d_vocab: int) -> Counts:
    """How often each word occurs in each bag; negative words do not count."""
    counts = torch.zeros(len(words), d_vocab, dtype=torch.float64)
    counts.scatter_add_(1, words.clamp(min=0).long(), (words >= 0).double())
    return counts.numpy()


@lru_cache(maxsize=1)
def _fitted_to(bags: bytes, counts: bytes, d_vocab: int) -> Float64[np.ndarray, "d_vocab d_vocab"]:
    """M. Checkpoints of a family read the same sequences one after the other: it is fitted to them once."""
    return _fitted(*(np.frombuffer(numbers).reshape(-1, d_vocab) for numbers in (bags, counts)))


def _fitted(bags: Counts, counts: Counts) -> Float64[np.ndarray, "d_vocab d_vocab"]:
    """M, by L-BFGS."""
    each, d_vocab = counts.sum(axis=1, keepdims=True), bags.shape[1]
    total = each.sum()

    def loss(flat: Float64[np.ndarray, " entry"]) -> tuple[float, Float64[np.ndarray, " entry"]]:
        M = flat.reshape(d_vocab, d_vocab)
        log_p = log_softmax(bags @ M, axis=1)
        gradient = bags.T @ (each * np.exp(log_p) - counts) + RIDGE * M
        loss = -(counts * log_p).sum() + RIDGE / 2 * (M**2).sum()
        return float(loss / total), gradient.ravel() / total

    stop = {"gtol": _GRADIENT, "ftol": 0.0, "maxiter": _ITERATIONS, "maxfun": 2 * _ITERATIONS}
    return minimize(loss, np.zeros(d_vocab**2), jac=True, method="L-BFGS-B", options=stop).x.reshape(d_vocab, d_vocab)
