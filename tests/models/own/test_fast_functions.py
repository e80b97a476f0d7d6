"""Functions with gradients of their own: torch's values, and torch's gradients."""

from __future__ import annotations

import pytest
import torch
from mesascope.models.own.fast_functions import contract, gelu, moments
from torch import Tensor

RNG = torch.Generator().manual_seed(0)


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=RNG, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(
    ("formula", "a", "b"),
    [
        ("hfit,fjt->hijt", (2, 3, 4, 5), (3, 6, 5)),
        ("hijt,fjt->hfit", (2, 4, 6, 5), (3, 6, 5)),
        ("fit,fgt->git", (3, 4, 5), (3, 2, 5)),
    ],
)
def test_a_contraction_is_an_einsum_and_so_are_its_gradients(formula: str, a: tuple, b: tuple) -> None:
    x, y = drawn(*a), drawn(*b)
    found, expected = contract(x, y, formula), torch.einsum(formula, x, y)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    assert found.is_contiguous()
    towards = torch.randn(found.shape, generator=RNG, dtype=torch.float64).transpose(0, 1).contiguous().transpose(0, 1)
    for ours, theirs in zip(*(torch.autograd.grad(z, [x, y], towards) for z in (found, expected)), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


def test_what_needs_no_gradient_has_none() -> None:
    x, y = drawn(1, 3, 4, 5), drawn(3, 6, 5)
    for one, other in ((x, y.detach()), (x.detach(), y)):
        contract(one, other, "hfit,fjt->hijt").sum().backward()
    assert x.grad is not None
    assert y.grad is not None
    assert not contract(x.detach(), y.detach(), "hfit,fjt->hijt").requires_grad


def test_moments_are_sums_of_outer_products() -> None:
    c = drawn(3, 6, 5)
    found, expected = moments(c), torch.einsum("fit,git->fgt", c, c)
    torch.testing.assert_close(found, expected, rtol=1e-14, atol=1e-14)
    towards = torch.randn(found.shape, generator=RNG, dtype=torch.float64)  # which is not symmetric
    (ours,), (theirs,) = (torch.autograd.grad(z, c, towards) for z in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_gelu_is_torchs_with_a_tanh(dtype: torch.dtype, tolerance: float) -> None:
    x = torch.linspace(-12, 12, 2001, dtype=torch.float64).to(dtype).requires_grad_()
    towards = torch.linspace(1, 2, 2001, dtype=torch.float64).to(dtype)
    found, expected = gelu(x), torch.nn.functional.gelu(x, approximate="tanh")
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)
    (ours,), (theirs,) = (torch.autograd.grad(z, x, towards) for z in (found, expected))
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=2 * tolerance)


def test_gelu_leaves_its_input_and_far_ones_alone() -> None:
    x = torch.tensor([-1e3, -30.0, 0.0, 30.0, 1e3], requires_grad=True)
    found = gelu(x)
    found.sum().backward()
    assert found.tolist() == [0.0, 0.0, 0.0, 30.0, 1e3]
    assert x.grad is not None
    assert x.grad.tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
