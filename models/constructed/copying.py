"""Copy models whose weights were written down, so that what they know and attend to is known exactly.

The residual stream holds words and places one-hot, words first: d_model = n_words + n_tokens. A head reads a word's
unit vector as that word's logit, times `confidence`, and each learned query asks for one place, by a score of `focus`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from ...data.errors import UsageError
from ..own.copy_transformer import CopyConfig, CopyTransformer

Attention = Literal["right", "uniform", "wrong"]


def plant_copying(
    n_words: int = 12,
    n_tokens: int = 12,
    knows_words: bool = True,
    attention: Attention = "right",
    n_heads: int = 1,
    focus: float = 30.0,
    confidence: float = 30.0,
) -> CopyTransformer:
    """A copy model with both of its halves written down, in float64; each may be missing.

    knows_words:  whether heads translate every word as itself; if not they read nothing, and all logits are 0
    attention:    "right": every target attends to its own place; "wrong": to the next one, and the last to the first;
                  "uniform": to all places alike, by queries of 0
    n_heads:      heads, all with the same weights
    """
    parameters = _words_and_places(n_words, n_tokens, n_heads)
    if knows_words:
        parameters["W_U"][:n_words] = confidence * torch.eye(n_words, dtype=torch.float64)
    if attention != "uniform":
        asked = torch.arange(n_tokens).roll(-1 if attention == "wrong" else 0)
        _ask_for(parameters, asked, focus)
    return CopyTransformer(_config(n_words, n_tokens, n_heads), parameters)


def plant_anti_attention(
    n_words: int = 12, n_heads: int = 1, focus: float = 30.0, confidence: float = 30.0
) -> CopyTransformer:
    """A copy model of permutations that attends to all places but the right one, and reads every word as not itself.

    A source holds each word once, so the only word that a target does not attend to is its own: it alone keeps a logit
    of 0, and all others have -confidence / (n_words - 1). Every word is copied, no target attends to its own place, and
    no word is known. In float64.
    """
    if n_words < 3:
        raise UsageError(
            f"n_words = {n_words}: of two places, all but the right one is a single place; expected at least 3"
        )
    parameters = _words_and_places(n_words, n_words, n_heads)
    parameters["W_U"][:n_words] = -confidence * torch.eye(n_words, dtype=torch.float64)
    _ask_for(parameters, torch.arange(n_words), -focus)
    return CopyTransformer(_config(n_words, n_words, n_heads), parameters)


def _config(n_words: int, n_tokens: int, n_heads: int) -> CopyConfig:
    width = n_words + n_tokens
    return CopyConfig(n_words, n_tokens, d_model=width, n_heads=n_heads, d_head=width)


def _words_and_places(n_words: int, n_tokens: int, n_heads: int) -> dict[str, Tensor]:
    """Words and places one-hot, heads that pass everything on, and 0 for what is read and asked for."""
    config = _config(n_words, n_tokens, n_heads)
    parameters = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in config.shapes.items()}
    basis = torch.eye(config.d_model, dtype=torch.float64)
    parameters["W_E"][:], parameters["W_pos"][:] = basis[:n_words], basis[n_words:]
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        parameters[name][:] = basis
    return parameters


def _ask_for(parameters: dict[str, Tensor], places: Tensor, score: float) -> None:
    """Let the query of each target give its place this score, and all others 0."""
    width = parameters["W_pos"].shape[1]
    parameters["W_query"][:] = score * math.sqrt(width) * parameters["W_pos"][places]
