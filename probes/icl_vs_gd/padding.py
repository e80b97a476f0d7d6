"""Prompts of different lengths in one pass: on the right each goes on with its last token, up to the longest.

A causal model does not see at one place what comes after it, so that every prompt's own end shows what it shows alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor


def padded(prompts: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "prompt pos"], Int[Tensor, "prompt"]]:
    """Prompts as rows of one length, that of the longest, and the place of each one's last token."""
    length = max(map(len, prompts))
    rows = [[*prompt, *[prompt[-1]] * (length - len(prompt))] for prompt in prompts]
    return torch.tensor(rows), torch.tensor([len(prompt) - 1 for prompt in prompts])


def longer(tokens: Int[Tensor, "*batch pos"], length: int) -> Int[Tensor, "*batch longer"]:
    """The same rows, going on with their last token."""
    return torch.cat([tokens, tokens[..., -1:].expand(*tokens.shape[:-1], length - tokens.shape[-1])], dim=-1)
