"""Mixtures of experts in float64: they open, and answer as in float32, with passes of tasks and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import from_module
from mesascope.models.differentiable import Differentiable, differentiable

TOKENS = torch.tensor([[5, 6, 7, 9], [8, 9, 10, 2]])


@pytest.mark.parametrize("family", ["mixtral", "gpt_oss"])
def test_a_model_in_float64_opens_and_answers_as_in_float32(family: str, tiny: Callable[..., Any]) -> None:
    fine = from_module(tiny(family).double())
    coarse = from_module(tiny(family))
    expected = coarse.run(TOKENS, logits=True).output
    found = fine.run(TOKENS, logits=True).output
    assert (found.dtype, expected.dtype) == (torch.float64, torch.float32)
    torch.testing.assert_close(found.float(), expected, rtol=1e-4, atol=1e-4)


def test_so_do_passes_in_float64_of_a_model_in_float32(tiny: Callable[..., Any]) -> None:
    subject = from_module(tiny("mixtral"))
    before = subject.module.config._experts_implementation
    model, coarse = differentiable(subject, least=torch.float64), differentiable(subject)
    assert isinstance(model, Differentiable)
    assert isinstance(coarse, Differentiable)
    logits = model.run({}, TOKENS).logits
    assert logits.dtype == torch.float64
    torch.testing.assert_close(logits.float(), coarse.run({}, TOKENS).logits, rtol=1e-4, atol=1e-4)
    assert model.together
    assert before == subject.module.config._experts_implementation == "grouped_mm"
