"""The specification of gd-alignment once more: slowly, in NumPy, task by task, sharing nothing with the library."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.models import RegressionTransformer, Regressor, from_transformer
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.gd_alignment import distribution_shift
from mesascope.probes.measure import Measures
from mesascope.probes.regression import nulls
from scipy.optimize import brentq, minimize_scalar

from .slow_cases import Run

Head = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # query, key, value [d, k], linear [k, d]
Products = list[list[tuple[np.ndarray, np.ndarray]]]  # [block][head] -> KQ, PV
Predict = Callable[[np.ndarray], np.ndarray]  # tokens of one task -> y_hat [d_out]; real or complex
TINY = 1e-30  # of the complex step: no subtraction, so no rounding


def _clip(h: np.ndarray, bound: float | None) -> np.ndarray:
    """Element-wise; a complex number (a derivative on its way) is kept where its real part is within the bound."""
    if bound is None:
        return h
    return np.where(h.real > bound, bound, np.where(h.real < -bound, -bound, h))


@dataclass(frozen=True)
class SlowModel:
    """The authors' transformer (their `attn.py`): `layers` has the heads of each application."""

    layers: list[list[Head]]
    d_out: int = 1
    softmax: bool = False
    dampening: float = 1.0
    activation_clip: float | None = None
    target_only: bool = False
    query_in_context: bool = False
    causal: bool = False
    norms: list[tuple[np.ndarray, np.ndarray] | None] | None = None

    def readouts(self, tokens: np.ndarray) -> list[np.ndarray]:
        """-h[query, y slot] after each layer."""
        return [-h[-1, -self.d_out :] for h in self.streams(tokens)]

    def streams(self, tokens: np.ndarray) -> list[np.ndarray]:
        """All tokens after each layer."""
        h, found = tokens, []
        for number, heads in enumerate(self.layers):
            x = self._normed(h, number)
            update = sum((self._head(x, head) for head in heads), np.zeros_like(h))
            if self.target_only:
                update[:, : -self.d_out] = 0
            h = _clip(h + self.dampening * update, self.activation_clip)
            found.append(h)
        return found

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.readouts(tokens)[-1]

    def _normed(self, h: np.ndarray, layer: int) -> np.ndarray:
        if self.norms is None or self.norms[layer] is None:
            return h
        scale, offset = self.norms[layer]  # type: ignore[misc]
        centred = h - h.mean(axis=1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5) * scale + offset

    def _head(self, x: np.ndarray, head: Head) -> np.ndarray:
        W_Q, W_K, W_V, W_O = head
        keys = x if self.query_in_context else x[:-1]
        rows = []
        for place, token in enumerate(x):
            seen = keys[: place + 1] if self.causal else keys
            scores = (seen @ W_K) @ (token @ W_Q)
            if self.softmax:
                exponentials = np.exp((scores - scores.real.max()) / np.sqrt(W_Q.shape[1]))
                scores = exponentials / exponentials.sum()
            rows.append((scores @ seen) @ W_V @ W_O)
        return np.array(rows)


@dataclass(frozen=True)
class Descent:
    """Gradient descent on 1/(2N) Σ |W x_i - y_i|² from W = 0, one rate a step."""

    rates: Sequence[float]
    d_out: int = 1

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        X, Y, query = split(tokens, self.d_out)
        W = np.zeros((self.d_out, X.shape[1]))
        for rate in self.rates:
            W = W - rate / len(X) * (W @ X.T - Y.T) @ X
        return W @ query


@dataclass(frozen=True)
class TokenDescent:
    """GD++ on tokens: y_j <- y_j - η/N Σ y_i x_i.x_j and x_j <- x_j - γ Σ x_i x_i.x_j, both from the old values.

    With γ = 0, no clip and no dampening this is `Descent`. The query's y slot takes part, the prediction is minus it.
    """

    rates: Sequence[float]
    gammas: Sequence[float]
    d_out: int = 1
    dampening: float = 1.0
    activation_clip: float | None = None

    def readouts(self, tokens: np.ndarray) -> list[np.ndarray]:
        return [-h[-1, -self.d_out :] for h in self.streams(tokens)]

    def streams(self, tokens: np.ndarray) -> list[np.ndarray]:
        d, h, found = tokens.shape[1] - self.d_out, tokens, []
        for rate, gamma in zip(self.rates, self.gammas, strict=True):
            new = h.copy()
            for j in range(len(h)):
                overlaps = h[:-1, :d] @ h[j, :d] * self.dampening
                new[j, :d] -= gamma * overlaps @ h[:-1, :d]
                new[j, d:] -= rate / (len(h) - 1) * overlaps @ h[:-1, d:]
            h = _clip(new, self.activation_clip)
            found.append(h)
        return found

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        return self.readouts(tokens)[-1]


def split(tokens: np.ndarray, d_out: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    d = tokens.shape[1] - d_out
    return tokens[:-1, :d], tokens[:-1, d:], tokens[-1, :d]


def zero(tokens: np.ndarray, d_out: int) -> np.ndarray:
    return np.zeros(d_out)


def mean_label(tokens: np.ndarray, d_out: int) -> np.ndarray:
    return split(tokens, d_out)[1].mean(axis=0)


def ridge(tokens: np.ndarray, d_out: int, penalty: complex) -> np.ndarray:
    X, Y, query = split(tokens, d_out)
    return query @ np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ Y)


def least_squares(tokens: np.ndarray, d_out: int) -> np.ndarray:
    X, Y, query = split(tokens, d_out)
    return query @ np.linalg.lstsq(X.real, Y.real, rcond=None)[0]


def answers(predict: Predict, inputs: np.ndarray) -> np.ndarray:
    """[task, d_out]"""
    return np.array([predict(tokens) for tokens in inputs])


def sensitivities(predict: Predict, inputs: np.ndarray, d_out: int) -> np.ndarray:
    """[task, d_out * d_in]: every output by every x of the query token, by complex steps."""
    found = []
    for tokens in inputs:
        columns = []
        for i in range(tokens.shape[1] - d_out):
            shifted = tokens.astype(complex)
            shifted[-1, i] += TINY * 1j
            columns.append(np.asarray(predict(shifted)).imag / TINY)
        found.append(np.array(columns).T.ravel())
    return np.array(found)


def closest_setting(
    family: Callable[[np.ndarray, complex], np.ndarray], inputs: np.ndarray, goal: np.ndarray
) -> float | None:
    """The positive setting whose answers are nearest to `goal`: where the complex-step derivative is zero.

    None where the nearest is at an end of the range: how far a search gets there is its own matter.
    """

    def distance(log_setting: complex) -> complex:
        setting = np.exp(log_setting)
        return sum(((family(t, setting) - g) ** 2).sum() for t, g in zip(inputs, goal, strict=True)) / len(inputs)

    def slope(log_setting: float) -> float:
        return (distance(log_setting + TINY * 1j)).imag / TINY

    grid = np.linspace(np.log(1e-6), np.log(1e4), 61)
    best = int(np.argmin([distance(x).real for x in grid]))
    if best in (0, 60):
        return None
    near = minimize_scalar(lambda x: distance(x).real, bounds=grid[[best - 1, best + 1]], method="bounded").x
    if slope(near - 1e-3) * slope(near + 1e-3) > 0:
        return None
    return float(np.exp(brentq(slope, near - 1e-3, near + 1e-3, xtol=1e-15, rtol=1e-14)))


def comparisons(p: np.ndarray, g: np.ndarray, p_other: np.ndarray, g_other: np.ndarray) -> dict[str, float]:
    """The authors' metrics, and the norm ratio: means over tasks. No cosine where one side is zero in all of them."""
    found: dict[str, list[float]] = {
        "cosine": [],
        "norm_ratio": [],
        "model_difference": [],
        "prediction_difference": [],
    }
    for a, s, b, r in zip(p, g, p_other, g_other, strict=True):
        length, other = np.sqrt((s**2).sum()), np.sqrt((r**2).sum())
        found["cosine"].append(float(s @ r / (length * other)) if length and other else 0.0)
        found["norm_ratio"].append(float(length / other) if other else np.nan)
        found["model_difference"].append(float(np.sqrt(((s - r) ** 2).sum())))
        found["prediction_difference"].append(float(np.sqrt(((a - b) ** 2).sum())))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return means | ({} if g.any() and g_other.any() else {"cosine": np.nan})


def half_squared(prediction: np.ndarray, targets: np.ndarray) -> float:
    return float(np.mean([0.5 * ((y - p) ** 2).sum() for p, y in zip(prediction, targets, strict=True)]))


def mixed(a: Products, b: Products, t: float) -> Products:
    if len(a[0]) == 1:
        return [
            [((1 - t) * KQ + t * KQ2, (1 - t) * PV + t * PV2)] for [(KQ, PV)], [(KQ2, PV2)] in zip(a, b, strict=True)
        ]
    return [
        [(KQ, (1 - t) * PV) for KQ, PV in ours] + [(KQ, t * PV) for KQ, PV in theirs]
        for ours, theirs in zip(a, b, strict=True)
    ]


def tensor_distance(a: Products, b: Products, masks: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """|Σ_h KQ_h (x) PV_h - the same of b| / |b|, with all d^4 entries written out."""

    def tensor(heads: list[tuple[np.ndarray, np.ndarray]], mask: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return sum(np.multiply.outer(KQ * mask[0], PV * mask[1]) for KQ, PV in heads)  # type: ignore[return-value]

    ours = [tensor(heads, mask) for heads, mask in zip(a, masks, strict=True)]
    theirs = [tensor(heads, mask) for heads, mask in zip(b, masks, strict=True)]
    difference = sum(((x - y) ** 2).sum() for x, y in zip(ours, theirs, strict=True))
    return float(np.sqrt(difference / sum((y**2).sum() for y in theirs)))


@pytest.fixture(scope="session")
def slow() -> Any:
    """Everything above, by name."""

    class Slow:
        pass

    for value in (SlowModel, Descent, TokenDescent, zero, mean_label, ridge, least_squares, answers, sensitivities):
        setattr(Slow, value.__name__, staticmethod(value))
    for value in (closest_setting, comparisons, half_squared, split, mixed, tensor_distance):
        setattr(Slow, value.__name__, staticmethod(value))
    return Slow


@pytest.fixture
def tasks_file(tmp_path: Path) -> Callable[[Batch], str]:
    """A batch as a user's file of tasks."""

    def write(batch: Batch, name: str = "tasks.npz") -> str:
        np.savez(tmp_path / name, inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
        return str(tmp_path / name)

    return write


@pytest.fixture(scope="session")
def on_tasks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Findings]:
    """Measure a subject or a transformer on a file of tasks; the paper's sizes unless a law is given.

    As in a report, `measures["cosine_gd"]` is the candidate's part of `measures["cosine"]`.
    """
    folder = tmp_path_factory.mktemp("tasks")

    def measure(
        subject: Regressor | RegressionTransformer, n: int = 120, batch_size: int = 64, **given: Any
    ) -> Findings:
        law = {key: given.pop(key) for key in ("n_context", "d_in", "d_out", "input_range") if key in given}
        path = folder / f"{sorted(law.items())}{n}.npz"
        if not path.exists():
            batch = LinearRegression(**law).sample(n, seed=17)
            np.savez(
                path, inputs=batch.inputs.numpy(), targets=np.pad(batch.targets, ((0, 0), (law.get("d_in", 10), 0)))
            )
        subject = subject if isinstance(subject, Regressor) else from_transformer(subject)
        findings = GDAlignment(**({"tasks": str(path)} | given)).measure(subject, 0, batch_size)
        return replace(findings, measures=Measures(findings.measures))

    return measure


@pytest.fixture
def all_nulls() -> None:
    """For a test that is about the nulls."""


@pytest.fixture
def all_shuffles() -> None:
    """For a test that is about shuffled labels."""


@pytest.fixture(autouse=True)
def _few_nulls(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few draws of each null, where a test is about something else."""
    if "all_nulls" not in request.fixturenames:
        monkeypatch.setattr(nulls, "UNTRAINED", 4)
        if "all_shuffles" not in request.fixturenames:
            monkeypatch.setattr(nulls, "SHUFFLES", 3)


@pytest.fixture
def few_shifts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few points of each curve of shifted tasks, where a test is about something else."""
    short = tuple(replace(curve, values=curve.values[:2], n=20) for curve in distribution_shift.CURVES)
    monkeypatch.setattr(distribution_shift, "CURVES", short)


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, slow: Any) -> Callable[[str], Run]:
    """Each case of the slow reference, measured once for all tests."""
    return functools.cache(lambda name: Run(name, tmp_path_factory.mktemp("case"), slow))


@pytest.fixture
def run(runs: Callable[[str], Run], name: str) -> Run:
    return runs(name)
