"""Logits by blocks of the vocabulary are those of one product, and only where it is nothing but a product."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import from_module, vocabulary_product
from mesascope.models.hugging_face import head


@pytest.mark.parametrize("shape", [(5,), (1, 5), (2, 3, 5)])
@pytest.mark.parametrize("n", [1, 7, 8, 30])
@pytest.mark.parametrize("biased", [True, False])
def test_blocks_are_the_product(shape: tuple[int, ...], n: int, biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_product, "BLOCK", 7)
    rng = torch.Generator().manual_seed(0)
    states, rows = torch.randn(*shape, generator=rng), torch.randn(n, 5, generator=rng)
    bias = torch.randn(n, generator=rng) if biased else None
    expected = states.double() @ rows.double().mT + (0 if bias is None else bias.double())
    with torch.no_grad():
        found = vocabulary_product.vocabulary_product(states, rows, bias)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)


def test_gradients_go_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary_product, "BLOCK", 2)
    states, rows = torch.ones(3, 5, requires_grad=True), torch.arange(20.0).view(4, 5)
    vocabulary_product.vocabulary_product(states, rows).sum().backward()
    torch.testing.assert_close(states.grad, rows.sum(dim=0).expand(3, 5))


@pytest.mark.parametrize("family", ["gpt2", "gemma2", "granite", "bert", "gpt_oss"])
def test_a_models_own_head_does_the_rest(
    family: str, tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Caps, factors and transforms are the head's; and afterwards the module is as it was."""
    subject, tokens = from_module(tiny(family)), torch.arange(6)[None]
    expected, calls, product = subject.logits(tokens), [], head.vocabulary_product
    monkeypatch.setattr(vocabulary_product, "BLOCK", 7)
    monkeypatch.setattr(head, "vocabulary_product", lambda *given: calls.append(1) or product(*given))
    torch.testing.assert_close(subject.logits(tokens), expected, rtol=1e-5, atol=1e-5)
    assert calls == [1]
    assert "forward" not in vars(subject.module.get_output_embeddings())
