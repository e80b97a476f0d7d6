"""A user's own tasks: what they may look like, and what is said of those that may not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import TaskError, load_tasks
from mesascope.data.batch import tensors_sha256

N, TOKENS, D = 6, 5, 3


@pytest.fixture
def inputs(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=(N, TOKENS, D + 1))


@pytest.fixture
def targets(rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=N)


def write(folder: Path, **arrays: np.ndarray) -> Path:
    np.savez(folder / "mine.npz", **arrays)
    return folder / "mine.npz"


def refusal(path: Path, **options: int) -> str:
    with pytest.raises(TaskError) as caught:
        load_tasks(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message or options
    return message


def test_one_label_a_task(tmp_path: Path, inputs: np.ndarray, targets: np.ndarray) -> None:
    batch = load_tasks(write(tmp_path, inputs=inputs, targets=targets))
    np.testing.assert_array_equal(batch.inputs, inputs)
    np.testing.assert_array_equal(batch.targets[:, 0], targets)
    assert batch.inputs.dtype == batch.targets.dtype == torch.float64
    assert batch.recipe.sha256 == tensors_sha256(batch.inputs, batch.targets)
    assert batch.recipe.as_dict() | {"sha256": ""} == {
        "family": "file",
        "settings": {"file": "mine.npz", "limit": None},
        "seed": None,
        "n": N,
        "sha256": "",
    }


def test_a_token_as_wide_as_the_inputs_with_the_label_last(tmp_path: Path, inputs: np.ndarray) -> None:
    """The authors' own form of targets: [x_q ; y_q]."""
    wide = np.arange(N * (D + 1.0)).reshape(N, D + 1)
    batch = load_tasks(write(tmp_path, inputs=inputs, targets=wide))
    assert batch.targets[:, 0].tolist() == wide[:, -1].tolist()


@pytest.mark.parametrize("width", [2, D + 1])
def test_wider_labels(tmp_path: Path, inputs: np.ndarray, width: int) -> None:
    wide = np.arange(N * float(width)).reshape(N, width)
    batch = load_tasks(write(tmp_path, inputs=inputs, targets=wide), d_out=2)
    assert batch.targets.tolist() == wide[:, -2:].tolist()


@pytest.mark.parametrize(("limit", "kept"), [(1, 1), (4, 4), (N, N), (100, N)])
def test_limit_takes_the_first(tmp_path: Path, inputs: np.ndarray, targets: np.ndarray, limit: int, kept: int) -> None:
    path = write(tmp_path, inputs=inputs, targets=targets)
    batch = load_tasks(path, limit=limit)
    np.testing.assert_array_equal(batch.inputs, inputs[:kept])
    np.testing.assert_array_equal(batch.targets[:, 0], targets[:kept])
    assert batch.recipe.n == kept
    assert (batch.recipe.sha256 == load_tasks(path).recipe.sha256) == (kept == N)


@pytest.mark.parametrize("limit", [0, -1])
def test_no_tasks_asked_for(tmp_path: Path, inputs: np.ndarray, targets: np.ndarray, limit: int) -> None:
    assert f"limit = {limit}" in refusal(write(tmp_path, inputs=inputs, targets=targets), limit=limit)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8, np.dtype(">f4")])
def test_any_real_numbers(tmp_path: Path, dtype: np.dtype, inputs: np.ndarray, targets: np.ndarray) -> None:
    inputs, targets = np.abs(inputs * 9).astype(dtype), np.abs(targets * 9).astype(dtype)
    batch = load_tasks(write(tmp_path, inputs=inputs, targets=targets))
    np.testing.assert_array_equal(batch.inputs, inputs.astype(np.float64))


def test_the_same_tasks_have_the_same_digest_in_any_container(
    tmp_path: Path, inputs: np.ndarray, targets: np.ndarray
) -> None:
    plain = load_tasks(write(tmp_path, inputs=inputs, targets=targets)).recipe.sha256
    np.savez_compressed(tmp_path / "other.npz", extra=np.zeros(1), targets=targets[:, None], inputs=inputs)
    assert load_tasks(tmp_path / "other.npz").recipe.sha256 == plain
    inputs[3, 2, 1] = np.nextafter(inputs[3, 2, 1], 9)
    assert load_tasks(write(tmp_path, inputs=inputs, targets=targets)).recipe.sha256 != plain


@pytest.mark.parametrize("missing", ["inputs", "targets"])
def test_a_missing_array_is_named(tmp_path: Path, missing: str, inputs: np.ndarray, targets: np.ndarray) -> None:
    arrays = {"inputs": inputs, "targets": targets, "other": targets}
    del arrays[missing]
    message = refusal(write(tmp_path, **arrays))
    assert f"lacks ['{missing}']" in message
    assert "other" in message


@pytest.mark.parametrize(
    "shape", [(N, TOKENS), (0, TOKENS, D + 1), (N, 0, D + 1), (N, 1, D + 1), (N, TOKENS, 0), (N, TOKENS, D, 1), ()]
)
def test_inputs_of_a_wrong_shape(tmp_path: Path, shape: tuple[int, ...], targets: np.ndarray) -> None:
    assert str(list(shape)) in refusal(write(tmp_path, inputs=np.zeros(shape), targets=targets))


@pytest.mark.parametrize("shape", [(N - 1,), (N + 1,), (N, 2), (N, D), (N, D + 2), (N, 1, 1), (), (D + 1, N)])
def test_targets_of_a_wrong_shape(tmp_path: Path, shape: tuple[int, ...], inputs: np.ndarray) -> None:
    message = refusal(write(tmp_path, inputs=inputs, targets=np.zeros(shape)))
    assert str(list(shape)) in message
    assert f"[{N}] or [{N}, {D + 1}]" in message


@pytest.mark.parametrize("name", ["inputs", "targets"])
@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_placed(
    tmp_path: Path, name: str, number: float, inputs: np.ndarray, targets: np.ndarray
) -> None:
    arrays = {"inputs": inputs, "targets": targets}
    arrays[name][(4, 1, 2)[: arrays[name].ndim]] = number
    message = refusal(write(tmp_path, **arrays))
    assert f"{name} hold {number} at " in message
    assert "expected finite numbers" in message
    assert str([4, 1, 2][: arrays[name].ndim]) in message


@pytest.mark.parametrize("dtype", [np.complex128, np.bool_, "U5", "M8[s]"])
def test_what_is_no_real_number(tmp_path: Path, dtype: str, targets: np.ndarray) -> None:
    assert "expected real numbers" in refusal(
        write(tmp_path, inputs=np.zeros((N, TOKENS, D + 1), dtype=dtype), targets=targets)
    )


def test_pickled_objects_are_refused(tmp_path: Path, targets: np.ndarray) -> None:
    assert "pickle" in refusal(write(tmp_path, inputs=np.array([[{}]], dtype=object), targets=targets))


def test_no_such_file(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.npz")
