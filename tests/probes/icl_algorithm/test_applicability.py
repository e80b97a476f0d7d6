"""What cannot be measured, or only in part, says why; and tasks of odd shapes are measured all the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.data.errors import TaskError, UsageError
from mesascope.models import NotApplicable, Regressor, from_transformer, gd_transformer
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import Findings, ICLAlgorithm
from mesascope.probes.icl_algorithm.standing import standing
from torch import Tensor

Measured = Callable[..., Findings]
Planted = Callable[..., Regressor]
D, N = 3, 8
RULES = ("gd", "preconditioned", "cg", "ridge", "min_norm", "mean_label")


def step(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return 0.5 * torch.einsum("tni,tn,ti->t", X, y, query)


def verdict(findings: Findings) -> tuple[str, str]:
    order = standing(findings.measures)
    assert order is not None
    return order.verdict, order.winner


@pytest.fixture
def tasks_file(tmp_path: Path) -> Callable[..., str]:
    def written(n: int, d: int = D, change: Callable[[Tensor], None] = lambda inputs: None) -> str:
        batch = LinearRegression(n_context=N, d_in=d).sample(n, 0)
        change(batch.inputs)
        np.savez(tmp_path / "own.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
        return str(tmp_path / "own.npz")

    return written


# -- tasks -------------------------------------------------------------------------------------------------------------


def test_twenty_tasks_are_enough(tasks_file: Callable[..., str], planted: Planted, measured: Measured) -> None:
    assert verdict(measured(planted(step), RULES, n=20, tasks=tasks_file(20))) == ("agrees", "gd")


@pytest.mark.parametrize(("shape", "message"), [
    ((5, 4), r"weights have shape \[5, 4\]; expected \[member, 1, 3\] or \[member, 3\]"),
    ((5, 2, 3), r"weights have shape \[5, 2, 3\]; expected \[member, 1, 3\] or \[member, 3\]"),
    ((3,), r"weights have shape \[3\]"),
    ((0, 3), r"weights have shape \[0, 3\]"),
])  # fmt: skip
def test_a_task_set_of_another_shape(shape: tuple[int, ...], message: str, planted: Planted, tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", weights=np.ones(shape))
    with pytest.raises(TaskError, match=f"set.npz: {message}"):
        ICLAlgorithm(limit=20, n_context=N, task_set=str(tmp_path / "set.npz")).measure(planted(step), 0, 64)


def test_a_file_without_a_task_set(planted: Planted, tasks_file: Callable[..., str]) -> None:
    with pytest.raises(TaskError, match="lacks"):
        ICLAlgorithm(limit=20, n_context=N, task_set=tasks_file(20)).measure(planted(step), 0, 64)


@pytest.mark.parametrize("shape", [(4, D), (4, 1, D)])
def test_a_model_that_knows_which_tasks_there_can_be(
    shape: tuple[int, ...], planted: Planted, measured: Measured, tmp_path: Path
) -> None:
    """Bayes over four tasks at a noise variance of .05; each task of the file is one of them, with noise."""
    rng = np.random.default_rng(0)
    members = rng.normal(size=(4, D))
    X, which = rng.uniform(-0.5, 0.5, size=(60, N + 1, D)), rng.integers(0, 4, 60)
    y = np.einsum("tni,ti->tn", X, members[which]) + 0.2 * rng.normal(size=(60, N + 1))
    inputs = np.concatenate([X, y[..., None]], axis=2)
    inputs[:, -1, -1] = 0
    np.savez(tmp_path / "own.npz", inputs=inputs, targets=y[:, -1])
    np.savez(tmp_path / "set.npz", weights=members.reshape(shape))
    w = torch.from_numpy(members)

    def bayes(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        known = w.to(X.dtype)
        error = (y[:, None] - torch.einsum("tni,mi->tmn", X, known)).square().sum(dim=2)
        likely = torch.exp(-(error - error.amin(dim=1, keepdim=True)) / 0.1)
        return (likely / likely.sum(dim=1, keepdim=True) * (query @ known.T)).sum(dim=1)

    own, given = str(tmp_path / "own.npz"), str(tmp_path / "set.npz")
    findings = measured(planted(bayes), RULES, tasks=own, task_set=given)
    assert verdict(findings) == ("agrees", "task_set")
    assert findings.measures["noise_variance"].sel(candidate="task_set").estimate == pytest.approx(0.05, rel=0.01)
    claim = ICLAlgorithm(tasks=own, task_set=given).claim(findings.measures, ())
    assert claim.badge.startswith("Agrees with Bayes' rule over the given task set, less than 0.1 %")
    assert not any("was not in the contest" in limit for limit in claim.limits)
    assert set(ICLAlgorithm(tasks=own, task_set=given).fingerprint()) == {"tasks_sha256", "task_set_sha256"}


@pytest.mark.parametrize("n_context", [1, 2])
def test_fewer_pairs_than_inputs(n_context: int, planted: Planted, measured: Measured) -> None:
    """With one pair a preconditioned step is all that least squares is not: x_q·x y."""
    order = standing(measured(planted(step), RULES, n_context=n_context).measures)
    assert order is not None
    assert (order.verdict, order.winner) == ("agrees", "gd")


def test_inputs_without_spread_in_one_direction(
    planted: Planted, measured: Measured, tasks_file: Callable[..., str]
) -> None:
    def flat(inputs: Tensor) -> None:
        inputs[:, :, 0] = 0

    def least_squares(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        return ((torch.linalg.pinv(X.double()) @ y[..., None].double())[..., 0] * query).sum(dim=1).to(X.dtype)

    assert verdict(measured(planted(least_squares), RULES, tasks=tasks_file(60, change=flat))) == ("agrees", "min_norm")


# -- models ------------------------------------------------------------------------------------------------------------


def test_a_model_that_answers_nothing_of_this_kind() -> None:
    other = ICLAlgorithm().applies(induction_circuit(d_vocab=24, n_ctx=24))
    assert isinstance(other, NotApplicable)
    assert "does not answer linear-regression tasks" in other.reason


def test_a_predictor_without_a_gradient(planted: Planted, measured: Measured) -> None:
    """The verdict is the same, rests on predictions alone, and says so."""

    def in_numpy(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        return torch.from_numpy(step(X, y, query).numpy().copy())

    whole, without = measured(planted(step), RULES), measured(planted(in_numpy), RULES)
    differences = measured(planted(in_numpy), RULES, sensitivities="differences")
    assert verdict(whole) == verdict(without) == verdict(differences) == ("agrees", "gd")
    for name in ("cosine", "norm_ratio", "model_difference"):
        measure = without.measures[name].sel(candidate="gd")
        assert (measure.status, "NumPy" in measure.message) == ("not applicable", True), name
    shares = [one.measures["unexplained_share"].values for one in (whole, without, differences)]
    np.testing.assert_array_equal(shares[0], shares[1])
    np.testing.assert_array_equal(shares[0], shares[2])
    assert differences.measures["cosine"].sel(candidate="gd").estimate == pytest.approx(1, abs=1e-3)
    said = [" ".join(ICLAlgorithm().claim(one.measures, ()).limits) for one in (whole, without, differences)]
    assert ["predictions alone" in words for words in said] == [False, True, False]


@pytest.mark.parametrize(("wrong", "message"), [
    (lambda X, y, query: torch.full_like(y[:, 0], float("nan")), r"returned \[nan\] for task 0 of 16"),
    (lambda X, y, query: y, r"returned shape \[16, 1, 8\] for 16 tasks; expected \[16\] or \[16, 1\]"),
])  # fmt: skip
def test_answers_that_are_none(
    wrong: Callable[[Tensor, Tensor, Tensor], Tensor], message: str, planted: Planted, measured: Measured
) -> None:
    with pytest.raises(UsageError, match=message):
        measured(planted(wrong))


@pytest.mark.parametrize("rate", [float("nan"), float("inf"), 1e300])
def test_a_transformer_whose_predictions_are_not_finite(rate: float, measured: Measured) -> None:
    findings = measured(from_transformer(gd_transformer(N, rate, D, n_layers=3)))
    claim = ICLAlgorithm().claim(findings.measures, ())
    assert (claim.badge, claim.rival) == ("Predictions are not finite", "No rule was ranked.")
    assert not findings.measures["unexplained_share"].has_number


def test_a_model_that_is_not_finite_on_a_few_tasks(planted: Planted, measured: Measured) -> None:
    def answer(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        return step(X, y, query) / (query[:, 0] < 0.45)

    claim = ICLAlgorithm().claim(measured(planted(answer), seed=5).measures, ())
    assert claim.badge == "Predictions are not finite"


@pytest.mark.parametrize("value", [0.0, 0.7])
def test_a_constant_is_no_rule(value: float, planted: Planted, measured: Measured) -> None:
    findings = measured(planted(lambda X, y, query: value + 0 * y[:, 0]))
    claim = ICLAlgorithm().claim(findings.measures, ())
    assert claim.badge == "Predictions do not vary"
    assert "do not vary between these tasks" in claim.found
