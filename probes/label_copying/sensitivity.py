"""What each token after the first layer is sensitive to: the copying analysis of von Oswald et al. 2023 (2212.07677).

With N pairs a model reads T = 2N + 1 tokens e_0 … e_2N, in turn x and y, the query last. For the first K = T - 2 of
them, t(e_k) being token k after the first layer,

    G_k[i] = mean over tasks of d Σ_j t(e_k)_j / d e_i         n_k[i] = ‖G_k[i]‖

    own   = mean over k of n_k[k]
    next  = mean over k of n_k[k + 1]
    other = mean over k of Σ_{i ≠ k} n_k[i] / (T - 2)          as the authors' code has it: k + 1 is among them
    other_without_next = mean over k of Σ_{i ≠ k, k + 1} n_k[i] / (T - 2)       the mean of the T - 2 tokens left

Gradients are taken by what a model is given, so position codes are no part of e_i; they are averaged with their sign.
A token that no layer changes has n_k[k] = √width and nothing else.

A task's own sample is what its gradient has along the mean one, <g_k[i], G_k[i]> / ‖G_k[i]‖: the mean of these is
n_k[i] exactly, so intervals of means over tasks are intervals of it (to first order).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .names import KINDS, NEXT, OTHER, OWN, WITHOUT_NEXT

Layer = Callable[[Tensor], Float[Tensor, "task token d_model"]]
"""Tokens [task, token, width] as a model is given them -> the same tokens after its first layer."""


@dataclass(frozen=True)
class Sensitivity:
    """norms: n_k[i]; samples: a task's own part of each of `KINDS`, no rows where they were not asked for"""

    norms: Float[np.ndarray, "read token"]
    samples: Float[np.ndarray, "task kind"]

    @property
    def by_kind(self) -> Float[np.ndarray, " kind"]:
        return np.einsum("jki,ki->j", _shares(self.norms.shape[1]).numpy(), self.norms)


def sensitivity(
    layers: Sequence[Layer], tokens: Sequence[Float[Tensor, "task token width"]], sampled: bool = True
) -> Sensitivity:
    """Of batches of tasks, each with the function that takes its tokens through the first layer."""
    batches = list(zip(layers, tokens, strict=True))
    sums = [torch.stack([gradient.sum(dim=0) for gradient in gradients(*batch)]) for batch in batches]
    mean = torch.stack(sums).sum(dim=0) / sum(map(len, tokens))
    norms = mean.norm(dim=-1, keepdim=True)
    along = torch.where(norms > 0, mean / norms, 0.0)
    parts = [_samples(layer, held, along) for layer, held in batches if sampled]
    samples = torch.cat([mean.new_zeros(0, len(KINDS)), *parts])
    return Sensitivity(norms.squeeze(-1).numpy(), samples.numpy())


def gradients(layer: Layer, tokens: Float[Tensor, "task token width"]) -> Iterator[Float[Tensor, "task token width"]]:
    """For one token after the other, each task's gradient of its sum, in float64 on the CPU."""
    leaf = tokens.detach().clone().requires_grad_()
    with torch.enable_grad():
        sums = layer(leaf).sum(dim=(0, 2))  # tasks do not see each other, so each has its own gradient
    for k in range(tokens.shape[1] - 2):
        (gradient,) = torch.autograd.grad(sums[k], leaf, retain_graph=True)
        yield gradient.cpu().double()


def _samples(layer: Layer, tokens: Tensor, along: Float[Tensor, "read token width"]) -> Float[Tensor, "task kind"]:
    of_each = zip(gradients(layer, tokens), along, _shares(along.shape[1]).unbind(1), strict=True)
    return torch.stack(
        [
            einsum(gradient, direction, share, "task token width, token width, kind token -> task kind")
            for gradient, direction, share in of_each
        ]
    ).sum(dim=0)


def _shares(n_tokens: int) -> Float[Tensor, "kind read token"]:
    """What n_k[i] counts in each of `KINDS`."""
    read = n_tokens - 2
    own, following = (torch.eye(n_tokens, dtype=torch.float64)[first : first + read] for first in (0, 1))
    rest = (1 - own) / read
    held = {OWN: own, NEXT: following, OTHER: rest, WITHOUT_NEXT: rest * (1 - following)}
    return torch.stack([held[kind] for kind in KINDS]) / read
