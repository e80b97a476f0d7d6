"""The named algorithms of in-context regression, beside their definitions written out in NumPy."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from jaxtyping import Float
from scipy.special import softmax
from torch import Tensor

from ...models.constructed.gradient_descent import gd_transformer
from ...probes.algorithms import conjugate, filtered, kernels, named
from ...probes.algorithms.contexts import Contexts
from ...probes.algorithms.families import Family, Fitted
from ...probes.algorithms.fitting import given
from ...probes.algorithms.spectrum import decompose
from ...probes.algorithms.task_sets import VARIANCE, TaskSet
from .agreement import Agreement, Check, same, same_mean
from .exact_means import every_value
from .sources import AKYUREK, CHENG, FU, HESTENES, LO_GERFO, MUIRHEAD, RAVENTOS, VON_OSWALD
from .wishart import descent_risk

Array = Float[np.ndarray, "..."]
N, D, LABELS = 9, 5, 2


def tasks(n: int = N, d: int = D, labels: int = LABELS, seed: int = 0) -> tuple[Contexts, Array, Array]:
    """A few contexts, and their X [task, n, d] and Y [task, n, labels]."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(6, n + 1, d + labels))
    return Contexts.of(torch.from_numpy(tokens), d), tokens[:, :-1, :d], tokens[:, :-1, d:]


def learned(family: Family, contexts: Contexts, steps: int = 0, **settings: float) -> Array:
    """The weights that an algorithm of mesascope learns, as columns [task, d, labels]."""
    values = {name.replace("_", " "): given(value) for name, value in settings.items()}
    return family.weights(contexts, Fitted(steps, values)).mT.numpy()


def minimum_norm(_: torch.device) -> Iterator[Agreement]:
    """Without noise the n < d directions of a context are found, and no more. With Y = X labels are of all teachers."""
    for n, d in ((5, 20), (10, 20), (19, 20)):
        X = torch.from_numpy(tasks(n + 1, d)[1])
        weights = named.MINIMUM_NORM.weights(decompose(torch.cat([X, X], dim=2), d))
        lost = (torch.eye(d, dtype=torch.float64) - weights).square().sum(dim=(1, 2))
        yield same(lost, torch.full_like(lost, d - n))


def descent(_: torch.device) -> Iterator[Agreement]:
    """w ← w - η/N (XᵀX w - Xᵀy), and the same with momentum."""
    contexts, X, Y = tasks()
    for steps in (1, 2, 16, 256):
        yield same(learned(filtered.GRADIENT_DESCENT, contexts, steps, learning_rate=0.4), _descent(X, Y, steps, 0.4))
        ours = learned(filtered.MOMENTUM_DESCENT, contexts, steps, learning_rate=0.2, momentum=0.7)
        yield same(ours, _descent(X, Y, steps, 0.2, 0.7))


def _descent(X: Array, Y: Array, steps: int, rate: float, momentum: float = 0.0) -> Array:
    w = v = np.zeros((len(X), X.shape[2], Y.shape[2]))
    for _ in range(steps):
        v = momentum * v - rate / X.shape[1] * X.mT @ (X @ w - Y)
        w = w + v
    return w


def gdpp(_: torch.device) -> Iterator[Agreement]:
    """Each layer takes a step on inputs that the layers before have curved, x ← (I - γ XᵀX) x."""
    contexts, X, Y = tasks()
    for layers in (1, 2, 3, 6):
        w, curved, left, carried = np.zeros((len(X), D, LABELS)), X, Y, np.broadcast_to(np.eye(D), (len(X), D, D))
        for _layer in range(layers):
            update = 0.3 / N * curved.mT @ left
            w, left = w + carried @ update, left - curved @ update
            turn = np.eye(D) - 0.02 * curved.mT @ curved
            curved, carried = curved @ turn, carried @ turn
        yield same(learned(filtered.GDPP, contexts, layers, learning_rate=0.3, gamma=0.02), w)


def newton(_: torch.device) -> Iterator[Agreement]:
    """M ← 2M - M S M from α S with S = XᵀX, and M S = I - (I - α S²)^(2^k)."""
    contexts, X, Y = tasks()
    S, eye = X.mT @ X, np.eye(D)
    scale = 1 / float(np.linalg.norm(S, axis=(1, 2)).max()) ** 2
    M = scale * S
    for k in range(1, 9):
        M = 2 * M - M @ S @ M
        ours = learned(filtered.NEWTON, contexts, k, initial_scale=scale)
        yield same(ours, M @ X.mT @ Y)
        solved = eye - np.linalg.matrix_power(eye - scale * S @ S, 2**k)
        yield same(ours, solved @ np.linalg.solve(S, X.mT @ Y))


def regularised(_: torch.device) -> Iterator[Agreement]:
    """Ridge regression: the mean of the posterior with prior w ~ N(0, I) and noise variance λ."""
    contexts, X, Y = tasks()
    for penalty in (0.01, 1.0, 30.0):
        covariance = X @ X.mT + penalty * np.eye(N)
        yield same(learned(filtered.RIDGE, contexts, penalty=penalty), X.mT @ np.linalg.solve(covariance, Y))


def conjugate_gradients(_: torch.device) -> Iterator[Agreement]:
    """After as many steps as there are directions: least squares."""
    for n, d in ((N, D), (20, 8), (4, 7)):
        contexts, X, Y = tasks(n, d)
        solved = np.stack([np.linalg.lstsq(x, y, rcond=None)[0] for x, y in zip(X, Y, strict=True)])
        yield same(learned(conjugate.CONJUGATE_GRADIENTS, contexts, min(n, d)), solved)
        yield same(learned(filtered.LEAST_SQUARES, contexts), solved)


def linear_kernel(_: torch.device) -> Iterator[Agreement]:
    """With K = X Xᵀ functional gradient descent is gradient descent, and kernel ridge is ridge regression."""
    contexts, X, Y = tasks()
    K, labels = torch.from_numpy(X @ X.mT), torch.from_numpy(Y)
    for steps in (1, 4, 40):
        counted = kernels.descent(K, labels, 0.4 / N, steps).numpy()
        yield same(X.mT @ counted, learned(filtered.GRADIENT_DESCENT, contexts, steps, learning_rate=0.4))
        yield same(X.mT @ counted, _descent(X, Y, steps, 0.4))
    yield same(X.mT @ kernels.ridge(K, labels, 0.7, 0).numpy(), learned(filtered.RIDGE, contexts, penalty=0.7))


def finite_task_set(_: torch.device) -> Iterator[Agreement]:
    """Bayes' answer where the task is one of eleven."""
    contexts, X, Y = tasks()
    members = np.random.default_rng(1).normal(size=(11, LABELS, D))
    for variance in (0.5, 4.0):
        squares = ((Y[:, None] - np.einsum("mod,tnd->tmno", members, X)) ** 2).sum(axis=(2, 3))
        mixed = np.einsum("tm,mod->tod", softmax(-squares / (2 * variance), axis=1), members)
        answers = np.einsum("tod,td->to", mixed, contexts.query.numpy())
        family = TaskSet("task_set", "", "", tasks=torch.from_numpy(members))
        yield same(family.predict(contexts, Fitted(0, {VARIANCE: given(variance)})), answers)


def exact_risk(device: torch.device) -> Iterator[Agreement]:
    """Constructed layers run on every context of a small law, beside moments of XᵀX in whole numbers."""
    contexts, weight = every_value(6, 5, "normal")
    X = contexts.unflatten(1, (3, 2))
    axes = torch.eye(2, dtype=torch.float64).expand(len(X), 2, 2).unbind(1)
    lost = torch.stack([_lost(X, axis, 2, Fraction(3, 4), device) for axis in axes]).sum(dim=0) @ weight
    yield same(lost, np.array([float(descent_risk(steps, Fraction(3, 4), 2, 3)) for steps in (1, 2)]))


def drawn_risk(device: torch.device) -> Iterator[Agreement]:
    """The same on drawn contexts, d = 20, N = 41."""
    drawn = torch.randn(1_000, 42, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lost = _lost(drawn[:, :-1], drawn[:, -1], 16, Fraction(1, 10), device)
    for steps in (1, 2, 4, 8, 16):
        yield same_mean(lost[steps - 1], float(descent_risk(steps, Fraction(1, 10), 20, 41)))


def _lost(
    X: Float[Tensor, "task n d"], query: Float[Tensor, "task d"], layers: int, rate: Fraction, device: torch.device
) -> Float[Tensor, "layer task"]:
    """Squared errors after each layer, over all teachers at once: labels Y = X."""
    d, last = X.shape[2], torch.cat([query, torch.zeros_like(query)], dim=1)[:, None]
    module = gd_transformer(X.shape[1], float(rate), d, d, layers).to(device)
    answers = module.predict_layers(torch.cat([X.repeat(1, 1, 2), last], dim=1).to(device)).cpu()
    return (answers - query).square().sum(dim=2)


CHECKS = (
    Check("minimum norm", "loss of least squares, n < d", "d - n", AKYUREK, minimum_norm),
    Check("descent", "filters of GD and momentum", "a loop over steps", LO_GERFO, descent),
    Check("GD++", "its filter", "a loop over layers", VON_OSWALD, gdpp),
    Check("Newton", "its filter", "M ← 2M - MSM", FU, newton),
    Check("ridge", "its filter", "mean of the posterior", AKYUREK, regularised),
    Check("conjugate gradients", "d steps", "least squares", HESTENES, conjugate_gradients),
    Check("linear kernel", "kernel GD and kernel ridge", "GD and ridge", CHENG, linear_kernel),
    Check("finite task set", "Bayes' answer", "a sum over the tasks", RAVENTOS, finite_task_set),
    Check("risk of descent", "GD layers on every context", "moments of XᵀX", MUIRHEAD, exact_risk),
    Check("risk on drawn tasks", "GD layers, d = 20, N = 41", "moments of XᵀX", MUIRHEAD, drawn_risk),
)
