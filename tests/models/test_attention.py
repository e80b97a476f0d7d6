"""Attention as pure functions: against loops, in both orders of multiplication."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mesascope.models import attention
from mesascope.models.attention import causal_linear_attention, linear_attention, linear_pattern, softmax_pattern
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

sizes = st.integers(1, 9)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(queries=sizes, keys=sizes, d_head=sizes)
def test_linear_attention_is_the_sum_of_scored_values_in_either_order(queries: int, keys: int, d_head: int) -> None:
    q, k, v = draw(2, queries, d_head), draw(2, keys, d_head, seed=1), draw(2, keys, d_head, seed=2)
    expected = np.zeros((2, queries, d_head))
    for b in range(2):
        for t in range(queries):
            for i in range(keys):
                expected[b, t] += float(q[b, t] @ k[b, i]) * v[b, i].numpy()
    np.testing.assert_allclose(linear_attention(q, k, v), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(linear_pattern(q, k) @ v, expected, rtol=1e-12, atol=1e-12)


@given(queries=sizes, keys=sizes, d_head=sizes)
def test_softmax_pattern_by_loops(queries: int, keys: int, d_head: int) -> None:
    q, k = draw(queries, d_head), draw(keys, d_head, seed=1)
    for t, row in enumerate(softmax_pattern(q, k)):
        exponentials = [math.exp(float(q[t] @ k[i]) / math.sqrt(d_head)) for i in range(keys)]
        np.testing.assert_allclose(row, np.array(exponentials) / sum(exponentials), rtol=1e-12)


@given(queries=sizes, keys=sizes, d_head=sizes, block=st.integers(1, 3))
def test_causal_attention_is_the_sum_up_to_each_query_in_blocks_of_any_size(
    queries: int, keys: int, d_head: int, block: int
) -> None:
    q, k, v = draw(2, queries, d_head), draw(2, keys, d_head, seed=1), draw(2, keys, d_head, seed=2)
    expected = np.zeros((2, queries, d_head))
    for b in range(2):
        for t in range(queries):
            for i in range(min(keys, t + 1)):
                expected[b, t] += float(q[b, t] @ k[b, i]) * v[b, i].numpy()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attention, "_BLOCK", block)
        np.testing.assert_allclose(causal_linear_attention(q, k, v), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(linear_pattern(q, k, causal=True) @ v, expected, rtol=1e-12, atol=1e-12)


@given(queries=sizes, keys=sizes)
def test_causal_softmax_is_the_softmax_over_the_keys_up_to_each_query(queries: int, keys: int) -> None:
    q, k = draw(queries, 3), draw(keys, 3, seed=1)
    found = softmax_pattern(q, k, causal=True)
    for t in range(queries):
        seen = min(keys, t + 1)
        np.testing.assert_allclose(found[t, :seen], softmax_pattern(q[t : t + 1], k[:seen])[0], rtol=1e-12)
        assert not found[t, seen:].any()


class Products(TorchDispatchMode):
    """The sizes of all matrix products made."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.sizes.append(result.numel())
        return result


@pytest.mark.parametrize(
    ("queries", "keys", "intermediate"),
    [(11, 10, 110), (1, 10, 10), (1, 12, 12), (1, 10_000, 121), (400, 400, 121), (400, 3, 121), (2, 3, 6)],
)
def test_the_smaller_intermediate_is_formed(queries: int, keys: int, intermediate: int) -> None:
    """A context of any length costs memory linear in it, and one query over a short one no matrix of d_head squared."""
    q, k, v = draw(queries, 11), draw(keys, 11), draw(keys, 11)
    with Products() as products:
        linear_attention(q, k, v)
    assert products.sizes == [intermediate, 11 * queries]
