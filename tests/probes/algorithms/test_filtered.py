"""Spectral filters: each is its slow loop, a constructed transformer and a closed form, and finds what was planted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import gd_transformer, gdpp_transformer
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import (
    GDPP,
    GRADIENT_DESCENT,
    LEAST_SQUARES,
    MOMENTUM_DESCENT,
    NEWTON,
    RIDGE,
    Filtered,
    gdpp_filter,
    momentum_filter,
    newton_filter,
)
from mesascope.probes.algorithms.filters import Descent
from mesascope.probes.algorithms.fitting import given

Slow = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def tasks_of(n: int, d: int, d_out: int = 1, tasks: int = 6, scale: float = 1.0) -> Contexts:
    return Contexts.of(LinearRegression(n, d, d_out, input_range=scale).sample(tasks, seed=1).inputs, d)


def member(steps: int = 0, **settings: float) -> Fitted:
    return Fitted(steps, {name.replace("_", " "): given(value) for name, value in settings.items()})


def descended(steps: int, rate: float, momentum: float = 0.0) -> Slow:
    def answer(X: np.ndarray, Y: np.ndarray, query: np.ndarray) -> np.ndarray:
        w, v = np.zeros((X.shape[1], Y.shape[1])), 0.0
        for _ in range(steps):
            gradient = sum(np.outer(x, w.T @ x - y) for x, y in zip(X, Y, strict=True)) / len(X)
            v = momentum * v - rate * gradient
            w = w + v
        return query @ w

    return answer


def curved(steps: int, rate: float, gamma: float) -> Slow:
    """Every token moves, the query among them."""

    def answer(X: np.ndarray, Y: np.ndarray, query: np.ndarray) -> np.ndarray:
        x, left, found = np.vstack([X, query]), Y.copy(), np.zeros(Y.shape[1])
        for _ in range(steps):
            context = x[:-1].copy()
            updates = [sum((c @ token) * y for c, y in zip(context, left, strict=True)) for token in x]
            found = found + rate / len(X) * updates[-1]
            left = left - rate / len(X) * np.array(updates[:-1])
            x = np.array([token - gamma * sum((c @ token) * c for c in context) for token in x])
        return found

    return answer


def inverted(steps: int, scale: float) -> Slow:
    def answer(X: np.ndarray, Y: np.ndarray, query: np.ndarray) -> np.ndarray:
        S = X.T @ X
        M = scale * S
        for _ in range(steps):
            M = 2 * M - M @ S @ M
        return query @ M @ X.T @ Y

    return answer


def penalised(penalty: float) -> Slow:
    return lambda X, Y, query: query @ np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ Y)


PLANTED: dict[str, tuple[Filtered, Fitted, Slow]] = {
    "gd": (GRADIENT_DESCENT, member(3, learning_rate=2.0), descended(3, 2.0)),
    "gd, long": (GRADIENT_DESCENT, member(40, learning_rate=2.0), descended(40, 2.0)),
    "momentum": (MOMENTUM_DESCENT, member(4, momentum=0.6, learning_rate=1.5), descended(4, 1.5, 0.6)),
    "gdpp": (GDPP, member(3, gamma=0.15, learning_rate=2.0), curved(3, 2.0, 0.15)),
    "newton": (NEWTON, member(3, initial_scale=0.2), inverted(3, 0.2)),
    "ridge": (RIDGE, member(penalty=0.3), penalised(0.3)),
    "least squares": (LEAST_SQUARES, member(), lambda X, Y, query: query @ np.linalg.pinv(X) @ Y),
}
each = pytest.mark.parametrize(("family", "fitted", "slow"), PLANTED.values(), ids=PLANTED)


@each
@pytest.mark.parametrize(("n", "d", "d_out"), [(6, 4, 1), (3, 5, 2)])
def test_a_family_is_its_slow_loop(family: Filtered, fitted: Fitted, slow: Slow, n: int, d: int, d_out: int) -> None:
    """Its weights, too: each is linear in the query, so they are its answers at the unit vectors."""
    tasks = tasks_of(n, d, d_out)
    found, weights = family.predict(tasks, fitted), family.weights(tasks, fitted)
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        np.testing.assert_allclose(found[i], slow(X, Y, query), rtol=1e-10, atol=1e-12)
        columns = [slow(X, Y, unit) for unit in np.eye(d)]
        np.testing.assert_allclose(weights[i], np.stack(columns, axis=1), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_descent_and_gdpp_are_the_constructed_transformers(layers: int) -> None:
    tasks = tasks_of(7, 5, 2)
    same = {"rtol": 1e-10, "atol": 1e-13}
    plain = gd_transformer(7, 2.3, 5, 2, layers)(tasks.inputs)
    torch.testing.assert_close(GRADIENT_DESCENT.predict(tasks, member(layers, learning_rate=2.3)), plain, **same)
    curving = gdpp_transformer(7, [2.3], [0.12], 5, 2, layers)(tasks.inputs)
    torch.testing.assert_close(GDPP.predict(tasks, member(layers, learning_rate=2.3, gamma=0.12)), curving, **same)
    assert layers == 1 or float((plain - curving).abs().max()) > 0.01


@pytest.mark.parametrize("steps", range(1, 6))
def test_closed_forms_of_what_is_left_of_a_label(steps: int) -> None:
    """1 - s² g: (1 - αs⁴)^(2^k) for Newton; (1 - ηs²/N)^T for descent, with momentum 0 and for GD++ with γ = 0."""
    s2 = torch.linspace(0, 1.5, 40, dtype=torch.float64)[None]
    newton = 1 - s2 * newton_filter(s2, 7, steps, 0.6)
    torch.testing.assert_close(newton, (1 - 0.6 * s2**2) ** 2**steps, rtol=1e-10, atol=1e-13)
    for g in (Descent(steps)(s2, 4, 3.0), momentum_filter(s2, 4, steps, 0.0, 3.0), gdpp_filter(s2, 4, steps, 0.0, 3.0)):
        torch.testing.assert_close(1 - s2 * g, (1 - 3.0 * s2 / 4) ** steps, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(("layers", "degree"), [(1, 1), (2, 4), (3, 13)])
def test_layers_of_gdpp_are_polynomials_of_high_degree(layers: int, degree: int) -> None:
    """(3^L - 1)/2 in s², where L steps of gradient descent have degree L (Giannou et al. 2024)."""
    s2 = np.cos(np.linspace(0, np.pi, 60)) / 2 + 0.5
    left = 1 - s2 * gdpp_filter(torch.from_numpy(s2)[None], 1, layers, 2.5, 2.5)[0].numpy()
    rest = [np.abs(np.polynomial.Chebyshev.fit(s2, left, k)(s2) - left).max() for k in (degree - 1, degree)]
    assert rest[0] > 1e-3 > 1e-9 > rest[1]


POWER = {"momentum": 0, "learning rate": -2, "gamma": -2, "initial scale": -4, "penalty": 2}


@pytest.mark.parametrize("scale", [1.0, 1e3, 1e-3])
@pytest.mark.parametrize("name", ["gd", "momentum", "gdpp", "newton", "ridge"])
def test_a_family_finds_its_own_settings_in_its_predictions(name: str, scale: float) -> None:
    """Whatever the unit of the inputs: a setting has a power of it."""
    family, fitted, _ = PLANTED[name]
    values = {one: fit.value * scale ** POWER[one] for one, fit in fitted.values.items()}
    tasks = tasks_of(6, 4, 2, tasks=30, scale=scale)
    aim = family.predict(tasks, Fitted(fitted.steps, {one: given(value) for one, value in values.items()}))
    found = family.fit(tasks, aim, fitted.steps)
    assert {one: fit.value for one, fit in found.values.items()} == pytest.approx(values, rel=1e-6)
    assert (found.steps, found.at_end) == (fitted.steps, False)
    if name != "ridge":
        other = family.fit(tasks, aim, fitted.steps + 1)
        rest = (family.predict(tasks, other) - aim).square().mean() / aim.square().mean()
        assert rest > 1e-7


@pytest.mark.parametrize("name", ["gd", "newton", "ridge"])
def test_the_end_of_a_range_has_the_unit_of_the_inputs(name: str) -> None:
    family, fitted, _ = PLANTED[name]
    ends = []
    for scale in (1.0, 1e3):
        tasks = tasks_of(6, 4, scale=scale)
        ends.append(family.fit(tasks, torch.zeros(6, 1, dtype=torch.float64), fitted.steps).values)
    for one, fit in ends[1].items():
        assert fit.value / ends[0][one].value == pytest.approx(1e3 ** POWER[one], rel=0.01)


def test_settings_that_do_not_matter_or_run_away_are_at_an_end() -> None:
    tasks = tasks_of(6, 4, tasks=40)
    aim = GRADIENT_DESCENT.predict(tasks, member(3, learning_rate=2.0))
    for family, idle in ((MOMENTUM_DESCENT, "momentum"), (GDPP, "gamma")):
        fits = family.fit(tasks, aim, 3).values
        assert {name for name, fit in fits.items() if fit.at_end} == {idle}
        assert fits["learning rate"].value == pytest.approx(2.0, rel=0.02)
    assert GDPP.fit(tasks, aim, 1).values["gamma"].at_end  # a single layer does not read what it curved
    zeros = torch.zeros_like(aim)
    for name in ("gd", "momentum", "gdpp", "newton", "ridge"):
        family, fitted, _ = PLANTED[name]
        assert family.fit(tasks, zeros, fitted.steps).at_end
    assert RIDGE.fit(tasks, LEAST_SQUARES.predict(tasks, Fitted())).at_end


@each
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_have_no_settings(
    family: Filtered, fitted: Fitted, slow: Slow, value: float
) -> None:
    tasks = tasks_of(6, 4)
    aim = torch.ones(6, 1, dtype=torch.float64)
    aim[2] = value
    found = family.fit(tasks, aim, fitted.steps)
    assert np.isnan([fit.value for fit in found.values.values()]).all()
    assert bool(family.predict(tasks, found).isnan().all()) == bool(found.values)


def test_intervals_cover_a_planted_setting(rng: np.random.Generator) -> None:
    """A learning rate in 95 % of fits to noisy predictions: of 100 at least 87 (binomial, 99.9 %) and not all."""
    tasks, hits = tasks_of(6, 3, tasks=60), 0
    aim = GRADIENT_DESCENT.predict(tasks, member(2, learning_rate=3.0))
    for _ in range(100):
        noise = torch.from_numpy(rng.normal(size=aim.shape))
        fit = GRADIENT_DESCENT.fit(tasks, aim + 0.1 * noise, 2).values["learning rate"]
        hits += fit.low < 3.0 < fit.high
    assert 87 <= hits < 100


@pytest.mark.parametrize(("law", "noise"), [("normal", 0.0), ("normal", 5.0), ("uniform", 0.0)])
def test_one_step_fitted_to_labels_is_the_best_one(rng: np.random.Generator, law: str, noise: float) -> None:
    """c = η/N = s / (m4 + (d-1) s² + (N-1) s² + σ² s), the risk s d (1 - N s c); s, m4: second and fourth moment."""
    n, d = 10, 10
    draw = rng.normal if law == "normal" else (lambda size: rng.uniform(-1, 1, size))
    s, m4 = (1.0, 3.0) if law == "normal" else (1 / 3, 1 / 5)
    x, w = draw(size=(5_000, n + 1, d)), rng.normal(size=(5_000, d))
    y = np.einsum("tnd,td->tn", x, w)[..., None]
    inputs = np.concatenate([x, y + np.sqrt(noise) * rng.normal(size=y.shape)], axis=2)
    tasks, labels = Contexts.of(torch.from_numpy(inputs), d), torch.from_numpy(y[:, -1])
    found = GRADIENT_DESCENT.fit(tasks, labels, 1)
    fit, best = found.values["learning rate"], s / (m4 + (d - 1) * s**2 + (n - 1) * s**2 + noise * s)
    assert abs(np.log(fit.value / (n * best))) < 4 * np.log(fit.high / fit.value) / 1.96
    squares = (GRADIENT_DESCENT.predict(tasks, found) - labels).square()
    assert float(squares.mean()) == pytest.approx(s * d * (1 - n * s * best), abs=4 * float(squares.std()) / 70.7)


def test_the_population_risk_of_descent() -> None:
    """d = 20, N = 41, η = 0.1, x and w from N(0, I); and of least squares with n < d labels: d - n."""
    rng = torch.Generator().manual_seed(0)
    for n, steps, risk in [(41, 2, 13.71), (41, 4, 10.06), (41, 8, 6.30), (41, 16, 3.31), (5, 0, 15.0), (19, 0, 1.0)]:
        x = torch.randn(400, n + 1, 20, generator=rng, dtype=torch.float64)
        w = torch.randn(400, 20, 1, generator=rng, dtype=torch.float64)
        tasks = Contexts.of(torch.cat([x, x @ w], dim=2), 20)
        family = GRADIENT_DESCENT if steps else LEAST_SQUARES
        weights = family.weights(tasks, member(steps, learning_rate=0.1) if steps else Fitted())
        squares = (weights - w.mT).square().sum(dim=(1, 2))
        assert float(squares.mean()) == pytest.approx(risk, abs=4 * float(squares.std()) / 20)
