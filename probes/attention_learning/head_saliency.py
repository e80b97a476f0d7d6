"""Saliency of a language model's input: a token's embedding times the gradient of log p(next token) by it."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float64, Int
from torch import Tensor

from ...models.attention import in_float32
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable

HELD = 2**28
"""Numbers that one pass keeps for the passes back, at most, where it reads several sequences."""
KEPT = 36
"""Numbers that it keeps of each dimension of a token's state in each layer, as measured."""


def no_saliency(subject: LanguageModel) -> NotApplicable | None:
    """Why this model has no saliency; None where it has."""
    return subject.no_gradients() or subject.no_token_logits()


def saliency(
    subject: LanguageModel, tokens: Int[Tensor, "sequence pos"], queries: tuple[int, ...]
) -> Float64[Tensor, "sequence query pos"]:
    """e_s . d log p(y_t) / d e_s of every source s, y_t the token after query t; NaN where s comes after t."""
    a_sequence = KEPT * subject.shape.n_layers * subject.shape.d_model * tokens.shape[1]
    return torch.cat([_together(subject, some, queries) for some in tokens.split(max(1, HELD // a_sequence))])


@torch.enable_grad()
def _together(
    subject: LanguageModel, tokens: Int[Tensor, "sequence pos"], queries: tuple[int, ...]
) -> Float64[Tensor, "sequence query pos"]:
    """One pass back for each query: sequences do not touch each other."""
    keep: Any = lambda x, layer: x.detach()  # noqa: E731
    own = subject.observe(tokens, {"embed": keep})["embed"][0]
    embedded = own.clone().requires_grad_()
    states = subject.states_of(tokens, embedded)
    rows = []
    for t in queries:
        said = in_float32(subject.unembed(states[:, t])).log_softmax(dim=-1)
        target = tokens[:, t + 1, None].to(said.device)
        (gradient,) = torch.autograd.grad(said.gather(-1, target).sum(), embedded, retain_graph=True)
        row = (gradient.cpu().double() * own.cpu().double()).sum(dim=-1)
        row[:, t + 1 :] = torch.nan
        rows.append(row)
    return torch.stack(rows, dim=1)
