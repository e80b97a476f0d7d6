"""Whether the contest names what was planted: models that run a known algorithm, mixtures of two, and noisy copies.

    python benchmarks/planted_algorithms.py [--each 10] [--tasks 300] [--only ridge,least squares,…]

Every kind is planted in three sizes, at settings drawn away from their limits, as a plain function of the tokens that
shares no code with the library. It is right to name the rule, or one whose predictions on these tasks differ from the
planted ones by at most 2 % of their variation; of mixtures and noisy copies it is right to name none. Prints the
confusion matrix, and the share of right answers with its 95 % interval (Clopper and Pearson).
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from mesascope.models import TokenLayout, from_predictor
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm
from mesascope.probes.icl_algorithm.standing import standing
from scipy import stats

SIZES = ((5, 10), (10, 10), (10, 20))
"""d_in and N."""
SAME = 0.02
NONE = "none"
Answer = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""X [N, d], y [N], query [d] -> prediction"""


@dataclass(frozen=True)
class Planted:
    kind: str
    right: str
    answer: Answer


def descend(steps: int, rate: float, momentum: float = 0.0) -> Answer:
    """rate: as a share of the largest stable one."""

    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        w, v = np.zeros(X.shape[1]), np.zeros(X.shape[1])
        for _ in range(steps):
            v = momentum * v - rate * X.T @ (X @ w - y)
            w = w + v
        return query @ w

    return answer


def gdpp(steps: int, rate: float, gamma: float) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        X, left, found = X.copy(), y.copy(), 0.0
        for _ in range(steps):
            step = rate * X.T @ left
            found, left = found + query @ step, left - X @ step
            shrink = np.eye(X.shape[1]) - gamma * X.T @ X
            X, query = X @ shrink, shrink @ query
        return np.asarray(found)

    return answer


def newton(iterations: int, scale: float) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        S = X.T @ X
        M = scale * S
        for _ in range(iterations):
            M = 2 * M - M @ S @ M
        return query @ M @ X.T @ y

    return answer


def ridge(penalty: float) -> Answer:
    return lambda X, y, query: query @ np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ y)


def least_squares(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
    return query @ np.linalg.pinv(X) @ y


def preconditioned(P: np.ndarray, steps: int = 1) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        w = np.zeros(X.shape[1])
        for _ in range(steps):
            w = w + P @ X.T @ (y - X @ w)
        return query @ w

    return answer


def conjugate(steps: int) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        w, r = np.zeros(X.shape[1]), X.T @ y
        p = r.copy()
        for _ in range(steps):
            a = r @ r / (p @ X.T @ X @ p)
            w, before = w + a * p, r @ r
            r = r - a * X.T @ X @ p
            p = r + (r @ r / before) * p
        return query @ w

    return answer


def kernel_ridge(width: float, penalty: float) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        squares = ((X[:, None] - X) ** 2).sum(axis=-1)
        K, k = np.exp(-squares / (2 * width)), np.exp(-((X - query) ** 2).sum(axis=-1) / (2 * width))
        return k @ np.linalg.solve(K + penalty * np.eye(len(X)), y)

    return answer


def smoothing(width: float, rate: float) -> Answer:
    def answer(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        scores = np.exp(X @ query / width)
        return rate * scores @ y / scores.sum()

    return answer


def nearest(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
    return y[np.argmin(((X - query) ** 2).sum(axis=-1))]


def planted(d: int, N: int, rng: np.random.Generator) -> Iterator[Planted]:
    """One of every kind."""
    largest = N / 12 * (1 + np.sqrt(d / N)) ** 2  # eigenvalue of a context of U(-1/2, 1/2), about

    def share(low: float, high: float) -> float:
        return float(rng.uniform(low, high)) / largest

    P = rng.normal(size=(d, d))
    P = np.diag(rng.uniform(0.2, 1.5, d)) + 0.1 * (P + P.T)
    P = P @ P.T
    yield Planted("GD, 1 step", "gd", descend(1, share(0.4, 1)))
    yield Planted("GD, 2 steps", "gd", descend(2, share(0.4, 1)))
    yield Planted("GD, 8 steps", "gd", descend(8, share(0.2, 0.6)))
    yield Planted("preconditioned", "preconditioned", preconditioned(P))
    tamed = P * share(0.7, 1) / np.linalg.eigvalsh(P)[-1]
    yield Planted("preconditioned, 3 steps", "preconditioned_steps", preconditioned(tamed, 3))
    yield Planted("momentum, 8 steps", "momentum", descend(8, share(0.2, 0.5), float(rng.uniform(0.6, 0.8))))
    yield Planted("GD++, 2 layers", "gdpp", gdpp(2, share(0.8, 1.2), share(0.2, 0.35)))
    yield Planted("Newton", "newton", newton(int(rng.integers(2, 4)), float(rng.uniform(0.5, 1)) / largest**2))
    yield Planted("CG, 2 steps", "cg", conjugate(2))
    yield Planted("ridge", "ridge", ridge(float(rng.uniform(0.1, 0.5)) * largest))
    yield Planted("least squares", "min_norm", least_squares)
    width = d / 12 * float(rng.uniform(0.5, 1.5))
    yield Planted("RBF ridge", "rbf_ridge", kernel_ridge(width, float(rng.uniform(0.05, 0.2))))
    width = d / 12 * float(rng.uniform(0.2, 0.4))
    yield Planted("softmax smoothing", "softmax_gd", smoothing(width, float(rng.uniform(0.5, 1.5))))
    yield Planted("nearest label", "nearest_label", nearest)
    yield Planted("last label", "last_label", lambda X, y, query: y[-1])
    yield Planted("mean label", "mean_label", lambda X, y, query: y.mean())
    A, b = rng.normal(size=(d, d)) / d, rng.normal(size=d)
    yield Planted("random bilinear", NONE, lambda X, y, query: query @ A @ X.T @ y)
    yield Planted("random function", NONE, lambda X, y, query: np.tanh(query @ b * 6) * y[0] + (X @ b)[1])
    one, two = descend(1, share(0.5, 1)), least_squares
    yield Planted("GD 1 and least squares", NONE, lambda X, y, query: 0.5 * one(X, y, query) + 0.5 * two(X, y, query))
    yield Planted("ridge and nearest", NONE, lambda X, y, query: ridge(1.0)(X, y, query) + 0.5 * nearest(X, y, query))
    yield Planted("CG 1 and mean", NONE, lambda X, y, query: 0.7 * conjugate(1)(X, y, query) + 0.8 * y.mean())
    yield Planted("GD 2, noisy", NONE, noisy(descend(2, share(0.4, 1)), 0.3))
    yield Planted("least squares, noisy", NONE, noisy(least_squares, 0.3))


def noisy(answer: Answer, size: float) -> Answer:
    """With noise of so many labels' spread, the same for the same context."""

    def with_noise(X: np.ndarray, y: np.ndarray, query: np.ndarray) -> np.ndarray:
        seed = abs(int(1e9 * (X.sum() + query.sum()))) % 2**32
        return answer(X, y, query) + size * y.std() * np.random.default_rng(seed).normal()

    return with_noise


def predictor(answer: Answer, d: int) -> Callable[[torch.Tensor], torch.Tensor]:
    def predict(tokens: torch.Tensor) -> torch.Tensor:
        tasks = tokens.double().numpy()
        found = [float(answer(task[:-1, :d], task[:-1, d], task[-1, :d])) for task in tasks]
        return torch.tensor(found, dtype=tokens.dtype)[:, None]

    return predict


def named(one: Planted, d: int, N: int, tasks: int, seed: int) -> tuple[str, bool]:
    """What the contest names, and whether that is right."""
    layout = TokenLayout(d, 1)
    subject = from_predictor(predictor(one.answer, d), layout, name=one.kind)
    probe = ICLAlgorithm(limit=tasks, n_context=N, token_order="joint", label_slot=d, sign=1)
    found = probe.measure(subject, seed, 512)
    order = standing(found.measures)
    if order is None or order.constant or order.verdict not in ("agrees", "not separated"):
        return NONE, one.right == NONE
    if order.verdict == "not separated":
        return "not separated", one.right == NONE or one.right in order.equals
    return order.winner, one.right in (order.winner, *order.alike) or (
        one.right != NONE and order.unexplained(order.winner).value <= SAME
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=10, help="of every kind in every size")
    parser.add_argument("--tasks", type=int, default=300)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    contest.UNTRAINED, contest.SHUFFLES, contest.NULL_TASKS = 0, 1, 10  # no null decides on a wrapped function
    only = {name for name in options.only.split(",") if name}
    matrix: dict[str, Counter[str]] = {}
    right = wrong = 0
    began = time.process_time()
    for draw in range(options.each):
        for d, N in SIZES:
            for one in planted(d, N, np.random.default_rng([draw, d, N])):
                if only and one.kind not in only:
                    continue
                found, good = named(one, d, N, options.tasks, draw)
                matrix.setdefault(one.kind, Counter())[found] += 1
                right, wrong = right + good, wrong + (not good)
                if not good:
                    print(f"wrong: {one.kind}, d = {d}, N = {N}, draw {draw}: {found}", flush=True)
    for kind, counts in matrix.items():
        print(f"{kind:24s} " + ", ".join(f"{name} {count}" for name, count in counts.most_common()))
    interval = stats.binomtest(right, right + wrong).proportion_ci(method="exact")
    print(
        f"{right} of {right + wrong} right: {right / (right + wrong):.3f}"
        f" (95 % CI {interval.low:.3f} to {interval.high:.3f}); {time.process_time() - began:.0f} CPU s"
    )
    sys.exit(right < 0.95 * (right + wrong))


if __name__ == "__main__":
    main()
