"""The probe from a subject to a report: a gradient step is found, its absence is not, and the shipped layers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import analyses, models
from mesascope.data import SoftmaxRegression, TaskError, UsageError
from mesascope.models import SoftmaxRegressor, from_softmax_predictor
from mesascope.probes import SoftmaxRegressionProbe
from mesascope.probes.measure import flat

from .conftest import LAW, RATE

SMALL = SoftmaxRegressionProbe(limit=60, n_tokens=LAW.n_tokens)


def report_of(subject: models.Subject, probe: SoftmaxRegressionProbe = SMALL, **how: Any) -> analyses.Report:
    report = analyses.run(subject, probe, **how)
    assert isinstance(report, analyses.Report)
    return report


def test_a_written_down_gradient_step_is_found(step_layer: SoftmaxRegressor) -> None:
    report = report_of(step_layer, replace(SMALL, learning_rate=RATE))
    measures = report.measures
    assert measures["cosine_gd"].estimate > 0.9999
    assert measures["prediction_difference_gd"].estimate < 0.01
    assert measures["shift_cosine"].estimate > 0.9999
    assert measures["loss_over_gd"].estimate == pytest.approx(1, abs=0.01)
    assert measures["learning_rate_written"].estimate == pytest.approx(RATE)
    assert report.claim.badge.startswith("Agrees with one gradient step")


def test_an_untrained_layer_shows_none_of_it(fresh_layer: SoftmaxRegressor) -> None:
    measures = report_of(fresh_layer).measures
    assert float(measures["cosine_gd"].interval[0]) < 0.2
    assert abs(measures["cosine_gd"].estimate) < 0.3
    assert measures["loss_over_gd"].estimate > 2
    assert measures["KQ_identity_distance"].estimate > 0.5


def test_losses_are_those_of_numpy(step_layer: SoftmaxRegressor) -> None:
    report = report_of(step_layer, replace(SMALL, learning_rate=3.0))
    recipe = report.recipes["evaluation"]
    tasks = SoftmaxRegression(**recipe["settings"]).sample(recipe["n"], recipe["seed"])
    losses = []
    for rows, b in zip(tasks.inputs.numpy(), tasks.targets.numpy(), strict=True):
        powers = np.exp(rows @ (3.0 / 8 * rows.T @ (b - b.mean())))
        losses.append(0.5 * np.sum((powers / powers.sum() - b) ** 2))
    assert report.measures["loss_gd"].estimate == pytest.approx(np.mean(losses), rel=1e-9)


def test_the_sensitivity_is_that_of_the_first_probability_with_b_fixed(step_layer: SoftmaxRegressor) -> None:
    """By central differences of the model's own predictions, entry by entry of A."""
    from mesascope.probes.softmax_regression.behaviours import behaviour

    tasks = LAW.sample(5, seed=3)
    found = behaviour(step_layer.predict, tasks.inputs, tasks.targets, 2).sensitivity
    assert found.shape == (5, 1, LAW.n_tokens * LAW.d_in)
    for token, entry in ((0, 1), (3, 2)):
        moved = []
        for way in (1e-6, -1e-6):
            A = tasks.inputs.clone()
            A[:, token, entry] += way
            moved.append(step_layer.predict(A, tasks.targets)[:, 0])
        by_differences = (moved[0] - moved[1]) / 2e-6
        torch.testing.assert_close(found[:, 0, token * LAW.d_in + entry], by_differences, rtol=1e-5, atol=1e-8)


def test_neither_batch_size_nor_container_moves_a_number(step_layer: SoftmaxRegressor) -> None:
    wrapped = from_softmax_predictor(step_layer.module, LAW.d_in)  # type: ignore[attr-defined]
    one, other, function = report_of(step_layer), report_of(step_layer, batch_size=7), report_of(wrapped)
    for name, measure in flat(one.measures).items():
        np.testing.assert_allclose(other.measures[name].values, measure.values, rtol=1e-7, atol=1e-12, err_msg=name)
    for name in ("loss_model", "cosine_gd_2", "shift_A", "shift_cosine", "shift_ratio_A", "unexplained_share_copy"):
        assert function.measures[name].estimate == pytest.approx(one.measures[name].estimate, rel=1e-6)


def test_of_a_predictor_the_weights_are_not_applicable() -> None:
    report = report_of(from_softmax_predictor(lambda A, b: (5.0 * b).softmax(dim=-1), LAW.d_in))
    for name in ("KQ_diagonal", "loss_path", "weight_distance_gd", "output_scale"):
        assert report.measures[name].status == "not applicable"
    assert report.claim.badge.startswith("Agrees with copying b")
    assert "which does not look at A" in report.claim.found
    assert "untrained" not in report.measures["loss_model"].nulls
    assert "does not look at A: its sensitivity is zero" in report.measures["cosine_gd"].message


def test_predictions_of_zero_leave_the_data_shift_without_a_number() -> None:
    hard = from_softmax_predictor(lambda A, b: (b == b.amax(dim=-1, keepdim=True)).to(b), LAW.d_in)
    report = report_of(hard)
    assert report.measures["shift_x"].has_number
    assert not report.measures["shift_A"].has_number
    assert "a probability of 0" in report.measures["shift_A"].message
    assert "the cosine between both shifts" not in report.claim.found


def test_predictions_that_are_not_finite() -> None:
    report = report_of(from_softmax_predictor(lambda A, b: b * float("inf"), LAW.d_in))
    assert report.claim.badge == "Predictions are not finite"


# -- a user's own tasks ------------------------------------------------------------------------------------------------


@pytest.fixture
def own_tasks(tmp_path: Path) -> str:
    tasks = SoftmaxRegression(n_tokens=6, d_in=4, noise=0.3).sample(30, seed=9)
    np.savez(tmp_path / "own.npz", A=tasks.inputs.numpy(), b=tasks.targets.numpy())
    return str(tmp_path / "own.npz")


def test_a_users_tasks_are_evaluated_whole_and_cross_fitted(step_layer: SoftmaxRegressor, own_tasks: str) -> None:
    probe = SoftmaxRegressionProbe(tasks=own_tasks)
    report = report_of(step_layer, probe)
    assert report.measures["loss_model"].n == 30
    assert list(report.recipes) == ["evaluation"]
    assert report.measures["learning_rate_gd"].n == 30  # both halves
    assert "tasks supplied by the user" in report.claim.methods
    assert probe.fingerprint().keys() == {"tasks_sha256"}
    splits = probe._splits(step_layer, 0)
    assert torch.equal(splits.folds[0].tuning.inputs, splits.folds[1].evaluation.inputs)


def test_one_task_has_no_interval(step_layer: SoftmaxRegressor, own_tasks: str) -> None:
    report = report_of(step_layer, SoftmaxRegressionProbe(tasks=own_tasks, limit=1))
    assert "A single task has no interval, and settings were fitted on it." in report.claim.limits
    assert np.isnan(report.measures["loss_model"].interval[0])


def test_tasks_of_another_width_are_refused(own_tasks: str) -> None:
    subject = from_softmax_predictor(lambda A, b: b, d_in=7)
    with pytest.raises(TaskError, match="rows of A are 4 wide, but the model takes 7"):
        report_of(subject, SoftmaxRegressionProbe(tasks=own_tasks))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate = 0.0; expected a number above 0"),
        ({"tasks": "x.npz", "noise": 0.1}, "noise and tasks are given; a file of tasks leaves nothing to draw"),
        ({"text": "a.txt", "tokens": "b.npy"}, "text and tokens are both given; expected one of them"),
        ({"n_tokens": 1}, "n_tokens = 1; expected a whole number of at least 2"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=f"softmax-regression: {message}"):
        SoftmaxRegressionProbe(**settings)


def test_a_file_that_the_model_cannot_read_is_not_ignored(step_layer: SoftmaxRegressor) -> None:
    language = models.load("induction-1layer")
    for subject, settings, said in (
        (step_layer, {"tokens": "mine.npy"}, "this model answers tasks and reads no tokens, but tokens is given"),
        (language, {"tasks": "mine.npz"}, "this model reads tokens and answers no tasks, but tasks is given"),
    ):
        refused = SoftmaxRegressionProbe(**settings).applies(subject)
        assert isinstance(refused, models.NotApplicable)
        assert refused.reason == f"{said}; leave it out"
    assert SoftmaxRegressionProbe(tokens="mine.npy").applies(language) is None


def test_which_models_it_measures(step_layer: SoftmaxRegressor) -> None:
    probe = SoftmaxRegressionProbe()
    assert probe.applies(step_layer) is None
    linear = probe.applies(models.load("lsa-1layer"))
    assert isinstance(linear, models.NotApplicable)
    assert "does not answer softmax-regression tasks" in linear.reason
    assert probe.applies(models.load("induction-1layer")) is None
    assert not probe.by_default


# -- what ships --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at_the_end() -> list[analyses.Report]:
    """The five seeds of c = 1 after 5,000 steps."""
    probe = SoftmaxRegressionProbe(limit=500)
    return [report_of(subject, probe) for subject in models.load_all("softmax-attention-1layer")]


def test_shipped_layers_are_as_good_as_one_gradient_step(at_the_end: list[analyses.Report]) -> None:
    ratios = [report.measures["loss_over_gd"].estimate for report in at_the_end]
    assert len(ratios) == 5
    assert sum(ratio <= 1.0 for ratio in ratios) >= 4


def test_their_kq_block_is_a_multiple_of_the_identity(at_the_end: list[analyses.Report]) -> None:
    for report in at_the_end:
        assert report.measures["KQ_off_diagonal"].estimate <= 0.03
        assert report.measures["KQ_identity_distance"].estimate < 0.15
        assert report.measures["KQ_identity_distance"].nulls["untrained"].min() > 0.9


def test_before_training_they_have_nothing_of_the_step() -> None:
    measures = report_of(models.load("softmax-attention-1layer", "seed0-step0"), replace(SMALL, limit=300)).measures
    assert abs(measures["cosine_gd"].estimate) < 0.05


def test_kernel_smoothing_explains_them_better_than_the_step(at_the_end: list[analyses.Report]) -> None:
    """On both sides: seeds 1 and 2 attend to similar tokens, the others to unlike ones."""
    signs = [int(np.sign(report.measures["KQ_diagonal"].estimate)) for report in at_the_end]
    assert signs == [-1, 1, 1, -1, -1]
    for report, sign in zip(at_the_end, signs, strict=True):
        assert report.measures["unexplained_share_smoother"].estimate < 0.1
        assert report.measures["unexplained_share_gd"].estimate > 0.1
        assert np.sign(report.measures["smoother_sharpness"].estimate) == sign
        called = "copying b" if sign > 0 else "kernel smoothing over unlike tokens"
        assert report.claim.badge.startswith(f"Agrees with {called}")
        assert ("Kernel smoothing over similar tokens, of which that is a limit" in report.claim.rival) == (sign > 0)
