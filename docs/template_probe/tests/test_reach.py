"""The formula on patterns whose reach is known: found, not found, unmoved, and by loops."""

from __future__ import annotations

import pytest
import torch
from head_reach.reach import distances, even_pattern, reach, reach_at, shuffled_distances
from torch import Tensor

N = 7


def fixed_offset(offset: int) -> Tensor:
    """A head that attends `offset` tokens back, and to the first token where there are fewer."""
    pattern = torch.zeros(1, 1, N, N, dtype=torch.float64)
    for query in range(N):
        pattern[0, 0, query, max(query - offset, 0)] = 1.0
    return pattern


@pytest.fixture
def patterns() -> Tensor:
    """Random causal attention of two sequences and three heads."""
    scores = torch.randn(2, 3, N, N, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return scores.masked_fill(torch.ones(N, N).triu(1).bool(), -torch.inf).softmax(dim=-1)


# -- found -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 1, 2, N])
def test_a_fixed_offset_is_its_reach(offset: int) -> None:
    expected = sum(min(query, offset) for query in range(1, N)) / (N - 1)
    assert reach(fixed_offset(offset)).item() == pytest.approx(expected, abs=1e-12)


# -- not found ---------------------------------------------------------------------------------------------------------


def test_even_attention_reaches_half_of_what_it_sees() -> None:
    assert reach(even_pattern(N)).item() == pytest.approx(sum(range(1, N)) / 2 / (N - 1), abs=1e-12)


def test_an_attention_sink_looks_far_until_it_is_dropped() -> None:
    sink = 0.9 * fixed_offset(N) + 0.1 * fixed_offset(1)
    assert reach(sink).item() > reach(even_pattern(N)).item()
    assert reach(sink, first=1).item() == pytest.approx(1.0, abs=1e-12)


def test_a_head_that_attends_to_the_first_token_only_has_no_reach_without_it() -> None:
    assert reach(fixed_offset(N), first=1).isnan().all()


# -- unmoved -----------------------------------------------------------------------------------------------------------


def test_other_sequences_and_heads_do_not_matter(patterns: Tensor) -> None:
    together = reach(patterns)
    alone = torch.stack([torch.cat([reach(patterns[b : b + 1, h : h + 1])[0] for h in range(3)]) for b in range(2)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)


def test_the_first_query_does_not_matter(patterns: Tensor) -> None:
    changed = patterns.clone()
    changed[:, :, 0] = 5.0
    assert torch.equal(reach(changed), reach(patterns))


# -- agrees ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1])
def test_loops_give_the_same(patterns: Tensor, first: int) -> None:
    for sequence in range(2):
        for head in range(3):
            pairs = [(i, j) for i in range(first + 1, N) for j in range(first, i + 1)]
            paid = [float(patterns[sequence, head, i, j]) for i, j in pairs]
            far = sum(p * (i - j) for p, (i, j) in zip(paid, pairs, strict=True))
            assert reach(patterns, first)[sequence, head].item() == pytest.approx(far / sum(paid), rel=1e-12)


@pytest.mark.parametrize("first", [0, 1])
def test_shuffling_keeps_the_distances_that_a_query_sees(first: int) -> None:
    shuffled = shuffled_distances(N, 50, torch.Generator().manual_seed(0), first)
    for query in range(first, N):
        seen = shuffled[:, query, first : query + 1].sort(dim=-1).values
        assert torch.equal(seen, torch.arange(query - first + 1.0, dtype=torch.float64).expand(50, -1))


def test_shuffled_keys_reach_as_far_as_even_attention_on_average() -> None:
    shuffled = shuffled_distances(N, 4000, torch.Generator().manual_seed(0))
    mean = reach_at(fixed_offset(1), shuffled, first=0).mean().item()
    assert mean == pytest.approx(reach(even_pattern(N)).item(), abs=0.05)
    assert reach_at(fixed_offset(1), distances(N)[None], first=0).item() == pytest.approx(1.0, abs=1e-12)
