"""Attention as scored: the pattern by loops, with shared heads, caps and windows, and the normaliser without one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionScores
from mesascope.models.attention import log_normaliser
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FORMS: dict[str, dict[str, Any]] = {
    "causal": {},
    "bidirectional": {"causal": False},
    "soft cap": {"soft_cap": 1.5},
    "window": {"window": 3},
    "both": {"soft_cap": 0.7, "window": 4},
    "window of both sides": {"causal": False, "window": 2},
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(
    q: Tensor, k: Tensor, scale: float, causal: bool = True, soft_cap: float | None = None, window: int | None = None
) -> np.ndarray:
    batch, heads, n, _ = q.shape
    pattern = np.zeros((batch, heads, n, n))
    for b, h, i in np.ndindex(batch, heads, n):
        for j in range(n):
            score = scale * float(q[b, h, i] @ k[b, h // (heads // k.shape[1]), j])
            if soft_cap is not None:
                score = soft_cap * math.tanh(score / soft_cap)
            if (causal and j > i) or (window is not None and abs(i - j) >= window):
                continue
            pattern[b, h, i, j] = math.exp(score)
    return pattern / pattern.sum(-1, keepdims=True)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_pattern_by_loops(form: dict[str, Any], kv_heads: int) -> None:
    q, k = draw(2, 4, 9, 3), draw(2, kv_heads, 9, 3, seed=1)
    scores = AttentionScores(q, k, 0.6, log_normaliser(q, k, 0.6, **form), **form)
    np.testing.assert_allclose(scores.pattern(), by_loops(q, k, 0.6, **form), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_normaliser_is_the_same_over_several_blocks(form: dict[str, Any]) -> None:
    q, k = draw(1, 2, 300, 4), draw(1, 1, 300, 4, seed=1)
    scores = AttentionScores(q, k, 0.5, log_normaliser(q, k, 0.5, **form), **form)
    torch.testing.assert_close(scores.log_normaliser, scores.scores().logsumexp(-1), rtol=1e-10, atol=1e-10)


class Largest(TorchDispatchMode):
    """The size of the largest tensor made."""

    size = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            self.size = max(self.size, result.numel())
        return result


def test_the_normaliser_forms_no_pattern() -> None:
    q, k = draw(1, 1, 2_000, 4), draw(1, 1, 2_000, 4, seed=1)
    with Largest() as largest:
        log_normaliser(q, k, 0.5)
    assert largest.size <= 128 * 2_000 < 2_000**2


def test_large_scores_overflow_nothing() -> None:
    q, k = 100 * draw(1, 1, 5, 4), 100 * draw(1, 1, 5, 4, seed=1)
    scores = AttentionScores(q, k, 1.0, log_normaliser(q, k, 1.0))
    torch.testing.assert_close(scores.pattern(), scores.scores().softmax(-1), rtol=1e-10, atol=1e-10)
