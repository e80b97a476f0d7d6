"""Attention to labels: loops, and patterns whose score is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.label_copying.attention import label_edges, label_share, next_attention


@pytest.mark.parametrize("n_keys", [6, 7])
@pytest.mark.parametrize("signed", [False, True])
def test_scores_are_those_of_loops(n_keys: int, signed: bool) -> None:
    pattern = torch.rand(2, 3, 7, n_keys, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pattern = pattern - 0.5 * signed
    for task, head in np.ndindex(2, 3):
        held = pattern[task, head].numpy()
        raw = np.mean([held[2 * i, 2 * i + 1] for i in range(3)])
        share = np.mean([abs(held[2 * i, 2 * i + 1]) / np.abs(held[2 * i]).sum() for i in range(3)])
        assert next_attention(pattern)[task, head].item() == pytest.approx(raw, rel=1e-12)
        assert label_share(pattern)[task, head].item() == pytest.approx(share, rel=1e-12)


def test_attention_to_labels_alone_is_one_and_even_attention_is_one_of_all_keys() -> None:
    pattern = label_edges(9, 8)[None, None]
    assert label_share(pattern).item() == next_attention(pattern).item() == 1
    assert label_share(torch.full((1, 1, 9, 8), 0.125)).item() == pytest.approx(1 / 8)


@pytest.mark.parametrize("offset", [-1, 0, 2])
def test_attention_to_other_tokens_is_none(offset: int) -> None:
    pattern = torch.zeros(1, 1, 9, 8)
    for token in range(9):
        if 0 <= token + offset < 8:
            pattern[0, 0, token, token + offset] = 1
    assert label_share(pattern).item() == next_attention(pattern).item() == 0


def test_label_tokens_and_the_query_do_not_count() -> None:
    pattern = label_edges(9, 8)[None, None]
    pattern[:, :, [1, 3, 5, 7, 8]] = 5.0
    assert label_share(pattern).item() == next_attention(pattern).item() == 1


def test_a_head_that_pays_no_attention_pays_none_to_labels() -> None:
    assert label_share(torch.zeros(1, 1, 5, 4)).item() == 0


def test_one_pair() -> None:
    assert next_attention(torch.tensor([[[[0.3, 0.7], [1.0, 0.0], [1.0, 0.0]]]])).item() == pytest.approx(0.7)
