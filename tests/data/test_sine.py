"""Sines: one number decides amplitude and phase, and training draws the same law as evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.regression import GaussianRegression, LinearRegression
from mesascope.data.sine import SineRegression, regression_tasks


def test_labels_are_sines_of_one_number() -> None:
    """Amplitude and phase that fit a task's labels lie on one line."""
    family = SineRegression(n_context=30)
    batch = family.sample(40, 0)
    x, y = batch.inputs[:, :-1, 0].numpy(), batch.inputs[:, :-1, 1].numpy()
    for inputs, labels, query, target in zip(x, y, batch.inputs[:, -1, 0], batch.targets[:, 0], strict=True):
        basis = np.stack([np.sin(inputs), np.cos(inputs)], axis=1)  # a cos(phase), a sin(phase)
        (a, b), *_ = np.linalg.lstsq(basis, labels, rcond=None)
        amplitude, phase = math.hypot(a, b), math.atan2(b, a)
        u = phase / math.pi
        assert 0 <= u <= 1
        assert amplitude == pytest.approx(0.1 + 0.4 * u, abs=1e-9)
        assert amplitude * math.sin(float(query) + phase) == pytest.approx(float(target), abs=1e-9)
    assert np.abs(x).max() <= 5
    assert torch.equal(batch.inputs[:, -1, 1], torch.zeros(40, dtype=torch.float64))


def test_the_loss_of_answering_zero_is_that_of_the_law(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    """E a² / 4, because inputs make sin² a half on average; a² of a uniform amplitude is (l² + lh + h²)/3."""
    expected = (0.1**2 + 0.1 * 0.5 + 0.5**2) / 3 / 4
    targets = SineRegression().sample(100_000, 0).targets
    assert float(0.5 * targets.square().mean()) == pytest.approx(expected, rel=0.03)
    inputs, streamed = draw_step(SineRegression(), 50_000, (0, 1), 7)
    assert (0.5 * streamed.square().mean(dim=(1, 2))).tolist() == pytest.approx([expected] * 2, rel=0.03)
    assert float(inputs[:, :, -1, 1].abs().max()) == 0
    assert float(inputs[..., 0].abs().max()) <= 5
    assert float(inputs[..., 0].square().mean()) == pytest.approx(100 / 12, rel=0.02)


def test_streamed_labels_are_sines_too(draw_step: Callable[..., tuple[Tensor, Tensor]]) -> None:
    inputs, targets = draw_step(SineRegression(n_context=20), 5, (3,), 2)
    x, y = inputs[0, :, :-1, 0].double().numpy(), inputs[0, :, :-1, 1].double().numpy()
    for task in range(5):
        basis = np.stack([np.sin(x[task]), np.cos(x[task])], axis=1)
        (a, b), *_ = np.linalg.lstsq(basis, y[task], rcond=None)
        assert math.hypot(a, b) == pytest.approx(0.1 + 0.4 * math.atan2(b, a) / math.pi, abs=1e-5)
        query = float(inputs[0, task, -1, 0])
        assert a * math.sin(query) + b * math.cos(query) == pytest.approx(float(targets[0, task, 0]), abs=1e-5)


def test_scales_scale_labels_and_inputs() -> None:
    one, other = SineRegression().sample(4, 0), SineRegression(weight_scale=2.0).sample(4, 0)
    torch.testing.assert_close(other.targets, 2 * one.targets, rtol=1e-15, atol=0)
    assert float(SineRegression(input_range=2.0).sample(50, 0).inputs[..., 0].abs().max()) <= 1


def test_settings_name_the_family() -> None:
    assert isinstance(regression_tasks({"amplitudes": [0.1, 0.5]}), SineRegression)
    assert type(regression_tasks({"d_in": 3})) is LinearRegression
    assert isinstance(regression_tasks({"d_in": 1, "input_variances": [1.0]}), GaussianRegression)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_in": 2}, "d_in = 2, d_out = 1; expected 1 and 1"),
        ({"amplitudes": (0.5, 0.1)}, r"amplitudes = \[0.5, 0.1\]; expected the smallest and the largest"),
    ],
)
def test_what_is_no_sine_of_one_number_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        SineRegression(**settings)  # type: ignore[arg-type]
