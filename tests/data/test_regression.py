"""Regression tasks against their definition (von Oswald et al. 2023, sections 1.1 and 1.2 of the authors' code)."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import GaussianRegression, LinearRegression, OtherDistributions, TaskError
from mesascope.data.batch import tensors_sha256
from mesascope.data.recipe import canonical_json
from mesascope.data.regression import RegressionTasks, linear_regression, sample_alike
from torch import Tensor

FAMILIES = [LinearRegression, OtherDistributions]
each_family = pytest.mark.parametrize("family", FAMILIES)


def split(inputs: Tensor, d_in: int) -> tuple[np.ndarray, np.ndarray]:
    array = inputs.numpy()
    return array[..., :d_in], array[..., d_in:]


def teachers(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """w of every task, from its noiseless context."""
    return np.stack([np.linalg.lstsq(x[i, :-1], y[i, :-1], rcond=None)[0] for i in range(len(x))])


@each_family
@pytest.mark.parametrize(("n_context", "d_in", "d_out"), [(10, 10, 1), (12, 3, 2), (5, 5, 4), (1, 1, 1)])
def test_labels_are_exactly_linear_in_the_inputs(
    family: type[RegressionTasks], n_context: int, d_in: int, d_out: int
) -> None:
    batch = family(n_context=n_context, d_in=d_in, d_out=d_out).sample(50, seed=3)
    assert batch.inputs.shape == (50, n_context + 1, d_in + d_out)
    assert batch.targets.shape == (50, d_out)
    assert batch.inputs.dtype == batch.targets.dtype == torch.float64
    x, y = split(batch.inputs, d_in)
    w = teachers(x, y)
    assert np.abs(x[:, :-1] @ w - y[:, :-1]).max() < 1e-12
    condition = np.linalg.cond(x[:, :-1]).max()  # the query's label holds as far as w can be recovered
    scale = np.linalg.norm(w, axis=(1, 2)).max()
    assert np.abs(np.einsum("bi,bio->bo", x[:, -1], w) - batch.targets.numpy()).max() < 1e-14 * condition * scale
    assert (y[:, -1] == 0).all()
    assert np.abs(batch.targets.numpy()).min() > 0


def test_teachers_are_standard_normal_times_the_weight_scale() -> None:
    tasks = LinearRegression(n_context=8, d_in=4, weight_scale=3.0)
    batch = tasks.sample(5_000, seed=1)
    w = teachers(*split(batch.inputs, 4)) / 3.0
    assert abs(w.mean()) < 4 / math.sqrt(w.size)
    assert abs(w.var() - 1) < 4 * math.sqrt(2 / w.size)
    assert abs((w**4).mean() - 3) < 4 * math.sqrt(96 / w.size)


@pytest.mark.parametrize("input_range", [1.0, 2.5])
def test_inputs_are_uniform_of_variance_a_twelfth_of_the_squared_range(input_range: float) -> None:
    x, _ = split(LinearRegression(input_range=input_range).sample(4_000, seed=2).inputs, 10)
    error = 4 / math.sqrt(x.size)
    assert abs(x).max() <= input_range / 2
    assert abs(x).max() > 0.4999 * input_range
    assert abs(x.mean() / input_range) < error * math.sqrt(1 / 12)
    assert abs(x.var() / input_range**2 - 1 / 12) < error * math.sqrt(1 / 80 - 1 / 144)
    assert abs((x**4).mean() / input_range**4 - 1 / 80) < error / 48
    rows = x.reshape(-1, 10)  # independent coordinates: no correlation anywhere
    assert np.abs(np.corrcoef(rows.T) - np.eye(10)).max() < 5 / math.sqrt(len(rows))


def test_the_zero_predictor_loses_half_the_variance_of_the_label() -> None:
    """Loss .4167 at the start of the paper's figures: d/24 for N = d = 10."""
    y = LinearRegression().sample(20_000, seed=4).targets.numpy()
    loss = 0.5 * y**2
    assert abs(loss.mean() - 10 / 24) < 4 * loss.std() / math.sqrt(len(y))


@pytest.mark.parametrize(("setting", "x_factor", "y_factor"), [("input_range", 2.5, 2.5), ("weight_scale", 1.0, 2.5)])
@each_family
def test_scales_stretch_the_very_same_tasks(
    family: type[RegressionTasks], setting: str, x_factor: float, y_factor: float
) -> None:
    """Out-of-distribution curves use one seed for every scale, so that they are smooth."""
    plain, scaled = family().sample(20, seed=5), family(**{setting: 2.5}).sample(20, seed=5)
    (x, y), (x_scaled, y_scaled) = split(plain.inputs, 10), split(scaled.inputs, 10)
    np.testing.assert_allclose(x_scaled, x * x_factor, rtol=1e-12)
    np.testing.assert_allclose(y_scaled, y * y_factor, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(scaled.targets, plain.targets * y_factor, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("d_out", [1, 3])
@pytest.mark.parametrize("n_corrupted", [1, 4, 10])
def test_exactly_so_many_labels_are_replaced(n_corrupted: int, d_out: int) -> None:
    clean = LinearRegression(d_out=d_out).sample(2_000, seed=6)
    dirty = LinearRegression(d_out=d_out, n_corrupted=n_corrupted).sample(2_000, seed=6)
    (x, y), (x_dirty, y_dirty) = split(clean.inputs, 10), split(dirty.inputs, 10)
    changed = (y != y_dirty).all(axis=2)
    assert ((y != y_dirty).any(axis=2) == changed).all()  # a label is replaced whole
    assert (changed.sum(axis=1) == n_corrupted).all()
    assert not changed[:, -1].any()
    assert (x == x_dirty).all()
    assert torch.equal(clean.targets, dirty.targets)
    wrong = y_dirty[changed]
    assert abs(wrong.mean()) < 4 / math.sqrt(wrong.size)
    assert abs(wrong.var() - 1) < 4 * math.sqrt(2 / wrong.size)
    frequency = changed[:, :-1].mean(axis=0)  # every place as often as every other
    assert np.abs(frequency - n_corrupted / 10).max() < 4 * math.sqrt(0.25 / 2_000)


def test_noise_falls_on_context_labels_only() -> None:
    clean, noisy = (LinearRegression(noise=noise).sample(2_000, seed=7) for noise in (0.0, 0.5))
    (x, y), (x_noisy, y_noisy) = split(clean.inputs, 10), split(noisy.inputs, 10)
    noise = (y_noisy - y)[:, :-1] / 0.5
    assert (x == x_noisy).all()
    assert torch.equal(clean.targets, noisy.targets)
    assert (y_noisy[:, -1] == 0).all()
    assert abs(noise.mean()) < 4 / math.sqrt(noise.size)
    assert abs(noise.var() - 1) < 4 * math.sqrt(2 / noise.size)


@pytest.mark.parametrize("input_range", [1.0, 3.0])
def test_other_distributions_have_the_contexts_frobenius_norm(input_range: float) -> None:
    x, _ = split(OtherDistributions(input_range=input_range).sample(1_000, seed=8).inputs, 10)
    np.testing.assert_allclose(np.linalg.norm(x[:, :-1], axis=(1, 2)), input_range, rtol=1e-12)
    # the query is divided by the context's norm, not by its own: its squared length is about a tenth, and varies
    query = (x[:, -1] ** 2).sum(axis=1) / input_range**2
    assert abs(query.mean() - 0.1) < 0.02
    assert query.std() > 0.02


def test_other_distributions_are_three_laws_in_equal_parts() -> None:
    """Told apart by sign and fourth moment: 250 x 10 draws a task leave no doubt which law it is."""
    x, _ = split(OtherDistributions(n_context=250).sample(600, seed=9).inputs, 10)
    x = x.reshape(600, -1)
    positive = (x >= 0).all(axis=1)
    kurtosis = (x**4).mean(axis=1) / (x**2).mean(axis=1) ** 2
    counts = [positive.sum(), (~positive & (kurtosis < 4)).sum(), (~positive & (kurtosis > 4.5)).sum()]
    assert sum(counts) == 600
    assert np.abs(np.array(counts) - 200).max() < 4 * math.sqrt(600 * 2 / 9)
    exponential = x[positive]
    assert abs(exponential.mean(axis=1) ** 2 / (exponential**2).mean(axis=1) - 0.5).max() < 0.06
    laplace = kurtosis[~positive & (kurtosis > 4.5)]
    assert abs(laplace.mean() - 6) < 0.2
    assert abs(x[~positive].mean() / x[~positive].std()) < 0.01


@each_family
def test_the_same_seed_gives_the_same_bytes(family: type[RegressionTasks]) -> None:
    first, second, other = (family().sample(30, seed=seed) for seed in (0, 0, 1))
    assert first.inputs.numpy().tobytes() == second.inputs.numpy().tobytes()
    assert first.recipe == second.recipe
    assert first.recipe.sha256 == tensors_sha256(first.inputs, first.targets)
    assert not np.isin(first.inputs.numpy()[..., :10], other.inputs.numpy()[..., :10]).any()


def test_sampling_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    OtherDistributions().sample(3, seed=0)
    LinearRegression(noise=1.0, n_corrupted=2).sample(3, seed=0)
    assert torch.equal(before, torch.get_rng_state())


OTHER_SETTINGS: dict[str, Any] = {
    "n_context": 11,
    "d_in": 9,
    "d_out": 2,
    "input_range": 1.1,
    "weight_scale": 0.9,
    "noise": 0.1,
    "n_corrupted": 1,
}


@pytest.mark.parametrize(("name", "value"), OTHER_SETTINGS.items())
def test_any_other_setting_is_another_recipe(name: str, value: Any) -> None:
    plain, other = LinearRegression(), dataclasses.replace(LinearRegression(), **{name: value})
    assert {field.name for field in dataclasses.fields(plain)} == set(OTHER_SETTINGS)
    one, two = plain.sample(5, seed=0).recipe, other.sample(5, seed=0).recipe
    assert one.sha256 != two.sha256
    assert dict(one.settings) != dict(two.settings)
    assert dict(two.settings)[name] == value


@each_family
def test_a_recipe_makes_its_tasks_again(family: type[RegressionTasks]) -> None:
    recipe = family(d_in=4).sample(7, seed=12).recipe
    assert recipe.family == family.family
    assert recipe.seed is not None
    assert family(**recipe.settings).sample(recipe.n, recipe.seed).recipe == recipe
    assert canonical_json(recipe.as_dict())


@each_family
@pytest.mark.parametrize("setting", [{"n_context": 0}, {"d_in": 0}, {"d_out": -1}])
def test_sizes_below_one_are_refused_by_name(family: type[RegressionTasks], setting: dict[str, int]) -> None:
    (name, value) = next(iter(setting.items()))
    with pytest.raises(TaskError, match=f"{name} = {value}"):
        family(**setting)


@pytest.mark.parametrize("n_corrupted", [-1, 11])
def test_more_corrupted_labels_than_there_are(n_corrupted: int) -> None:
    with pytest.raises(TaskError, match=f"n_corrupted = {n_corrupted}; expected 0 to n_context = 10"):
        LinearRegression(n_corrupted=n_corrupted)


GAUSSIAN = GaussianRegression(n_context=12, d_in=3, input_variances=(4.0, 1.0, 0.25), input_range=0.5)


def test_gaussian_inputs_have_the_variances_that_are_given() -> None:
    batch = GAUSSIAN.sample(20_000, seed=3)
    x, y = split(batch.inputs, 3)
    rows = x.reshape(-1, 3) / [1.0, 0.5, 0.25]  # half of each standard deviation: input_range scales x
    error = 4 / math.sqrt(len(rows))
    assert np.abs(rows.mean(axis=0)).max() < error
    assert np.abs((rows**2).mean(axis=0) - 1).max() < error * math.sqrt(2)
    assert np.abs((rows**4).mean(axis=0) - 3).max() < error * math.sqrt(96)
    assert np.abs(np.corrcoef(rows.T) - np.eye(3)).max() < error
    w = teachers(x[:50], y[:50])
    assert np.abs(np.einsum("bi,bio->bo", x[:50, -1], w) - batch.targets[:50].numpy()).max() < 1e-10
    assert GAUSSIAN.variances == (1.0, 0.25, 0.0625)
    assert batch.targets.square().mean().item() == pytest.approx(sum(GAUSSIAN.variances), rel=0.06)


@pytest.mark.parametrize("family", [LinearRegression(input_range=3.0), GAUSSIAN])
def test_a_family_says_its_own_moments(family: LinearRegression) -> None:
    x, _ = split(family.sample(20_000, seed=4).inputs, family.d_in)
    rows = x.reshape(-1, family.d_in)
    np.testing.assert_allclose((rows**2).mean(axis=0), family.variances, rtol=0.02)
    kurtosis = (rows**4).mean(axis=0) / (rows**2).mean(axis=0) ** 2 - 3
    assert np.abs(kurtosis - family.excess_kurtosis).max() < 0.15


def test_variances_make_a_family_gaussian() -> None:
    settings = GAUSSIAN.sample(5, seed=0).recipe.settings
    assert linear_regression({**settings, "input_variances": [4.0, 1.0, 0.25]}) == GAUSSIAN
    assert type(linear_regression({"d_in": 3})) is LinearRegression
    assert GAUSSIAN.sample(5, seed=0).recipe.family == "gaussian-regression"
    drawn = list(sample_alike([GAUSSIAN, dataclasses.replace(GAUSSIAN, input_range=1.0)], 5, seed=0))
    torch.testing.assert_close(2 * drawn[0][0], drawn[1][0])


@pytest.mark.parametrize("variances", [(), (1.0, 1.0), (1.0, -1.0, 1.0)])
def test_variances_that_do_not_fit_are_refused(variances: tuple[float, ...]) -> None:
    with pytest.raises(TaskError, match=r"input_variances = \[.*\]; expected d_in = 3 numbers, none below 0"):
        GaussianRegression(d_in=3, input_variances=variances)
    with pytest.raises(TaskError, match="input_variances"):
        GaussianRegression(d_in=3, input_variances=(1.0, math.nan, 1.0))


@pytest.mark.parametrize("name", ["input_range", "weight_scale", "noise"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_settings_that_are_no_numbers(name: str, value: float) -> None:
    with pytest.raises(TaskError, match=f"{name} = {value}"):
        LinearRegression(**{name: value})


def test_no_tasks_at_all() -> None:
    with pytest.raises(TaskError, match="at least 1"):
        LinearRegression().sample(0, seed=0)


ALIKE: dict[str, list[RegressionTasks]] = {
    "inputs": [LinearRegression(4, 3, input_range=scale, noise=0.1) for scale in (0.5, 1.0, 2.0)],
    "teachers": [LinearRegression(4, 3, 2, weight_scale=scale) for scale in (0.5, 3.0)],
    "corrupted": [LinearRegression(4, 3, n_corrupted=n) for n in (0, 1, 3)],
    "other laws": [OtherDistributions(4, 3, input_range=scale, weight_scale=1 / scale) for scale in (1.0, 0.2)],
}


@pytest.mark.parametrize("families", ALIKE.values(), ids=ALIKE)
def test_families_sampled_alike_are_those_sampled_one_by_one(families: list[RegressionTasks]) -> None:
    drawn = list(sample_alike(families, 20, seed=3))
    assert not torch.equal(drawn[0][0], drawn[1][0])
    for family, (inputs, targets) in zip(families, drawn, strict=True):
        alone = family.sample(20, seed=3)
        assert torch.equal(inputs, alone.inputs)
        assert torch.equal(targets, alone.targets)


def test_what_is_sampled_alike_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, original = [], LinearRegression.draw
    monkeypatch.setattr(LinearRegression, "draw", lambda self, *given: draws.append(1) or original(self, *given))
    assert len(list(sample_alike(ALIKE["inputs"], 5, seed=3))) == 3
    assert len(draws) == 1
