"""Simple ways to answer from demonstrations, as distributions over the vocabulary: rivals of what a model does.

label frequencies   each label as often as demonstrations have it, whatever the query
nearest             the label of the demonstration whose state is most like the query's; ties share
last                the label of the last demonstration
copy                what followed the longest run of tokens with which the prompt ends, where it stood before: the
                    induction rule (Elhage et al. 2021). Where not even the last token stood before, every token
                    alike
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from einops import repeat
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cosine_similarity


def label_frequencies(answers: Int[Tensor, " demo"], n_queries: int, d_vocab: int) -> Float[Tensor, "query d_vocab"]:
    """answers: the first token of each demonstration's label."""
    return repeat(_shares(answers, d_vocab), "d_vocab -> query d_vocab", query=n_queries)


def nearest(
    queries: Float[Tensor, "query d_model"],
    demos: Float[Tensor, "demo d_model"],
    answers: Int[Tensor, " demo"],
    d_vocab: int,
) -> Float[Tensor, "query d_vocab"]:
    """By the cosine of the final states of prompts without demonstrations."""
    likeness = cosine_similarity(queries.double()[:, None], demos.double()[None], dim=-1)
    best = (likeness == likeness.amax(dim=-1, keepdim=True)).double()
    weights = best / best.sum(dim=-1, keepdim=True)
    shares = torch.zeros(len(queries), d_vocab, dtype=torch.float64, device=weights.device)
    return shares.index_add_(1, answers.to(weights.device), weights)


def last(answers: Int[Tensor, " demo"], n_queries: int, d_vocab: int) -> Float[Tensor, "query d_vocab"]:
    """answers: in the order of the prompt."""
    return label_frequencies(answers[-1:], n_queries, d_vocab)


def copied(prompts: Sequence[Sequence[int]], d_vocab: int) -> Float[Tensor, "query d_vocab"]:
    """prompts: of each query, all demonstrations before it."""
    return torch.stack([_shares(torch.tensor(_followers(prompt) or range(d_vocab)), d_vocab) for prompt in prompts])


def _shares(tokens: Int[Tensor, " n"], d_vocab: int) -> Float[Tensor, " d_vocab"]:
    return torch.bincount(tokens, minlength=d_vocab).double() / len(tokens)


def _followers(prompt: Sequence[int]) -> list[int]:
    """The tokens after each place where the longest run of tokens ends with which the whole prompt ends."""
    lengths = [_run(prompt, end) for end in range(1, len(prompt))]
    longest = max(lengths, default=0)
    return [prompt[end] for end, length in enumerate(lengths, 1) if length == longest > 0]


def _run(prompt: Sequence[int], end: int) -> int:
    """How many tokens before `end` are those with which the prompt ends."""
    length = 0
    while length < end and prompt[end - 1 - length] == prompt[-1 - length]:
        length += 1
    return length
