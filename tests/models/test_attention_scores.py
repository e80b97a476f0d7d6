"""Attention as scored: the pattern by loops, with shared heads, caps and windows, and the normaliser without one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import AttentionScores, attention
from mesascope.models.attention import flash_attention, log_normaliser
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

FORMS: dict[str, dict[str, Any]] = {
    "causal": {},
    "bidirectional": {"causal": False},
    "soft cap": {"soft_cap": 1.5},
    "window": {"window": 3},
    "both": {"soft_cap": 0.7, "window": 4},
    "window of both sides": {"causal": False, "window": 2},
    "slopes": {"slopes": torch.tensor([0.5, 0.25, 0.125, 1.0])},
    "slopes and cap": {"slopes": torch.tensor([0.5, 0.25, 0.125, -1.0]), "soft_cap": 1.5, "causal": False},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(
    q: Tensor,
    k: Tensor,
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: Tensor | None = None,
) -> np.ndarray:
    batch, heads, n, _ = q.shape
    pattern = np.zeros((batch, heads, n, n))
    for b, h, i in np.ndindex(batch, heads, n):
        for j in range(n):
            score = scale * float(q[b, h, i] @ k[b, h // (heads // k.shape[1]), j])
            score -= 0 if slopes is None else float(slopes[h]) * (i - j)
            if soft_cap is not None:
                score = soft_cap * math.tanh(score / soft_cap)
            if (causal and j > i) or (window is not None and abs(i - j) >= window):
                continue
            pattern[b, h, i, j] = math.exp(score)
    return pattern / pattern.sum(-1, keepdims=True)


@each_form
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_the_pattern_by_loops(form: dict[str, Any], kv_heads: int) -> None:
    q, k = draw(2, 4, 9, 3), draw(2, kv_heads, 9, 3, seed=1)
    scores = AttentionScores(q, k, 0.6, log_normaliser(q, k, 0.6, **form), **form)
    np.testing.assert_allclose(scores.pattern(), by_loops(q, k, 0.6, **form), rtol=1e-10, atol=1e-12)


@each_form
def test_the_normaliser_is_the_same_over_several_blocks(form: dict[str, Any]) -> None:
    q, k = draw(1, 4, 300, 4), draw(1, 1, 300, 4, seed=1)
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


@each_form
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_places_of_the_pattern_without_it(form: dict[str, Any], kv_heads: int) -> None:
    q, k = draw(2, 4, 9, 3), draw(2, kv_heads, 9, 3, seed=1)
    scores, pattern = AttentionScores.of(q, k, 0.6, **form), by_loops(q, k, 0.6, **form)
    for place in range(9):
        diagonal = pattern.diagonal(-place, -2, -1)
        np.testing.assert_allclose(scores.at_offset(place), diagonal, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(scores.to_key(place), pattern[..., place], rtol=1e-10, atol=1e-12)


@each_form
def test_scores_of_some_queries(form: dict[str, Any]) -> None:
    scores = AttentionScores.of(draw(2, 4, 9, 3), draw(2, 2, 9, 3, seed=1), 0.6, **form)
    torch.testing.assert_close(scores.scores_at([8, 2]), scores.scores()[:, :, [8, 2]], rtol=1e-12, atol=1e-12)


@each_form
def test_blocks_are_the_pattern(form: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    scores = AttentionScores.of(draw(2, 4, 11, 3), draw(2, 2, 11, 3, seed=1), 0.6, **form)
    monkeypatch.setattr(attention, "_BLOCK", 4)
    seen = [(first, block.shape[2], block.shape[3]) for first, block in scores.blocks()]
    causal = form.get("causal", True)
    assert seen == [(0, 4, 4 if causal else 11), (4, 4, 8 if causal else 11), (8, 3, 11)]
    whole = scores.pattern()
    for first, block in scores.blocks():
        torch.testing.assert_close(block, whole[:, :, first : first + 4, : block.shape[3]], rtol=1e-10, atol=1e-12)


def test_long_rows_come_in_blocks_of_fewer_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_NUMBERS", 3 * 2 * 4 * 11)
    scores = AttentionScores.of(draw(2, 4, 11, 3), draw(2, 2, 11, 3, seed=1))
    assert [block.shape[2] for _, block in scores.blocks()] == [3, 3, 3, 2]


def test_places_that_are_not_there() -> None:
    scores = AttentionScores.of(draw(1, 1, 5, 3), draw(1, 1, 5, 3, seed=1))
    for outside in (-1, 5):
        with pytest.raises(TaskError, match=f"offset = {outside}; expected 0 to 4"):
            scores.at_offset(outside)
        with pytest.raises(TaskError, match=f"key = {outside}; expected 0 to 4"):
            scores.to_key(outside)


def test_half_precision_is_scored_in_float32() -> None:
    q, k = draw(1, 4, 40, 8).bfloat16(), draw(1, 2, 40, 8, seed=1).bfloat16()
    half, single = AttentionScores.of(q, k), AttentionScores.of(q.float(), k.float())
    for one, other in (
        (half.log_normaliser, single.log_normaliser),
        (half.pattern(), single.pattern()),
        (half.at_offset(3), single.at_offset(3)),
        (half.to_key(3), single.to_key(3)),
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_offset_costs_no_more_memory_than_the_queries() -> None:
    scores = AttentionScores.of(draw(1, 8, 500, 4), draw(1, 1, 500, 4, seed=1))
    with Largest() as largest:
        scores.at_offset(3), scores.to_key(3)
    assert largest.size <= scores.q.numel()


# ---- one call of torch's kernel, beside blocks of public operations ----

DTYPES = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 2e-4, torch.float16: 2e-4}


@pytest.mark.parametrize(("dtype", "tolerance"), DTYPES.items(), ids=str)
@pytest.mark.parametrize(
    "form", [{}, {"causal": False}, {"window": 40}], ids=["causal", "bidirectional", "long window"]
)
@pytest.mark.parametrize("kv_heads", [2, 4])
def test_the_kernel_gives_both(dtype: torch.dtype, tolerance: float, form: dict[str, Any], kv_heads: int) -> None:
    q, k, v = (draw(2, heads, 40, 8, seed=heads).to(dtype) for heads in (4, kv_heads, kv_heads))
    found = flash_attention(q, k, v, 0.5, **form)
    assert found is not None
    z, normaliser = found
    # half precision: the kernel's own exponentials are rounded
    torch.testing.assert_close(normaliser, log_normaliser(q, k, 0.5, **form), rtol=0, atol=tolerance)
    sdpa = torch.nn.functional.scaled_dot_product_attention
    expected = sdpa(q, k, v, is_causal=form.get("causal", True), scale=0.5, enable_gqa=True)
    assert torch.equal(z, expected), "what is watched must not change"


def test_where_the_kernel_cannot_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = (draw(1, 2, 9, 4, seed=seed) for seed in range(3))
    assert flash_attention(q, k, v, 0.5) is not None
    assert flash_attention(q, k, v, 0.5, soft_cap=2.0) is None
    assert flash_attention(q, k, v, 0.5, window=8) is None
    assert flash_attention(q, k, v[..., :3], 0.5) is None
    assert flash_attention(q, k.mT.contiguous().mT, v, 0.5) is None
    assert flash_attention(*(x.to("meta") for x in (q, k, v)), 0.5) is None
    monkeypatch.setattr(attention, "_KERNEL", None)
    assert flash_attention(q, k, v, 0.5) is None
