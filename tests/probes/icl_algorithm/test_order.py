"""What the order of pairs changes: the formula by loops, the bound it is, and models with and without an order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from mesascope.models import RegressionTransformer, Regressor, from_transformer, gdpp_transformer
from mesascope.probes import Findings, ICLAlgorithm
from mesascope.probes.icl_algorithm.order import ORDERS, order_answers, order_share
from torch import Tensor

Planted = Callable[..., Regressor]
Measured = Callable[..., Findings]
D, N = 3, 8


def share_of(subject: Regressor, n: int = 200) -> float:
    probe = ICLAlgorithm(limit=n, n_context=N)
    return order_share(order_answers(probe.examined(subject, 0, 64)), 0).estimate


def masked(causal: bool) -> Regressor:
    steps = gdpp_transformer(N, [7.0], [0.25], D, n_layers=2)
    return from_transformer(RegressionTransformer(replace(steps.config, causal=causal), dict(steps.named_parameters())))


def ordered(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    """Half of the first label, and half of what a step of gradient descent says."""
    return 0.5 * y[:, 0] + 0.5 * torch.einsum("tn,tni,ti->t", y, X, query)


@pytest.mark.parametrize("d_out", [1, 2])
def test_values_and_intervals_by_loops(d_out: int) -> None:
    answers = torch.randn(5, 40, d_out, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = answers.numpy()

    centre = np.median(p[0], axis=0)
    own = np.array([np.linalg.norm(p[0, t] - centre) for t in range(40)])
    apart = np.array([
        np.mean([sum(abs(p[k, t, c] - np.median(p[:, t, c])) for c in range(d_out)) for k in range(5)])
        for t in range(40)
    ])  # fmt: skip

    def share(tasks: np.ndarray) -> float:
        return float(apart[tasks].sum() / np.sqrt(d_out) / own[tasks].sum())

    found, rng = order_share(answers, seed=0), np.random.default_rng(1)
    assert found.estimate == pytest.approx(share(np.arange(40)), rel=1e-12)
    ends = np.percentile([share(rng.integers(0, 40, 40)) for _ in range(500)], [2.5, 97.5])
    np.testing.assert_allclose(found.interval, ends, atol=0.15 * (ends[1] - ends[0]))
    assert (found.n, found.replicate) == (40, "task")


@pytest.mark.parametrize("d_out", [1, 3])
def test_no_answer_without_an_order_is_nearer(d_out: int) -> None:
    """All orders of one task, and any constant answer: the mean answer, medians, random ones."""
    rng = np.random.default_rng(2)
    of_order = rng.normal(size=(24, 1, d_out))  # as 4 pairs have orders
    assert len(list(permutations(range(4)))) == len(of_order)
    answers = np.concatenate([of_order, of_order + 10], axis=1)  # two tasks, so that answers vary
    bound = (
        order_share(torch.from_numpy(answers), 0).estimate
        * np.linalg.norm(answers[0] - np.median(answers[0], axis=0), axis=1).mean()
    )
    fixed = [of_order.mean(axis=0), np.median(of_order, axis=0), *rng.normal(size=(50, 1, d_out))]
    nearest = min(np.linalg.norm(of_order - r, axis=2).mean() for r in fixed)
    assert bound <= nearest + 1e-12
    assert d_out > 1 or bound == pytest.approx(nearest, rel=1e-12)


def test_only_models_with_an_order_have_some(planted: Planted) -> None:
    assert ORDERS == 4, "as the definition says"
    assert share_of(masked(causal=False)) < 1e-12
    assert share_of(masked(causal=True)) > 0.01
    assert share_of(planted(ordered)) > 0.05
    assert share_of(planted(lambda X, y, query: y.mean(dim=1))) < 1e-6


def test_every_rule_without_an_order_leaves_as_much(planted: Planted, measured: Measured) -> None:
    for subject in (planted(ordered), masked(causal=True)):
        found = measured(subject, ("gd", "gdpp", "ridge", "preconditioned", "mean_label", "last_label"), n=300).measures
        least = found["order_share"]
        shares = found["unexplained_share"]
        for rule in shares.labels("candidate"):
            assert rule == "last_label" or shares.sel(candidate=rule).interval[1] >= least.interval[0], rule
    last = measured(planted(lambda X, y, query: y[:, -1]), ("gd", "last_label", "mean_label")).measures
    assert last["order_share"].estimate > 0.3
    assert last["unexplained_share"].sel(candidate="last_label").estimate < 1e-6


def test_answers_that_are_not_finite_or_the_same_have_none() -> None:
    same = torch.ones(4, 9, 1, dtype=torch.float64)
    assert order_share(same, 0).message == "the model's predictions do not vary between these tasks"
    assert order_share(same.index_fill(1, torch.tensor(2), torch.inf), 0).message == "a prediction is not finite"


def test_the_sign_does_not_matter(planted: Planted) -> None:
    negative = planted(lambda X, y, query: -ordered(X, y, query))
    assert share_of(negative) == pytest.approx(share_of(planted(ordered)), rel=1e-12)
