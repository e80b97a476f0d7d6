"""The formulas by autograd, by NumPy and in closed form; and bounds that no draw exceeds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from mesascope.probes.softmax_regression import formulas
from torch import Tensor

N_DRAWS = 1_000


@pytest.fixture
def problem(rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """A [8, 7, 5], x [8, 5] and b [8, 7]."""
    A, x = torch.from_numpy(rng.normal(size=(8, 7, 5))), torch.from_numpy(rng.normal(size=(8, 5)))
    return A, x, torch.from_numpy(rng.dirichlet(np.ones(7), 8))


def test_f_is_a_softmax_over_rows_of_a(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    A, x, _ = problem
    for found, rows, weights in zip(formulas.softmax_of(A, x), A.numpy(), x.numpy(), strict=True):
        powers = np.array([np.exp(row @ weights) for row in rows])
        np.testing.assert_allclose(found, powers / powers.sum(), rtol=1e-12)


def test_the_gradient_is_that_of_autograd(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    A, x, b = problem
    x = x.requires_grad_()
    f = formulas.softmax_of(A, x)
    (by_autograd,) = torch.autograd.grad(formulas.loss_of(f, b).sum(), x)
    torch.testing.assert_close(formulas.loss_gradient(A, f, b).detach(), by_autograd, rtol=0, atol=1e-10)


def test_the_jacobian_is_that_of_autograd(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    A, x, b = problem
    scores = formulas.scores_of(A, x)[0]
    by_autograd = torch.autograd.functional.jacobian(lambda s: s.softmax(dim=-1), scores)
    f = formulas.softmax_of(A, x)
    torch.testing.assert_close(formulas.jacobian(f)[0], by_autograd, rtol=0, atol=1e-12)
    torch.testing.assert_close(formulas.times_jacobian(f, b)[0], by_autograd @ b[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5), (1, 3)])
def test_the_spectral_norm_is_the_largest_singular_value(shape: tuple[int, int], rng: np.random.Generator) -> None:
    matrices = rng.normal(size=(6, *shape))
    found = formulas.spectral_norm(torch.from_numpy(matrices))
    np.testing.assert_allclose(found, [np.linalg.svd(one)[1][0] for one in matrices], rtol=1e-10)
    assert formulas.spectral_norm(torch.zeros(2, *shape)).tolist() == [0, 0]
    broken = torch.ones(2, *shape)
    broken[1, 0, 0] = torch.inf
    assert formulas.spectral_norm(broken).isnan().tolist() == [False, True]


def draws() -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """A, x and where they move, at sizes from small to large, steps too."""
    rng = np.random.default_rng(3)
    for scale in (0.3, 1.0, 4.0):
        for step in (0.01, 1.0, 10.0):
            A, x = rng.normal(size=(N_DRAWS, 7, 5)) * scale, rng.normal(size=(N_DRAWS, 5)) * scale
            A_after, x_after = (start + step * rng.normal(size=start.shape) for start in (A, x))
            yield tuple(map(torch.from_numpy, (A, x, A_after, x_after)))  # type: ignore[misc]


def test_no_ratio_exceeds_its_tight_bound() -> None:
    """1,000 draws of each of nine laws. Some come near, so a bound of half the size would not do."""
    reached = []
    for A, x, A_after, x_after in draws():
        before = formulas.softmax_of(A, x)
        of_x = (before - formulas.softmax_of(A, x_after)).norm(dim=-1) / (x_after - x).norm(dim=-1)
        of_A = (before - formulas.softmax_of(A_after, x)).norm(dim=-1) / formulas.spectral_norm(A_after - A)
        for ratio, bound in ((of_x, formulas.tight_x(A)), (of_A, formulas.tight_A(x))):
            assert (ratio <= bound * (1 + 1e-9)).all()
            reached.append(float((ratio / bound).max()))
    assert max(reached) > 0.6


def test_the_tight_bound_is_reached() -> None:
    """Two tokens of equal weight: J has the norm 1/2, and the step goes along A."""
    A, x = torch.tensor([[[1.0], [-1.0]]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    step = torch.full_like(x, 1e-6)
    shift = formulas.softmax_of(A, x) - formulas.softmax_of(A, x + step)
    assert float(shift.norm() / step.norm() / formulas.tight_x(A)) == pytest.approx(1, rel=1e-9)


def test_the_first_order_bound_is_approached_as_the_step_goes_to_zero(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """Along the most sensitive direction; the gap falls linearly in the step."""
    A, x, _ = problem
    f = formulas.softmax_of(A, x)
    bound, direction = formulas.first_order_x(A, f), torch.linalg.svd(formulas.jacobian(f) @ A)[2][:, 0]
    gaps = []
    for step in (1e-2, 1e-3, 1e-4):
        ratio = (f - formulas.softmax_of(A, x + step * direction)).norm(dim=-1) / step
        gaps.append(float((ratio / bound - 1).abs().max()))
    assert gaps[0] < 0.1
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.3)
    assert gaps[2] / gaps[1] == pytest.approx(0.1, rel=0.3)


def test_the_first_order_bound_of_a_change_of_the_data(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    """The change that does most is rank one: the top singular vector of J times the direction of x."""
    A, x, _ = problem
    f = formulas.softmax_of(A, x)
    top = torch.linalg.svd(formulas.jacobian(f))[2][:, 0]
    change = 1e-6 * top[..., None] * (x / x.norm(dim=-1, keepdim=True))[..., None, :]
    ratio = (f - formulas.softmax_of(A + change, x)).norm(dim=-1) / 1e-6
    torch.testing.assert_close(ratio, formulas.first_order_A(f, x), rtol=1e-4, atol=0)
    assert (formulas.first_order_A(f, x) <= formulas.tight_A(x)).all()


def test_the_papers_constant_by_its_logarithm(problem: tuple[Tensor, Tensor, Tensor]) -> None:
    A, x, _ = problem
    assert formulas.radius(A / 100, x / 100).tolist() == [4.0] * 8  # the theorems are for R of at least 4
    assert formulas.radius(A, 9 * x / x.norm(dim=-1, keepdim=True)).tolist() == pytest.approx([9.0] * 8)
    R = torch.tensor([1.0], dtype=torch.float64)
    assert float(formulas.log10_paper_bound(7, R)) == pytest.approx(np.log10(7**1.5 * np.exp(10)))
    # the anchor: 10^71.6 for n = 25 and R = 4
    assert float(formulas.log10_paper_bound(25, 4 * R)) == pytest.approx(71.6, abs=0.05)


def test_what_is_zero_has_no_cosine() -> None:
    u, v = torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.0]])
    found = formulas.cosine(u, v)
    assert float(found[0]) == pytest.approx(2**-0.5)
    assert found[1].isnan()
