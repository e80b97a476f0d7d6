"""The formulas alone: modes, bins, the free curve and polynomials, beside NumPy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.filtered import gdpp_filter, newton_filter
from mesascope.probes.algorithms.filters import Descent
from mesascope.probes.algorithms.spectrum import Spectrum, decompose
from mesascope.probes.spectral_filter.curve import Binned, bin_edges, free_curve
from mesascope.probes.spectral_filter.modes import Modes, second_moment
from mesascope.probes.spectral_filter.names import BINS
from mesascope.probes.spectral_filter.polynomials import left_by_degree
from torch import Tensor

D, N, TASKS = 3, 7, 200


def drawn(seed: int, d: int = D, d_out: int = 1, n: int = TASKS) -> Tensor:
    return LinearRegression(n_context=N, d_in=d, d_out=d_out).sample(n, seed).inputs


def modes_of(inputs: Tensor, weights: Tensor, d: int = D) -> Modes:
    return Modes.of(decompose(inputs, d), weights, second_moment(inputs, d))


def random_weights(seed: int, d: int = D, d_out: int = 1, layers: int = 2) -> Tensor:
    return torch.randn(layers, TASKS, d_out, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("d", "d_out"), [(3, 1), (3, 2), (9, 1)])
def test_squares_are_weighed_by_the_inputs(d: int, d_out: int) -> None:
    """Task by task in NumPy, also where directions lie outside of a context."""
    inputs, W = drawn(0, d, d_out), random_weights(1, d, d_out)
    modes = modes_of(inputs, W, d)
    x = inputs[..., :d].reshape(-1, d).numpy()
    moment = x.T @ x / len(x)
    for task in range(0, TASKS, 40):
        _, s, Vh = np.linalg.svd(inputs[task, :-1, :d].numpy(), full_matrices=False)
        importance = np.einsum("kd,de,ke->k", Vh, moment, Vh)
        np.testing.assert_allclose(modes.eigenvalues[task], s**2 / N, rtol=1e-10)
        np.testing.assert_allclose(modes.importance[task], importance, rtol=1e-10)
        w = W[1, task].numpy()
        off = w - w @ Vh.T @ Vh
        whole = (importance * np.square(w @ Vh.T)).sum() + np.trace(off @ moment @ off.T)
        assert float(modes.energy[1, task]) == pytest.approx(whole, rel=1e-10)


def test_inputs_alike_in_all_directions_count_by_the_plain_square() -> None:
    inputs, W = drawn(0), random_weights(1)
    modes = Modes.of(decompose(inputs, D), W, 0.25 * torch.eye(D, dtype=torch.float64))
    torch.testing.assert_close(modes.energy, 0.25 * W.square().sum(dim=(2, 3)))


def test_directions_that_a_context_lacks_are_not_seen() -> None:
    inputs = drawn(0)
    inputs[:, :-1, 1] = inputs[:, :-1, 0]
    modes = modes_of(inputs, random_weights(1))
    assert modes.seen.sum(dim=1).unique().tolist() == [2]
    assert modes.least_squares.isfinite().all()


def test_the_first_tasks_are_the_first() -> None:
    inputs, W = drawn(0), random_weights(1)
    some = modes_of(inputs, W).first(5)
    g = Descent(2)(some.spectrum.s2, N, 3.0)
    np.testing.assert_array_equal(some.left_by(1, g), modes_of(inputs, W).left_by(1, Descent(2)(
        modes_of(inputs, W).spectrum.s2, N, 3.0))[:5])  # fmt: skip


# -- bins and the free curve -------------------------------------------------------------------------------------------


def test_bins_have_equal_numbers_of_modes() -> None:
    modes = modes_of(drawn(0), random_weights(1))
    edges = bin_edges([modes], 10_000)
    counts = Binned(modes, edges).sums(torch.ones_like(modes.eigenvalues)).sum(dim=0)
    assert len(counts) == BINS
    assert counts.max() - counts.min() <= 1
    assert len(bin_edges([modes], 60)) + 1 == 2
    assert len(bin_edges([modes], 3)) == 0


def test_the_response_of_a_bin_is_a_ratio_of_sums() -> None:
    inputs, W = drawn(0), random_weights(1)
    modes = modes_of(inputs, W)
    held = Binned(modes, bin_edges([modes], 10_000))
    ratio = held.sums(held.products).sum(dim=1) / held.sums(held.squares).sum(dim=0)
    above, below = np.zeros(BINS), np.zeros(BINS)
    edges = held.edges.numpy()
    for task in range(TASKS):
        X, y = inputs[task, :-1, :D].numpy(), inputs[task, :-1, D].numpy()
        w_star = np.linalg.lstsq(X, y, rcond=None)[0]
        values, vectors = np.linalg.eigh(X.T @ X / N)
        for value, v in zip(values, vectors.T, strict=True):
            place, weight = np.searchsorted(edges, value), v @ second_moment(inputs, D).numpy() @ v
            above[place] += weight * (W[1, task, 0].numpy() @ v) * (w_star @ v)
            below[place] += weight * (w_star @ v) ** 2
    np.testing.assert_allclose(ratio[1], above / below, rtol=1e-7)


def test_the_free_curve_is_a_line_in_each_bin() -> None:
    """As NumPy fits it, bin by bin; one that is a line itself is left with nothing."""
    inputs = drawn(0)
    modes = modes_of(inputs, random_weights(1))
    edges = bin_edges([modes], 10_000)
    curve, index = free_curve(modes, edges), Binned(modes, edges).index
    for place in (0, 7, BINS - 1):
        here = index == place
        scale = modes.importance[here].sqrt()
        a = (modes.least_squares[here][:, 0] * scale).numpy()
        A = np.stack([a, a * modes.eigenvalues[here].numpy()], axis=1)
        level, slope = np.linalg.lstsq(A, (modes.along[1][here][:, 0] * scale).numpy(), rcond=None)[0]
        assert float(curve.slope[1, place]) == pytest.approx(slope, rel=1e-6)
        assert float(curve.level[1, place] - curve.slope[1, place] * curve.centre[place]) == pytest.approx(
            level, rel=1e-6
        )
    line = weights_of(modes.spectrum, lambda s2: 0.4 + 0.7 * s2)
    straight = modes_of(inputs, line)
    assert float(free_curve(straight, edges).left(straight).sum() / straight.energy.sum()) < 1e-20


def weights_of(spectrum: Spectrum, g: Callable[[Tensor], Tensor]) -> Tensor:
    """[1, task, d_out, d_in] of a filter g(s²), times the minimum-norm solution."""
    filtered = (g(spectrum.s2) / spectrum.s2)[..., None] * spectrum.projected_labels
    return torch.einsum("tdr,tro->tod", spectrum.V, filtered)[None]


# -- polynomials -------------------------------------------------------------------------------------------------------


def exact_degree(g: Callable[[Tensor], Tensor]) -> int | None:
    """Of a filter on contexts whose s² reach up to 1, where the terms of every degree are seen."""
    found = []
    for seed in (0, 1):
        inputs = drawn(seed)
        top = np.linalg.norm(inputs[:, :-1, :D].numpy(), ord=2, axis=(1, 2)).max()
        inputs[..., :D] /= top
        found.append(modes_of(inputs, weights_of(decompose(inputs, D), g)))
    share = left_by_degree(*found).sum(dim=2)[:, 0] / found[1].energy.sum()
    return next((degree for degree, left in enumerate(share, 1) if left < 1e-9), None)


@pytest.mark.parametrize("steps", [1, 2, 5, 12])
def test_steps_of_gradient_descent_are_a_polynomial_of_as_many_degrees(steps: int) -> None:
    assert exact_degree(lambda s2: 1 - (1 - 1.9 * s2) ** steps) == steps


@pytest.mark.parametrize(("layers", "degree"), [(1, 1), (2, 4), (3, 13)])
def test_layers_of_gdpp_have_three_times_the_degree_and_one(layers: int, degree: int) -> None:
    assert degree == (3**layers - 1) // 2
    assert exact_degree(lambda s2: s2 * gdpp_filter(s2, N, layers, 1.95, 1.9 * N)) == degree


@pytest.mark.parametrize(("iterations", "degree"), [(1, 4), (2, 8)])
def test_iterations_of_newton_double_the_degree(iterations: int, degree: int) -> None:
    assert exact_degree(lambda s2: s2 * newton_filter(s2, N, iterations, 1.95)) == degree


def test_least_squares_and_a_constant_term_are_no_polynomial() -> None:
    assert exact_degree(torch.ones_like) is None
    assert exact_degree(lambda s2: 0.5 + s2) is None


def test_polynomials_are_those_that_numpy_fits() -> None:
    """Judged on other tasks than they were fitted to, at every degree."""
    held = [modes_of(drawn(seed), random_weights(seed)) for seed in (0, 1)]
    left = left_by_degree(*held).sum(dim=2)
    for degree in (1, 3, 6):
        columns, targets = [], []
        for modes in held:
            scale = modes.importance.sqrt()
            a = (modes.least_squares[..., 0] * scale).flatten().numpy()
            powers = modes.eigenvalues.flatten().numpy()[:, None] ** np.arange(1, degree + 1)
            columns.append(a[:, None] * powers)
            targets.append((modes.along[1][..., 0] * scale).flatten().numpy())
        fit = np.linalg.lstsq(columns[0] / (norms := np.linalg.norm(columns[0], axis=0)), targets[0], rcond=None)[0]
        rest = targets[1] - columns[1] @ (fit / norms)
        assert float(left[degree - 1, 1]) == pytest.approx(
            np.square(rest).sum() + float(held[1].outside[1].sum()), rel=1e-6
        )
