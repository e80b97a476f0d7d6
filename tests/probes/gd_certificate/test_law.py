"""Where the law of the tasks comes from, and every file and record that is refused or not enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError, UsageError
from mesascope.models import NotApplicable, from_transformer, gd_transformer, load
from mesascope.models.regressors import TransformerRegressor
from mesascope.probes.gd_certificate.law import context_length, law_of, read_covariance
from mesascope.probes.gd_certificate.optimum import Law
from mesascope.probes.gd_certificate.probe import GDCertificate

MIXED = np.array([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]])


def subject(**tasks: Any) -> TransformerRegressor:
    made = from_transformer(gd_transformer(6, 2.0, 3))
    made.source = replace(made.source, record={"recipe": {"tasks": tasks}} if tasks else {})
    return made


def test_a_recorded_law_is_uniform() -> None:
    recorded = subject(n_context=7, input_range=2.0, weight_scale=3.0, noise=0.5, d_in=3)
    law = law_of(recorded, None, None)
    assert isinstance(law, Law)
    torch.testing.assert_close(law.covariance, torch.eye(3, dtype=torch.float64) / 3, rtol=1e-14, atol=0)
    assert (law.n_context, law.excess_kurtosis, law.weight_variance, law.noise_variance) == (7, -1.2, 9.0, 0.25)
    assert context_length(recorded, None) == 7
    changed = law_of(recorded, None, 20)
    assert isinstance(changed, Law)
    assert changed.n_context == context_length(recorded, 20) == 20
    shipped = law_of(load("lsa-1layer", revision="seed0"), None, None)
    assert isinstance(shipped, Law)
    assert float(shipped.covariance.trace()) == pytest.approx(10 / 12)


def test_recorded_variances_are_of_gaussian_inputs() -> None:
    law = law_of(subject(n_context=7, input_variances=[0.5, 0.2, 0.1], input_range=2.0, d_in=3), None, None)
    assert isinstance(law, Law)
    assert law.is_gaussian
    np.testing.assert_allclose(law.covariance.numpy(), np.diag([2.0, 0.8, 0.4]))
    nothing = law_of(subject(n_context=7, input_variances=[0.0, 0.0, 0.0], d_in=3), None, None)
    assert isinstance(nothing, NotApplicable)


def test_a_given_covariance_is_of_gaussian_inputs(covariance_file: Callable[..., str]) -> None:
    for name in ("c.npz", "c.npy"):
        law = law_of(subject(), covariance_file(MIXED, name), 9)
        assert isinstance(law, Law)
        assert law.is_gaussian
        np.testing.assert_array_equal(law.covariance.numpy(), MIXED)
    law = law_of(subject(n_context=7, noise=0.5), covariance_file(MIXED), None)
    assert isinstance(law, Law)
    assert (law.n_context, law.excess_kurtosis, law.noise_variance) == (7, 0.0, 0.25)


@pytest.mark.parametrize(
    ("tasks", "n", "with_file", "words"),
    [
        ({}, None, False, "give --covariance FILE and --n-context N"),
        ({}, 10, False, "the law of the inputs is not recorded"),
        ({}, None, True, "N, is not recorded; give --n-context N"),
        ({"n_context": 10, "n_corrupted": 2}, None, False, "replaces labels by noise"),
        ({"n_context": 10, "input_range": 0.0}, None, False, "all 0"),
        ({"n_context": 10, "weight_scale": 0.0}, None, True, "all 0"),
    ],
)
def test_what_is_not_enough_is_said(
    tasks: dict[str, Any], n: int | None, with_file: bool, words: str, covariance_file: Callable[..., str]
) -> None:
    reason = law_of(subject(**tasks), covariance_file(MIXED) if with_file else None, n)
    assert isinstance(reason, NotApplicable)
    assert words in reason.reason


@pytest.mark.parametrize(
    ("covariance", "words"),
    [
        (np.eye(4), r"shape \[4, 4\]; expected \[3, 3\]"),
        (np.ones(3), r"shape \[3\]"),
        (np.diag([1.0, np.nan, 1.0]), "finite numbers"),
        (np.triu(np.ones((3, 3))), "differs from its transpose by 1; expected a symmetric one"),
        (np.diag([1.0, -0.5, 2.0]), r"eigenvalues from -0.5 to 2; expected none below 0"),
        (np.zeros((3, 3)), "eigenvalues from 0 to 0"),
        (np.array([["a"] * 3] * 3), "real numbers|finite numbers"),
    ],
)
@pytest.mark.parametrize("name", ["c.npz", "c.npy"])
def test_what_is_no_covariance_is_refused(
    covariance: np.ndarray, words: str, name: str, covariance_file: Callable[..., str]
) -> None:
    with pytest.raises(TaskError, match=words):
        read_covariance(Path(covariance_file(covariance, name)), 3)


def test_a_covariance_of_less_than_all_directions_is_one(covariance_file: Callable[..., str]) -> None:
    held = read_covariance(Path(covariance_file(np.diag([1.0, 0.0, 2.0]))), 3)
    assert torch.equal(held, torch.diag(torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)))
    rounded = np.outer([1, 2, 3], [1, 2, 3]).astype(np.float32) / 7
    assert Law(read_covariance(Path(covariance_file(rounded, "r.npy")), 3), 5).directions.shape == (3, 1)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "c.npy").write_bytes(b"nothing")
    with pytest.raises(TaskError, match=r"not a readable .npy"):
        read_covariance(tmp_path / "c.npy", 3)
    with pytest.raises(TaskError, match="cannot be read"):
        GDCertificate(covariance=str(tmp_path / "gone.npz")).fingerprint()
    np.savez(tmp_path / "c.npz", cov=MIXED)
    with pytest.raises(TaskError, match="lacks"):
        read_covariance(tmp_path / "c.npz", 3)


def test_a_changed_file_is_another_run(covariance_file: Callable[..., str]) -> None:
    one = GDCertificate(covariance=covariance_file(MIXED)).fingerprint()
    other = GDCertificate(covariance=covariance_file(2 * MIXED)).fingerprint()
    assert one.keys() == other.keys() == {"covariance_sha256"}
    assert one != other
    assert GDCertificate().fingerprint() == {}
    with pytest.raises(UsageError, match="n_context = 0"):
        GDCertificate(n_context=0)
