"""The two shifts on tasks: what they mean by the definitions of the paper, and where they are equal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import SoftmaxRegression
from mesascope.models import softmax_gradient_layer
from mesascope.probes.softmax_regression.formulas import cosine, loss_gradient, softmax_of
from mesascope.probes.softmax_regression.solvers import first_step
from mesascope.probes.softmax_regression.task_shifts import FIRST_ORDER, PAPER, TIGHT, DataShift, WeightShift
from torch import Tensor


@pytest.fixture
def tasks() -> tuple[Tensor, Tensor]:
    batch = SoftmaxRegression(n_tokens=8, d_in=4).sample(30, seed=0)
    return batch.inputs, batch.targets


def test_with_shifted_targets_the_start_has_the_residual_of_the_end(tasks: tuple[Tensor, Tensor]) -> None:
    """f(A, 0) - b~ = f(A, x') - b, the definition of b~."""
    A, b = tasks
    moved = WeightShift(A, first_step(A, b, 5.0))
    shifted, uniform = b + moved.shift, torch.full_like(b, 1 / 8)
    torch.testing.assert_close(uniform - shifted, softmax_of(A, moved.x) - b)


def test_the_data_shift_is_that_of_tokens_with_one_more_slot(tasks: tuple[Tensor, Tensor]) -> None:
    """A = [a ; 0] to A' = [a ; scores], x the last unit vector: f of both, and the spectral norm, in NumPy."""
    A, b = tasks
    scores = softmax_gradient_layer(8, 5.0, 4, 0.1).scores(A, b)
    moved = DataShift.of(A, scores)
    for rows, written, shift, step in zip(A.numpy(), scores.numpy(), moved.shift.numpy(), moved.step, strict=True):
        written = written - written.mean()
        before, after = (np.column_stack([rows, last]) for last in (np.zeros(8), written))
        x = np.eye(5)[4]
        f, f_after = (np.exp(M @ x) / np.exp(M @ x).sum() for M in (before, after))
        np.testing.assert_allclose(shift, f - f_after, atol=1e-12)
        assert float(step) == pytest.approx(np.linalg.norm(after - before, 2))


def test_a_constant_on_all_scores_is_no_step(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    one, other = DataShift.of(A, b), DataShift.of(A, b + 7)
    torch.testing.assert_close(one.shift, other.shift)
    torch.testing.assert_close(one.step, other.step)


def test_the_construction_shifts_the_data_as_the_step_shifts_the_weights(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    step = WeightShift(A, first_step(A, b, 5.0))
    for sharpness, least in ((1e-4, 1 - 1e-6), (1.0, 0.0)):
        written = DataShift.of(A, softmax_gradient_layer(8, 5.0, 4, sharpness).scores(A, b))
        cosines = cosine(step.shift, written.shift)
        assert float(cosines.min()) > least
    assert float(cosines.mean()) < 0.995  # of a sharp layer, which is no gradient step


def test_the_step_follows_the_gradient(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    gradient = loss_gradient(A, torch.full_like(b, 1 / 8), b)
    torch.testing.assert_close(first_step(A, b, 2.0), -2.0 * gradient)


def test_bounds_are_those_of_both_problems(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    step = WeightShift(A, first_step(A, b, 5.0))
    written = DataShift.of(A, 3 * b)
    for moved in (step, written):
        bounds, ratios = moved.bounds, moved.shift.norm(dim=-1) / moved.step
        assert (ratios <= bounds[TIGHT]).all()
        assert (bounds[TIGHT].log10() < bounds[PAPER]).all()
        assert (bounds[FIRST_ORDER] <= bounds[TIGHT]).all()
    norms = [np.linalg.norm(rows, 2) for rows in A.numpy()]
    np.testing.assert_allclose(step.bounds[TIGHT], np.array(norms) / 2)
    R = [max(4.0, norm, float(x.norm())) for norm, x in zip(norms, step.x, strict=True)]
    np.testing.assert_allclose(step.bounds[PAPER], np.log10(8**1.5) + 10 * np.square(R) / np.log(10))


def test_to_first_order_small_steps_reach_no_more_than_their_bound(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    for moved in (WeightShift(A, first_step(A, b, 1e-4)), DataShift.of(A, 1e-4 * b)):
        ratios = moved.shift.norm(dim=-1) / moved.step
        assert (ratios <= moved.bounds[FIRST_ORDER] * (1 + 1e-3)).all()
        assert (ratios >= 0.2 * moved.bounds[FIRST_ORDER]).all()


def test_random_directions_have_the_length_of_the_step(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    rng = torch.Generator().manual_seed(0)
    for moved in (WeightShift(A, first_step(A, b, 5.0)), DataShift.of(A, 3 * b)):
        turned = moved.in_random_direction(rng)
        assert not torch.equal(turned.shift, moved.shift)
        assert (turned.step <= moved.step * (1 + 1e-9)).all()  # of a data shift the constant part does not count
    assert float(cosine(moved.shift, turned.shift).mean().abs()) < 0.3


def test_the_largest_move_is_of_an_entry_of_a_x(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    x = first_step(A, b, 5.0)
    expected = [np.abs(rows @ at).max() for rows, at in zip(A.numpy(), x.numpy(), strict=True)]
    np.testing.assert_allclose(WeightShift(A, x).largest_move, expected)
