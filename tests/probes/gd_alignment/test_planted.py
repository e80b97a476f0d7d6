"""Planted algorithms of graded strength: the verdict is the right one, and untrained models agree with nothing.

What is right is known from NumPy alone: each candidate's share of unexplained prediction on other tasks of the same
law, at the setting that fits best there. The words are those of the end of the interval that is against them, so near a
limit the words on the safe side are right, too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pytest
import torch
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    Regressor,
    TokenLayout,
    from_predictor,
    from_transformer,
)
from mesascope.probes import GDAlignment
from scipy import stats
from scipy.optimize import minimize, minimize_scalar
from torch import Tensor

pytestmark = pytest.mark.usefixtures("few_shifts")
Rule = Callable[[Tensor], Tensor]  # [task, token, feature] -> [task, 1]
Answers = np.ndarray  # [task]
Verdict = tuple[str, ...]  # what is said, and the candidates that are named
Cell = tuple[str, float, Verdict, float, bool]  # planted, strength of what is mixed in, verdict, true share, right

SIZES = ((3, 12), (5, 20), (10, 10))
"""d_in and the number of context pairs."""
TASKS = 500
POPULATION = 2_000
STEPS = (*range(1, 9), 10, 11, 12, 13, 16, 32, 64)
GRADES = (0.07, 0.2, 0.4)
AGREES, NOTHING, ROUNDING = 0.10, 0.50, 0.0005
WIDTH = 2 * stats.norm.ppf(0.975)
"""Of a 95 % interval, in standard errors."""


# ---- the truth: tasks and candidates in NumPy ----


@dataclass
class Tasks:
    """Linear regression: x ~ U(-1/2, 1/2), teachers ~ N(0, 1); the last token is the query, whose y slot is 0.

    curved:  numbers of layers of GD++ that are candidates
    """

    d: int
    N: int
    curved: tuple[int, ...] = (2, 3, 4)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.d)
        x = rng.uniform(-0.5, 0.5, size=(POPULATION, self.N + 1, self.d))
        y = np.einsum("tnd,td->tn", x, rng.normal(size=(POPULATION, self.d)))
        self.tokens = np.concatenate([x, np.where(np.arange(self.N + 1) < self.N, y, 0)[..., None]], axis=2)
        self.labels = y[:, -1]

    @cached_property
    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues of each X^T X, and the products of the query's and X^T y's coordinates in its eigenvectors."""
        X, Y, query = self.tokens[:, :-1, : self.d], self.tokens[:, :-1, self.d], self.tokens[:, -1, : self.d]
        values, V = np.linalg.eigh(X.transpose(0, 2, 1) @ X)
        return np.maximum(values, 1e-13), np.einsum("tdk,td->tk", V, query) * np.einsum("tdk,tnd,tn->tk", V, X, Y)

    def descent(self, steps: int, rate: float) -> Answers:
        values, product = self.axes
        return (product * (1 - (1 - rate / self.N * values) ** steps) / values).sum(axis=1)

    def ridge(self, penalty: float) -> Answers:
        values, product = self.axes
        return (product / (values + penalty)).sum(axis=1)

    def curve(self, layers: int, rate: float, gamma: float) -> Answers:
        """GD++."""
        h, d = self.tokens, self.d
        for _ in range(layers):
            overlaps = h[..., :d] @ h[:, :-1, :d].transpose(0, 2, 1)
            update = np.concatenate([gamma * h[:, :-1, :d], rate / self.N * h[:, :-1, d:]], axis=2)
            h = h - overlaps @ update
        return -h[:, -1, d]

    @cached_property
    def trained(self) -> dict[str, tuple[float, ...]]:
        """Settings with the lowest loss: what training would find."""
        rates = {k: closest(lambda rate, k=k: self.descent(k, rate), self.labels, 1e-2, 1e2) for k in (1, 2, 3, 5, 12)}
        curved = {f"gdpp_{k}": self._curved_best(k) for k in self.curved}
        return {f"gd_{k}": (rate,) for k, rate in rates.items()} | curved

    def _curved_best(self, layers: int) -> tuple[float, float]:
        start = closest(lambda rate: self.curve(layers, rate, rate / self.N**2), self.labels, 1e-2, 1e2)

        def loss(factors: np.ndarray) -> float:
            return squared(self.curve(layers, factors[0] * start, factors[1] * start / self.N**2), self.labels)

        found = minimize(loss, np.ones(2), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-10}).x  # no slopes
        return float(found[0] * start), float(found[1] * start / self.N**2)


def squared(a: Answers, b: Answers) -> float:
    with np.errstate(all="ignore"):
        mean = float(np.mean((a - b) ** 2))
    return mean if np.isfinite(mean) else 1e300


def closest(family: Callable[[float], Answers], goal: Answers, low: float, high: float) -> float:
    """The setting at which a family's answers are nearest to the goal in mean squared difference."""

    def distance(log_setting: float) -> float:
        with np.errstate(all="ignore"):
            return squared(family(float(np.exp(log_setting))), goal)

    grid = np.linspace(np.log(low), np.log(high), 40)
    best = int(np.argmin([distance(x) for x in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, 39)])
    return float(np.exp(minimize_scalar(distance, bounds=bounds, method="bounded", options={"xatol": 1e-7}).x))


class Truth:
    """How much of a model's predictions every candidate leaves, and what an interval over `TASKS` tasks can tell."""

    def __init__(self, tasks: Tasks, answers: Answers) -> None:
        self.tasks, self.answers = tasks, answers
        self.own = np.abs(answers - np.median(answers))
        self.varies = bool(self.own.mean() > 1e-9)
        self.gaps = {name: self._gap(name) for name in self._names()} if self.varies else {}
        self.best = min(self.gaps, key=self.share, default="")

    def _names(self) -> list[str]:
        curved = (f"gdpp_{k}" for k in self.tasks.curved)
        return ["zero", "mean_label", "min_norm", "ridge", *(f"gd_{k}" for k in STEPS), *curved]

    def _gap(self, name: str) -> np.ndarray:
        tasks, kind, count = self.tasks, *re.fullmatch(r"([a-z_]+?)(?:_(\d+))?", name).groups()  # type: ignore[union-attr]
        if kind == "gd":
            rate = closest(lambda r: tasks.descent(int(count), r), self.answers, 1e-3, 1e3)
            found = tasks.descent(int(count), rate)
        elif kind == "gdpp":
            found = tasks.curve(int(count), *tasks.trained[name])
        elif kind == "ridge":
            found = tasks.ridge(closest(tasks.ridge, self.answers, 1e-7, 1e5))
        else:
            fixed = {"zero": 0.0, "mean_label": tasks.tokens[:, :-1, -1].mean(axis=1), "min_norm": tasks.ridge(0.0)}
            found = fixed[name]
        return np.abs(self.answers - found)

    def share(self, name: str) -> float:
        if name not in self.gaps:
            self.gaps[name] = self._gap(name)
        return float(self.gaps[name].mean() / self.own.mean())

    def width(self, name: str) -> float:
        """Of the interval of a share."""
        deviation = np.std(self.gaps[name] - self.share(name) * self.own) / self.own.mean()
        return float(WIDTH * deviation / np.sqrt(TASKS)) + ROUNDING

    def inseparable(self, one: str, other: str) -> bool:
        """Whether the difference of two shares is within its interval."""
        apart = abs(self.share(one) - self.share(other))
        deviation = np.std(self.gaps[one] - self.gaps[other]) / self.own.mean()
        return apart <= WIDTH * deviation / np.sqrt(TASKS) + ROUNDING

    def allows(self, verdict: Verdict) -> bool:
        called, *names = verdict
        if not self.varies or called == "constant":
            return not self.varies and called == "constant"
        left = self.share(names[0])
        if not self.inseparable(names[0], self.best):
            return False
        if called == "agrees":
            return left <= AGREES
        if called == "none":
            return left > NOTHING
        in_part = left <= NOTHING + self.width(names[0])
        if called == "not separated":
            return in_part and self.inseparable(names[0], names[1])
        return in_part and left > AGREES - self.width(names[0])


# ---- what is planted ----


def parts(tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return tokens[:, :-1, :-1], tokens[:, :-1, -1:], tokens[:, -1:, :-1]


def descent(steps: int, rate: float) -> Rule:
    def predict(tokens: Tensor) -> Tensor:
        X, Y, query = parts(tokens)
        w = torch.zeros(len(tokens), X.shape[2], 1, dtype=tokens.dtype)
        for _ in range(steps):
            w = w - rate / X.shape[1] * X.mT @ (X @ w - Y)
        return (query @ w)[:, 0]

    return predict


def curved(layers: int, rate: float, gamma: float) -> Rule:
    def predict(tokens: Tensor) -> Tensor:
        h = tokens
        for _ in range(layers):
            scores, factor = h[..., :-1] @ h[:, :-1, :-1].mT, rate / (tokens.shape[1] - 1)
            h = h - torch.cat([gamma * scores @ h[:, :-1, :-1], factor * scores @ h[:, :-1, -1:]], dim=2)
        return -h[:, -1, -1:]

    return predict


def ridge(penalty: float) -> Rule:
    def predict(tokens: Tensor) -> Tensor:
        X, Y, query = parts(tokens)
        return (query @ torch.linalg.solve(X.mT @ X + penalty * torch.eye(X.shape[2], dtype=X.dtype), X.mT @ Y))[:, 0]

    return predict


def nearest_neighbour(tokens: Tensor) -> Tensor:
    X, Y, query = parts(tokens)
    return Y[torch.arange(len(tokens)), (X - query).square().sum(dim=2).argmin(dim=1)] + 0 * query[:, 0, :1]


def kernel_regression(tokens: Tensor) -> Tensor:
    X, Y, query = parts(tokens)
    weights = torch.softmax(-(X - query).square().sum(dim=2) / (0.08 * X.shape[2]), dim=1)
    return (weights[..., None] * Y).sum(dim=1)


def random_function(tokens: Tensor, widths: tuple[int, ...] = (64, 1)) -> Tensor:
    """A fixed function of all numbers of a task, in which x and y have no roles: layers of sines."""
    rng, h = torch.Generator().manual_seed(5), tokens.flatten(1)
    for width in widths:
        W = torch.randn(h.shape[1], width, generator=rng, dtype=torch.float64).to(h.dtype)
        h = torch.sin(4 * h @ W / h.shape[1] ** 0.5 + 1)
    return h


NO_CANDIDATES: dict[str, Rule] = {
    "nearest neighbour": nearest_neighbour,
    "kernel regression": kernel_regression,
    "a random function": random_function,
    "a random network": lambda tokens: random_function(tokens, (32, 32, 1)),
}


def rules(tasks: Tasks) -> dict[str, Rule]:
    """The candidates that are planted."""
    found: dict[str, Rule] = {}
    for name, settings in tasks.trained.items():
        kind, count = name.split("_")
        found[name] = (descent if kind == "gd" else curved)(int(count), *settings)
    found |= {f"ridge {share:g}": ridge(share * tasks.N / 12) for share in (0.01, 0.1, 1.0)}
    found |= {"min_norm": ridge(0.0), "mean_label": lambda tokens: tokens[:, :-1, -1:].mean(dim=1)}
    return found | {"zero": lambda tokens: 0 * tokens[:, -1, :1]}


def mixed(rule: Rule, other: Rule, strength: float, tasks: Tasks) -> Rule:
    """(1 - a) of a rule and a of another one, of which the predictions deviate as much from their median."""
    tokens = torch.from_numpy(tasks.tokens)
    own, others = (float((p - p.median()).abs().mean()) for p in (rule(tokens), other(tokens)))
    scale = own / others if own > 0 else 1.0
    return lambda tokens: (1 - strength) * rule(tokens) + strength * scale * other(tokens)


def planted_predictors(tasks: Tasks) -> Iterator[tuple[str, float, Rule]]:
    for name, rule in rules(tasks).items():
        yield name, 0.0, rule
        yield name, 0.2, mixed(rule, kernel_regression, 0.2, tasks)
        for strength in GRADES:
            yield name, strength, mixed(rule, random_function, strength, tasks)
    for name, rule in NO_CANDIDATES.items():
        yield name, 0.0, rule


def planted_transformer(tasks: Tasks, name: str, strength: float) -> RegressionTransformer:
    """Gradient descent or GD++ in one head, and a random head beside it."""
    rate, gamma = (*tasks.trained[name], 0.0)[:2]
    width, rng = tasks.d + 1, torch.Generator().manual_seed(3)
    is_x = 1 - torch.eye(width, dtype=torch.float64)[-1]
    W_O = torch.diag(-gamma * is_x - rate / tasks.N * (1 - is_x))
    noise = [torch.randn(width, width, generator=rng, dtype=torch.float64) / width**0.5 for _ in range(2)]
    heads = torch.stack([torch.diag(is_x), noise[0]]), torch.stack([W_O, strength * rate / tasks.N * noise[1]])
    config = RegressionConfig(tasks.d, n_layers=int(name[-1]), n_heads=2, d_head=width)
    return RegressionTransformer.from_products(config, *(held[None] for held in heads))


def answers_of(model: RegressionTransformer, tokens: np.ndarray) -> Answers:
    """The tied transformer once more: h <- h + Σ_heads (h KQ c^T) c PV with the context c, layer by layer."""
    h = tokens
    weights = {name: held.numpy() for name, held in model.named_parameters()}
    for _ in range(model.config.n_layers):
        c, update = h[:, :-1], np.zeros_like(h)
        for q, k, v, o in zip(*(weights[name][0] for name in ("W_Q", "W_K", "W_V", "W_O")), strict=True):
            update = update + (h @ q) @ (c @ k).transpose(0, 2, 1) @ (c @ v) @ o
        h = h + update
    return -h[:, -1, -1]


# ---- what is called ----

SENTENCES = (
    (r"The model agrees with (.+?)(?: \(most tried\))?(?:, which ignores the query: it leaves|, leaving) .*", "agrees"),
    (r"Closest: (.+?)(?: \(most tried\))?(?:, which ignores the query)?, but it leaves .*", "closest"),
    (r"No candidate explains the model: (?:even|none is closer than) (.+?) (?:leaves|\(prediction) .*", "none"),
    (r"These tasks do not separate (.+) from (.+) \(.*", "not separated"),
    (r"The model's predictions do not vary between these tasks, .*", "constant"),
)


def verdict(subject: Regressor, tasks: Tasks) -> Verdict:
    """What the whole probe says."""
    probe = GDAlignment(limit=TASKS, n_context=tasks.N, twins="auto" if tasks.curved else "gd")
    measures = probe.measure(subject, 0, 1024).measures
    found = probe.claim(measures, (subject.source,)).found.removeprefix("Sign turned. ")
    (match, called) = next((match, called) for words, called in SENTENCES if (match := re.fullmatch(words, found)))
    return called, *(candidate(title, int(measures["constructed_steps"].estimate)) for title in match.groups())


def candidate(title: str, layers: int) -> str:
    """The name that the truth has for it."""
    if counted := re.fullmatch(r"(\d+) steps? of gradient descent", title):
        return f"gd_{counted[1]}"
    titles = {"ridge regression": "ridge", "minimum-norm least squares": "min_norm", "the mean label": "mean_label"}
    titles |= {
        "the zero predictor": "zero",
        "constructed gradient descent": f"gd_{layers}",
        "constructed GD++": f"gdpp_{layers}",
    }
    return titles[title]


def of_predictor(tasks: Tasks, name: str, strength: float, rule: Rule) -> Cell:
    answers = rule(torch.from_numpy(tasks.tokens))[:, 0].numpy()
    return cell(tasks, name, strength, answers, from_predictor(rule, TokenLayout(tasks.d, order="joint")))


def of_transformer(tasks: Tasks, name: str, strength: float, model: RegressionTransformer) -> Cell:
    return cell(tasks, f"transformer of {name}", strength, answers_of(model, tasks.tokens), from_transformer(model))


def cell(tasks: Tasks, name: str, strength: float, answers: Answers, subject: Regressor) -> Cell:
    truth, said = Truth(tasks, answers), verdict(subject, tasks)
    return name, strength, said, truth.share(truth.best) if truth.varies else np.nan, truth.allows(said)


# ---- planted algorithms ----


def matrix(cells: list[Cell]) -> str:
    """Cells by the share that the closest candidate truly leaves, and by what is called; and those that are wrong."""
    bounds = (0.0, ROUNDING, 0.05, 0.1, 0.2, 0.5, 1e9)
    called = ("agrees", "not separated", "closest", "none", "constant")
    found: Counter[tuple[int, str]] = Counter()
    for _, _, said, share, _ in cells:
        found[-1 if np.isnan(share) else int(np.searchsorted(bounds, share)), said[0]] += 1
    rows = [
        f"{'constant' if row < 0 else f'up to {bounds[row]:g}':12}" + "".join(f"{found[row, c]:15}" for c in called)
        for row in (-1, *range(1, len(bounds)))
    ]
    wrong = [f"wrong: {cell[:4]}" for cell in cells if not cell[-1]]
    return "\n".join([" " * 12 + "".join(f"{c:>15}" for c in called), *rows, *wrong])


FEW = (
    ("gd_1", 0.05, ("agrees", "gd_1")),
    ("gd_5", 0.0, ("agrees", "gd_5")),
    ("ridge 0.1", 0.5, ("none", "ridge")),
    ("mean_label", 0.2, ("closest", "mean_label")),
)


@pytest.mark.parametrize(("name", "strength", "expected"), FEW, ids=[f"{name}, {a}" for name, a, _ in FEW])
def test_planted_algorithms_are_called_what_they_are(name: str, strength: float, expected: Verdict) -> None:
    tasks = Tasks(3, 12, curved=())
    rule = mixed(rules(tasks)[name], random_function, strength, tasks)
    *_, said, _, right = of_predictor(tasks, name, strength, rule)
    assert (said, right) == (expected, True)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_at_least_95_percent_of_planted_algorithms_are_called_what_they_are(size: tuple[int, int]) -> None:
    tasks = Tasks(*size)
    cells = [of_predictor(tasks, *planted) for planted in planted_predictors(tasks)]
    transformers = product(("gd_1", "gd_2", "gd_3", "gdpp_2", "gdpp_3"), (0.0, 0.2))
    cells += [of_transformer(tasks, name, a, planted_transformer(tasks, name, a)) for name, a in transformers]
    right = sum(right for *_, right in cells) / len(cells)
    print(f"\n{size}: {right:.1%} of {len(cells)} are right", matrix(cells), sep="\n")
    assert right >= 0.95
