"""Models that run a known rule, written without the library, are named after it; mixtures and noisy copies are not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from mesascope.models import Regressor
from mesascope.probes import Findings
from mesascope.probes.icl_algorithm.names import FAMILIES
from mesascope.probes.icl_algorithm.probe import ICLAlgorithm
from mesascope.probes.icl_algorithm.standing import Standing, standing
from torch import Tensor

Answer = Callable[[Tensor, Tensor, Tensor], Tensor]
"""X [task, N, d], y [task, N], query [task, d] -> [task]"""


# -- rules -------------------------------------------------------------------------------------------------------------


def dot(w: Tensor, query: Tensor) -> Tensor:
    return (w * query).sum(dim=-1)


def descend(steps: int, rate: float, momentum: float = 0.0) -> Answer:
    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        w = v = torch.zeros_like(query)
        for _ in range(steps):
            v = momentum * v + rate * torch.einsum("tni,tn->ti", X, y - torch.einsum("tni,ti->tn", X, w)) / X.shape[1]
            w = w + v
        return dot(w, query)

    return answer


def gdpp(steps: int, rate: float, gamma: float) -> Answer:
    """Every token moves, the query's too."""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        n, found = X.shape[1], torch.zeros_like(y[:, 0])
        for _ in range(steps):
            step = rate / n * torch.einsum("tni,tn->ti", X, y)
            found, y = found + dot(step, query), y - torch.einsum("tni,ti->tn", X, step)
            S = X.mT @ X
            X, query = X - gamma * X @ S, query - gamma * torch.einsum("ti,tij->tj", query, S)
        return found

    return answer


def newton(iterations: int, scale: float) -> Answer:
    """In closed form: (I - (I - α S²)^(2^k)) S⁻¹ Xᵀ y."""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        S, eye = X.mT @ X, torch.eye(X.shape[2], dtype=X.dtype)
        left = torch.linalg.matrix_power(eye - scale * S @ S, 2**iterations)
        return dot(((eye - left) @ torch.linalg.solve(S, X.mT @ y[..., None]))[..., 0], query)

    return answer


def conjugate(steps: int) -> Answer:
    """The best w in the space of Xᵀy, S Xᵀy, …"""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        S, b = X.mT @ X, X.mT @ y[..., None]
        space = torch.cat([torch.linalg.matrix_power(S, power) @ b for power in range(steps)], dim=2)
        w = space @ torch.linalg.solve(space.mT @ S @ space, space.mT @ b)
        return dot(w[..., 0], query)

    return answer


def ridge(penalty: float) -> Answer:
    """With the matrix of inner products, N by N."""

    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        inner = X @ X.mT + penalty * torch.eye(X.shape[1], dtype=X.dtype)
        return dot(torch.linalg.solve(inner, y), torch.einsum("tni,ti->tn", X, query))

    return answer


def least_squares(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return dot((torch.linalg.pinv(X) @ y[..., None])[..., 0], query)


def preconditioned(P: Tensor) -> Answer:
    return lambda X, y, query: dot((X.mT @ y[..., None])[..., 0] @ P.to(X.dtype), query)


def rbf_ridge(width: float, penalty: float) -> Answer:
    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        K = torch.exp(-((X[:, :, None] - X[:, None]) ** 2).sum(dim=-1) / (2 * width))
        near = torch.exp(-((X - query[:, None]) ** 2).sum(dim=-1) / (2 * width))
        return dot(torch.linalg.solve(K + penalty * torch.eye(X.shape[1], dtype=X.dtype), y), near)

    return answer


def smoothing(width: float, rate: float) -> Answer:
    return lambda X, y, query: rate * dot(torch.softmax(torch.einsum("tni,ti->tn", X, query) / width, dim=1), y)


def nearest(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    places = ((X - query[:, None]) ** 2).sum(dim=-1).argmin(dim=1, keepdim=True)
    return y.gather(1, places)[:, 0]


def mean(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return y.mean(dim=1)


def last(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return y[:, -1]


def blend(*parts: tuple[float, Answer]) -> Answer:
    return lambda X, y, query: sum((share * one(X, y, query) for share, one in parts), torch.zeros_like(y[:, 0]))


def noisy(answer: Answer, size: float) -> Answer:
    """With a disturbance of that size that follows no rule: the same for the same task."""
    return lambda X, y, query: (
        answer(X, y, query) + size * y.std(dim=1) * torch.sin(400 * X[:, 0, 0] + 300 * query[:, 0])
    )


# -- what is named -----------------------------------------------------------------------------------------------------

P = torch.diag(torch.tensor([0.2, 0.6, 1.5]))
A = torch.tensor([[0.1, 1.0, -0.8], [-1.2, 0.2, 0.5], [0.9, -1.1, 0.3]])


@dataclass(frozen=True)
class Planted:
    """A rule, what it is called in a sentence, and its settings, by measure."""

    name: str
    title: str
    answer: Answer
    settings: Mapping[str, float] = field(default_factory=dict)


NAMED = {
    "1 step": Planted("gd", "1 step of gradient descent", descend(1, 6.0), {"learning_rate": 6}),
    "2 steps": Planted("gd", "2 steps of gradient descent", descend(2, 6.0), {"learning_rate": 6}),
    "8 steps": Planted("gd", "8 steps of gradient descent", descend(8, 4.0), {"learning_rate": 4}),
    "GD++": Planted("gdpp", "2 steps of GD++", gdpp(2, 7.0, 0.25), {"learning_rate": 7, "gamma": 0.25}),
    "ridge": Planted("ridge", "ridge regression", ridge(0.3), {"penalty": 0.3}),
    "least squares": Planted("min_norm", "minimum-norm least squares", least_squares),
    "CG": Planted("cg", "2 steps of conjugate gradients", conjugate(2)),
    "nearest": Planted("nearest_label", "the label of the nearest input", nearest),
    "momentum": Planted(
        "momentum", "4 steps of gradient descent with momentum", descend(4, 4.0, 0.7), {"momentum": 0.7}
    ),
    "Newton": Planted("newton", "2 iterations of Newton's method", newton(2, 0.5), {"initial_scale": 0.5}),
    "preconditioned": Planted("preconditioned", "1 step of preconditioned gradient descent", preconditioned(P)),
    "RBF ridge": Planted(
        "rbf_ridge", "ridge regression with the RBF kernel", rbf_ridge(0.1, 0.1), {"width": 0.1, "penalty": 0.1}
    ),
    "smoothing": Planted(
        "softmax_gd", "1 step of gradient descent with the softmax kernel", smoothing(0.1, 1.0), {"width": 0.1}
    ),
    "mean": Planted("mean_label", "the mean label", mean),
    "last": Planted("last_label", "a copy of the last label", last),
}
PLAIN = {family.name for family in FAMILIES if "kernel" not in family.words}
QUICK = ("1 step", "GD++", "ridge", "least squares", "CG")
UNNAMED: dict[str, Answer] = {
    "GD and least squares": blend((0.5, descend(1, 6.0)), (0.5, least_squares)),
    "least squares, noisy": noisy(least_squares, 0.3),
    "random bilinear": preconditioned(A),
    "ridge and nearest": blend((1.0, ridge(1.0)), (0.5, nearest)),
    "CG and mean": blend((0.7, conjugate(1)), (0.8, mean)),
    "GD, noisy": noisy(descend(2, 6.0), 0.3),
    "no rule": lambda X, y, query: torch.tanh(6 * dot(query, A[0].to(X.dtype))) * y[:, 0] + X[:, 1, 2],
}


def some(cases: Iterable[str], quick: tuple[str, ...]) -> list[Any]:
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in cases]


def order_of(findings: Findings) -> Standing:
    order = standing(findings.measures)
    assert order is not None
    return order


@pytest.mark.parametrize("kind", some(NAMED, QUICK))
def test_a_rule_is_named(kind: str, measured: Callable[..., Findings], planted: Callable[..., Regressor]) -> None:
    one = NAMED[kind]
    findings = measured(planted(one.answer), {*PLAIN, "rbf_ridge", one.name})
    order = order_of(findings)
    assert (order.verdict, order.winner) == ("agrees", one.name)
    assert order.unexplained(order.winner).value < 1e-4
    claim = ICLAlgorithm().claim(findings.measures, ())
    assert claim.badge == f"Agrees with {one.title}, less than 0.1 % unexplained"
    assert claim.found.startswith(f"The model agrees with {one.title}, leaving less than 0.1 % unexplained.")
    for setting, value in one.settings.items():
        assert findings.measures[setting].sel(candidate=one.name).estimate == pytest.approx(value, rel=1e-3), setting
    assert ("gd" in order.equals) == (one.name == "gd")
    assert order.at_limit("ridge") == (one.name == "min_norm")


@pytest.mark.parametrize("kind", some(UNNAMED, ("GD and least squares", "least squares, noisy", "random bilinear")))
def test_what_follows_no_rule_is_named_after_none(
    kind: str, measured: Callable[..., Findings], planted: Callable[..., Regressor]
) -> None:
    findings = measured(planted(UNNAMED[kind]), {*PLAIN, "rbf_ridge"})
    assert order_of(findings).verdict in ("none", "closest", "between", "not separated")
    assert "agrees" not in ICLAlgorithm().claim(findings.measures, ()).found


def test_what_has_run_to_its_limit_is_called_by_it(
    measured: Callable[..., Findings], planted: Callable[..., Regressor]
) -> None:
    """After 300 steps gradient descent has arrived at least squares."""
    order = order_of(measured(planted(descend(300, 6.0)), ("gd", "ridge", "min_norm", "cg", "zero")))
    assert (order.verdict, order.winner) == ("agrees", "min_norm")


@pytest.mark.slow
@pytest.mark.parametrize(("d", "n_context"), [(5, 3), (2, 12), (6, 6)])
@pytest.mark.parametrize("kind", ["1 step", "8 steps", "least squares", "ridge", "CG"])
def test_a_rule_is_named_in_other_sizes(
    kind: str, d: int, n_context: int, measured: Callable[..., Findings], planted: Callable[..., Regressor]
) -> None:
    """With fewer pairs than inputs, too. In two dimensions two steps of conjugate gradients are least squares."""
    order = order_of(measured(planted(NAMED[kind].answer, d), n_context=n_context))
    assert order.verdict == "agrees"
    assert NAMED[kind].name in (order.winner, *order.alike)
    assert (order.winner == "min_norm") == (kind == "least squares" or (kind, d) == ("CG", 2))
