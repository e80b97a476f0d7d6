"""The product of states and an unembedding, a block of the vocabulary at a time."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

BLOCK = 2048
"""Tokens of the vocabulary whose logits a processor's cache holds: the product takes two thirds of the time."""


def vocabulary_product(
    states: Float[Tensor, "*batch d_model"],
    rows: Float[Tensor, "d_vocab d_model"],
    bias: Float[Tensor, " d_vocab"] | None = None,
) -> Float[Tensor, "*batch d_vocab"]:
    """states @ rows.mT + bias; in one piece where gradients are wanted, and off the processor."""
    if len(rows) <= BLOCK or states.device.type != "cpu" or torch.is_grad_enabled():
        return linear(states, rows, bias)
    logits = states.new_empty(*states.shape[:-1], len(rows))
    for first in range(0, len(rows), BLOCK):
        some = slice(first, first + BLOCK)
        logits[..., some] = linear(states, rows[some], None if bias is None else bias[some])
    return logits
