"""Tasks for training follow the law of their family, and depend on seed and step alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data.recipe import named_seed
from mesascope.data.regression import GaussianRegression, LinearRegression
from mesascope.data.stream import draw_into
from torch import Tensor

N = 4000


def context_moments(tokens: Tensor, d_in: int) -> dict[str, float]:
    """Moments that the law fixes, over all tasks, with the query's x but not its y slot."""
    x, y = tokens[..., :d_in].double(), tokens[..., :-1, d_in:].double()
    neighbours = x[..., :-1] * x[..., 1:]
    return {
        "x": x.mean().item(),
        "x^2": x.square().mean().item(),
        "x^4": x.pow(4).mean().item(),
        "x x'": neighbours.mean().item(),
        "y": y.mean().item(),
        "y^2": y.square().mean().item(),
        "y^4": y.pow(4).mean().item(),
        "y_i y_j": (y[..., 0, :] * y[..., 1, :]).square().mean().item(),
    }


@pytest.mark.parametrize(
    "tasks",
    [
        LinearRegression(n_context=6, d_in=4),
        LinearRegression(n_context=6, d_in=4, d_out=2, input_range=3.0, weight_scale=0.5, noise=0.4),
        LinearRegression(n_context=6, d_in=4, n_corrupted=3),
        GaussianRegression(n_context=6, d_in=2, input_variances=(2.0, 0.5), input_range=0.7, noise=0.2),
    ],
    ids=["plain", "scaled and noisy", "corrupted", "Gaussian"],
)
def test_moments_are_those_of_the_family(
    tasks: LinearRegression, draw_step: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    tokens, targets = draw_step(tasks, N, [0, 1], step=3)
    ours = context_moments(tokens, tasks.d_in)
    parts = [context_moments(tasks.sample(N // 4, seed).inputs, tasks.d_in) for seed in range(32)]
    for name, value in ours.items():
        reference = torch.tensor([part[name] for part in parts], dtype=torch.float64)
        # 32 parts of N/4 tasks against 8 parts' worth: the difference has this standard deviation
        sd = reference.std() * (1 / 32 + 1 / 8) ** 0.5
        assert abs(value - reference.mean()) < 5 * sd, name
    labels = torch.cat([tasks.sample(N, seed).targets for seed in (40, 41)])
    assert targets.square().mean().item() == pytest.approx(labels.square().mean().item(), rel=0.1)


def test_labels_are_the_teachers_and_the_query_has_none(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    tasks = LinearRegression(n_context=12, d_in=4, d_out=2)
    tokens, targets = draw_step(tasks, 50, [5], step=0)
    assert tokens.dtype == targets.dtype == torch.float32
    assert tokens.shape == (1, 50, 13, 6)
    assert targets.shape == (1, 50, 2)
    assert not tokens[..., -1, 4:].any()
    x, y = tokens[0, ..., :4].double(), tokens[0, ..., 4:].double()
    teachers = torch.linalg.lstsq(x[:, :-1], y[:, :-1]).solution
    torch.testing.assert_close(x[:, :-1] @ teachers, y[:, :-1], rtol=0, atol=1e-6)
    torch.testing.assert_close((x[:, -1:] @ teachers)[:, 0], targets[0].double(), rtol=0, atol=1e-5)


def test_corruption_leaves_the_querys_label_alone(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    clean, targets = draw_step(LinearRegression(n_context=6, d_in=4), 50, [5], step=0)
    wrong, same_targets = draw_step(LinearRegression(n_context=6, d_in=4, n_corrupted=2), 50, [5], step=0)
    assert torch.equal(targets, same_targets)
    assert ((clean != wrong).any(dim=-1).sum(dim=-1) == 2).all()


def test_inputs_fill_their_range_evenly(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    tokens, _ = draw_step(LinearRegression(input_range=2.0), 2000, [0], step=0)
    x = tokens[..., :10].flatten()
    assert x.min() >= -1
    assert x.max() <= 1
    counts = torch.histc(x, bins=20, min=-1, max=1)
    expected = len(x) / 20
    assert float((counts - expected).square().sum() / expected) < 50  # chi-squared, 19 degrees: p = 1e-4


def test_a_batch_depends_on_its_seed_and_step_alone(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    tasks = LinearRegression(n_context=3, d_in=2, noise=0.1)
    alone, _ = draw_step(tasks, 7, [4], step=9)
    beside, _ = draw_step(tasks, 7, [1, 4], step=9)
    assert torch.equal(alone[0], beside[1])
    assert not torch.equal(beside[0], beside[1])
    later, _ = draw_step(tasks, 7, [4], step=10)
    assert not torch.equal(later[..., :2], alone[..., :2])


def test_an_odd_number_of_inputs_is_drawn_in_full(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    tokens, _ = draw_step(LinearRegression(n_context=2, d_in=1), 3, [0], step=0)
    assert len(tokens[..., 0].unique()) == 9


@pytest.mark.parametrize(
    ("n_context", "d_in", "d_out", "n"), [(10, 10, 1, 6), (2, 1, 1, 3), (4, 3, 2, 5), (8, 1, 1, 7)]
)
def test_a_recipe_keeps_its_tasks(
    n_context: int, d_in: int, d_out: int, n: int, draw_step: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    """Drawn all at once and multiplied in float64: int32 halves of int64 draws, then normal teachers."""
    tasks = LinearRegression(n_context, d_in, d_out, input_range=3.0, weight_scale=0.5)
    tokens, targets = draw_step(tasks, n, [5], step=3)
    rng = np.random.Generator(np.random.SFC64([named_seed(5, "training tasks"), 3]))
    size = (n_context + 1) * d_in * n
    words = rng.integers(-(2**63), 2**63 - 1, (size + 1) // 2, dtype=np.int64, endpoint=True).view(np.int32)[:size]
    x = words.reshape(n_context + 1, d_in, n) * (3.0 / 2**32)
    y = np.einsum("ifn,fon->ion", x, 0.5 * rng.standard_normal((d_in, d_out, n), dtype=np.float32).astype(float))
    np.testing.assert_allclose(tokens[0, ..., :d_in].permute(1, 2, 0), x, rtol=1e-6)
    np.testing.assert_allclose(tokens[0, :, :-1, d_in:].permute(1, 2, 0), y[:-1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(targets[0].T, y[-1], rtol=0, atol=1e-5)


def test_nothing_is_left_of_what_was_in_the_memory(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    tasks = LinearRegression(n_context=6, d_in=4, d_out=2, noise=0.1)
    tokens, targets = np.full((6, 7, 9), np.nan, np.float32), np.full((2, 9), np.nan, np.float32)
    draw_into(tokens, targets, tasks, seed=4, step=2)
    fresh, labels = draw_step(tasks, 9, [4], step=2)
    np.testing.assert_array_equal(tokens, fresh[0].permute(2, 1, 0))
    np.testing.assert_array_equal(targets, labels[0].T)
