"""Tasks of softmax regression: their law, and files of a user's own that are refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import SoftmaxRegression, TaskError, load_softmax_tasks


def test_b_is_the_softmax_of_a_times_one_x() -> None:
    batch = SoftmaxRegression(n_tokens=9, d_in=4).sample(50, seed=0)
    A, b = batch.inputs.numpy(), batch.targets.numpy()
    np.testing.assert_allclose(b.sum(axis=1), 1)
    for rows, targets in zip(A, b, strict=True):
        centred = rows - rows.mean(axis=0)
        logs = np.log(targets) - np.log(targets).mean()
        x, *_ = np.linalg.lstsq(centred, logs, rcond=None)
        np.testing.assert_allclose(centred @ x, logs, atol=1e-8)


def test_the_scales_are_those_of_the_settings() -> None:
    batch = SoftmaxRegression(n_tokens=40, d_in=8, input_scale=3.0, weight_scale=0.5).sample(400, seed=1)
    A = batch.inputs.numpy()
    assert A.std() == pytest.approx(3 / np.sqrt(8), rel=0.02)
    logs = np.log(batch.targets.numpy())
    spread = (logs - logs.mean(axis=1, keepdims=True)).std()
    assert spread == pytest.approx(3 * 0.5, rel=0.1)


def test_noise_leaves_a_probability_vector_that_no_x_gives() -> None:
    clean, noisy = (SoftmaxRegression(n_tokens=9, d_in=4, noise=noise).sample(20, seed=0) for noise in (0.0, 0.5))
    assert torch.equal(clean.inputs, noisy.inputs)
    torch.testing.assert_close(noisy.targets.sum(dim=1), torch.ones(20, dtype=torch.float64))
    logs = (noisy.targets / clean.targets).log()
    assert float((logs - logs.mean(dim=1, keepdim=True)).std()) == pytest.approx(0.5, rel=0.15)


def test_a_seed_gives_the_same_tasks_and_a_digest() -> None:
    one, same, other = (SoftmaxRegression().sample(3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.targets, same.targets)
    assert one.recipe == same.recipe
    assert one.recipe.sha256 != other.recipe.sha256
    assert one.recipe.settings == {"n_tokens": 25, "d_in": 20, "input_scale": 2.0, "weight_scale": 2.0, "noise": 0.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_tokens": 1}, "n_tokens = 1; expected a whole number of at least 2"),
        ({"noise": -1.0}, "noise = -1.0; expected a number of at least 0"),
        ({"input_scale": 0.0}, "input_scale = 0.0; expected a number above 0"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=f"tasks: {message}"):
        SoftmaxRegression(**settings)


# -- files -------------------------------------------------------------------------------------------------------------

A = np.random.default_rng(0).normal(size=(4, 5, 3))
B = np.full((4, 5), 0.2)


def written(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]
    return folder / "mine.npz"


def test_a_users_own_tasks(tmp_path: Path) -> None:
    batch = load_softmax_tasks(written(tmp_path, A=A, b=B.astype(np.float32)), limit=3)
    assert (batch.inputs.shape, batch.targets.shape) == ((3, 5, 3), (3, 5))
    assert batch.inputs.dtype == torch.float64
    assert batch.recipe.settings == {"file": "mine.npz", "limit": 3}
    np.testing.assert_array_equal(batch.inputs, A[:3])


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    other = array.copy()
    other[place] = value
    return other


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"A": A}, r"lacks \['b'\]; found \['A'\]; write it with np\.savez\(FILE, A=…, b=…\)"),
        ({"A": A, "b": changed(B, (1, 2), 0.5)}, "b of task 1 sums to 1.3; expected probability vectors"),
        ({"A": A, "b": changed(changed(B, (1, 2), -0.1), (1, 3), 0.5)}, r"b holds -0.1 at \[1, 2\]; expected prob"),
        ({"A": changed(A, (0, 1, 2), np.nan), "b": B}, r"A hold nan at \[0, 1, 2\]; expected finite numbers"),
        ({"A": A[:, :1], "b": np.ones((4, 1))}, r"A has shape \[4, 1, 3\]; expected .* two tokens"),
        ({"A": A[0], "b": B}, r"A has shape \[5, 3\]; expected \[task, n, d\]"),
        ({"A": A, "b": B[:, :4]}, r"b has shape \[4, 4\]; expected \[4, 5\], a number for each token"),
        ({"A": A.astype(str), "b": B}, "A have dtype .*; expected real numbers"),
    ],
)
def test_files_that_are_refused(arrays: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=f"mine.npz: {message}"):
        load_softmax_tasks(written(tmp_path, **arrays))


def test_no_tasks_at_all(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="limit = 0; expected at least 1 task"):
        load_softmax_tasks(written(tmp_path, A=A, b=B), limit=0)
    with pytest.raises(TaskError, match="n = 0 tasks; expected at least 1"):
        SoftmaxRegression().sample(0, seed=0)
