"""How a family enters the contest: steps on all tuning tasks, settings on each half's own, nulls fitted again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import Regressor, from_transformer, gd_transformer
from mesascope.probes import Findings
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.copying import MEAN_LABEL
from mesascope.probes.algorithms.families import Family, Fitted
from mesascope.probes.algorithms.filtered import GDPP, GRADIENT_DESCENT, RIDGE
from mesascope.probes.algorithms.fitting import Fit
from mesascope.probes.icl_algorithm import contest, probe, search
from mesascope.probes.icl_algorithm.names import EQUAL
from mesascope.probes.icl_algorithm.search import enter
from mesascope.probes.regression.nulls import Untrained
from mesascope.probes.regression.reading import Reading
from torch import Tensor

D, N = 3, 8
RULES = ("gd", "ridge", "mean_label")


def contexts(n: int = 40, seed: int = 0) -> Contexts:
    return Contexts.of(LinearRegression(n_context=N, d_in=D).sample(n, seed).inputs, D)


def taking(steps: int, rate: float, tasks: Contexts) -> Tensor:
    """Gradient descent on Σ (y - X w)² / 2N, in closed form: w = Σ_j (I - η S)^j η Xᵀy / N."""
    S, step = tasks.X.mT @ tasks.X / N, rate * tasks.X.mT @ tasks.Y / N
    w = sum((torch.linalg.matrix_power(torch.eye(D) - rate * S, j) @ step for j in range(steps)), torch.zeros(()))
    return (tasks.query[:, None] @ w)[:, 0]


@pytest.mark.parametrize(("steps", "tried"), [
    (1, (1, 2, 4)), (3, (1, 2, 4)), (11, (1, 4, 8, 16)), (16, (8, 16)), (5, (1, 4, 16)), (6, (1, 8, 16)),
])  # fmt: skip
def test_steps_between_those_that_are_tried_first_are_found(steps: int, tried: tuple[int, ...]) -> None:
    tasks = contexts()
    entry = enter(replace(GRADIENT_DESCENT, tried=tried), [(tasks, taking(steps, 4.0, tasks))])
    best, fewest, most = entry.steps
    assert best == entry.fits[0].steps == steps
    assert fewest <= best <= most
    assert entry.fits[0].value("learning rate") == pytest.approx(4, rel=1e-6)
    assert entry.title == f"{steps} step{'s' * (steps > 1)} of gradient descent"


def test_as_good_is_within_a_percent_of_the_variation() -> None:
    tasks = contexts()
    shown, family = taking(8, 4.0, tasks), replace(GRADIENT_DESCENT, tried=(1, 2, 4, 6, 7, 8, 9, 12, 20))
    _, fewest, most = enter(family, [(tasks, shown)]).steps
    own = np.abs(shown.numpy() - np.median(shown.numpy())).mean()

    def share(steps: int) -> float:
        fitted = family.fit(tasks, shown, steps)
        return float((family.predict(tasks, fitted) - shown).abs().mean()) / own

    tried = (1, 2, 4, 6, 7, 8, 9, 12, 20)
    good = [steps for steps in tried if share(steps) <= EQUAL + share(8)]
    assert (fewest, most) == (min(good), max(good))
    assert (fewest, most) != (8, 8)


def test_steps_are_found_on_all_tasks_and_settings_on_each_folds_own() -> None:
    one, other = contexts(seed=1), contexts(seed=2)
    entry = enter(
        replace(GRADIENT_DESCENT, tried=(1, 2, 3)), [(one, taking(2, 2.0, one)), (other, taking(2, 6.0, other))]
    )
    assert entry.steps == (2, 2, 2)
    assert [fit.value("learning rate") for fit in entry.fits] == pytest.approx([2, 6], rel=1e-6)


def test_rules_without_steps_or_settings() -> None:
    tasks = contexts()
    for family, n in ((RIDGE, 1), (MEAN_LABEL, 0)):
        entry = enter(family, [(tasks, taking(2, 2.0, tasks))])
        assert (entry.steps, entry.fits[0].n, entry.title) == ((0, 0, 0), n, family.words)


def test_predictions_that_do_not_vary_or_are_not_finite_have_steps_all_the_same() -> None:
    tasks, family = contexts(), replace(GRADIENT_DESCENT, tried=(1, 2))
    for value in (0.0, float("nan")):
        best, fewest, most = enter(family, [(tasks, torch.full((40, 1), value, dtype=torch.float64))]).steps
        assert best == fewest == most


class Faulty(Family):
    """Has no answer after one step."""

    def fit(self, contexts: Contexts, predictions: Tensor, steps: int = 0) -> Fitted:
        return Fitted(steps)

    def predict(self, contexts: Contexts, fitted: Fitted) -> Tensor:
        return torch.full_like(contexts.Y[:, 0], float("nan") if fitted.steps == 1 else fitted.steps)


def test_steps_after_which_predictions_are_not_finite_are_not_the_best() -> None:
    tasks = contexts()
    assert enter(Faulty("faulty", "", "", tried=(1, 2, 3)), [(tasks, taking(2, 2.0, tasks))]).steps[0] == 2


def test_two_settings_are_searched_on_few_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """And then fitted on all: the tasks behind the first ones follow another rate."""
    monkeypatch.setattr(search, "SEARCHED_TASKS", 20)
    tasks, seen = contexts(), []

    def fit(self: object, shown: Contexts, predictions: Tensor, steps: int = 0) -> Fitted:
        seen.append((len(shown.inputs), len(predictions)))
        return Fitted(steps, {"gamma": Fit(1e-6, 0, 1, 1), "learning rate": Fit(float(steps), 0, 1, 1)})

    for family, most in ((GDPP, 20), (GRADIENT_DESCENT, 40)):
        seen.clear()
        monkeypatch.setattr(type(family), "fit", fit)
        enter(replace(family, tried=(2, 3)), [(tasks, taking(2, 2.0, tasks))])
        assert set(seen[:-1]) == {(most, most)}
        assert seen[-1] == (40, 40)


# -- the whole contest -------------------------------------------------------------------------------------------------


def test_no_task_is_judged_by_what_it_was_fitted_on(
    measured: Callable[..., Findings], planted: Callable[..., Regressor], tmp_path: Path
) -> None:
    """A model whose learning rate differs between the halves of a file: fitted where they judge, rules would agree."""
    batch = LinearRegression(n_context=N, d_in=D).sample(60, 0)
    batch.inputs[:30, 0, 0], batch.inputs[30:, 0, 0] = 0.5, -0.5
    np.savez(tmp_path / "tasks.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())

    def model(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        rate = 6.0 + 4.0 * (X[:, 0, 0]).sign()
        return rate * torch.einsum("tni,tn,ti->t", X, y, query) / N

    found = measured(planted(model), RULES, tasks=str(tmp_path / "tasks.npz"))
    predictions, shares = found.arrays["prediction_model"], found.measures["unexplained_share"]
    rates = np.repeat([10.0, 2.0], 30)[:, None]
    np.testing.assert_allclose(found.arrays["prediction_gd"], predictions / rates * rates[::-1], rtol=1e-4, atol=1e-6)
    assert shares.sel(candidate="gd").estimate > 0.5
    assert found.measures["learning_rate"].sel(candidate="gd").estimate == pytest.approx(6, rel=1e-4)


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Models that a measurement takes for untrained ones."""

    def are(*modules: torch.nn.Module) -> None:
        def made(examined: object, n: int) -> list[Untrained]:
            return [Untrained(module, Reading(examined.reading.layout, {}), 1) for module in modules]

        monkeypatch.setattr(contest, "untrained_models", made)

    return are


def test_rules_are_fitted_to_each_null_again(measured: Callable[..., Findings], untrained: Callable[..., None]) -> None:
    """At the steps of the contest: two steps are no step, at no rate."""
    untrained(gd_transformer(N, 2.0, D), gd_transformer(N, 9.0, D), gd_transformer(N, 9.0, D, n_layers=2))
    shares = measured(from_transformer(gd_transformer(N, 4.0, D)), RULES).measures["unexplained_share"]
    nulls = shares.sel(candidate="gd").nulls
    np.testing.assert_allclose(nulls["untrained"][:2], 0, atol=1e-6)
    assert nulls["untrained"][2] > 0.05
    assert nulls["shuffled labels"].shape == (1,)
    assert nulls["shuffled labels"][0] > 0.8


def test_a_rule_that_does_not_read_which_label_is_whose_survives_the_shuffling(
    measured: Callable[..., Findings], planted: Callable[..., Regressor]
) -> None:
    shares = measured(planted(lambda X, y, query: y.mean(dim=1)), RULES).measures["unexplained_share"]
    assert shares.sel(candidate="mean_label").nulls["shuffled labels"][0] < 1e-6
    assert shares.sel(candidate="gd").nulls["shuffled labels"][0] > 0.8


def test_a_measurement_does_not_depend_on_the_batch_size_and_says_how_far_it_is(
    planted: Callable[..., Regressor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contest, "SHUFFLES", 1)
    monkeypatch.setattr(probe, "FAMILIES", (replace(GRADIENT_DESCENT, tried=(1, 2)), RIDGE))
    subject = planted(lambda X, y, query: torch.einsum("tni,tn,ti->t", X, y, query))
    told: list[float] = []
    first, again = (
        probe.ICLAlgorithm(limit=40, n_context=N).measure(subject, 0, size, lambda words, done: told.append(done))
        for size in (7, 64)
    )
    half = len(told) // 2
    assert told[:half] == sorted(told[:half])
    assert (told[0], told[half - 1]) == (0, 1)
    for name, array in first.arrays.items():
        np.testing.assert_allclose(array, again.arrays[name], rtol=1e-5, atol=1e-7, err_msg=name)
