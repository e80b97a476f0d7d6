"""What cannot be measured, or only in part, says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import (
    NotApplicable,
    RegressionConfig,
    Regressor,
    from_transformer,
    gd_transformer,
    initialise,
)
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes.drawing import page
from mesascope.probes.spectral_filter.figures import FIGURES
from mesascope.probes.spectral_filter.probe import SpectralFilter
from torch import Tensor

Planted = Callable[..., Regressor]
Found = Callable[..., Any]
D, N = 4, 12


def step(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
    return 0.5 * torch.einsum("tni,tno,ti->to", X, Y, query)


def test_few_tasks_have_few_bins(planted: Planted, filtered: Found) -> None:
    found = filtered(planted(step), n=20)
    assert found["response"].values.shape == (1, 20 * D // 25)
    assert found.layers[0].rule == "gd"


def test_a_model_that_answers_nothing_of_this_kind() -> None:
    assert isinstance(SpectralFilter().applies(induction_circuit(d_vocab=24, n_ctx=24)), NotApplicable)


def test_a_predictor_without_a_gradient(planted: Planted, filtered: Found) -> None:
    """Nothing is read from it but with differences of its answers, which give the same."""

    def in_numpy(X: Tensor, Y: Tensor, query: Tensor) -> Tensor:
        return torch.from_numpy(step(X, Y, query).numpy().copy())

    without = filtered(planted(in_numpy))
    assert without["off_filter_share"].status == "not applicable"
    assert without.claim.badge == "Not applicable"
    assert without.claim.found.startswith("Nothing was measured: no gradient of the predictor reaches the query's x")
    assert "--sensitivities differences" in without.claim.found
    assert all(page.render(build, without.findings) is None for build in FIGURES.values())
    differences, whole = filtered(planted(in_numpy), sensitivities="differences"), filtered(planted(step))
    assert differences.layers[0].rule == whole.layers[0].rule == "gd"
    np.testing.assert_allclose(differences["response"].values, whole["response"].values, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("rate", [float("nan"), 1e300])
def test_weights_that_are_not_finite(rate: float, filtered: Found) -> None:
    found = filtered(from_transformer(gd_transformer(N, rate, D, n_layers=3)))
    assert found.claim.badge == "Weights are not finite"
    assert not found["off_filter_share"].has_number


@pytest.mark.parametrize("settings", [{"softmax": True}, {"layer_norm": True, "n_layers": 2}])
def test_other_transformers_have_jacobians(settings: dict[str, Any], filtered: Found) -> None:
    config = RegressionConfig(d_in=D, d_head=D + 1, **settings)
    found = filtered(from_transformer(initialise(config, 0.5, torch.Generator().manual_seed(0))), n=40)
    assert "The weights are derivatives at the query." in found.claim.evidence
    assert any("W is the derivative of the answer at the query" in one for one in found.claim.limits)
    assert "Jacobian" in found["off_filter_share"].message
    assert found.claim.badge == "No filter"


def test_a_query_that_attends_to_itself_is_not_linear(filtered: Found) -> None:
    plain = gd_transformer(N, 6.0, D, n_layers=2)
    config = RegressionConfig(**{**plain.config.as_dict(), "query_in_context": True})
    module = type(plain)(config, dict(plain.named_parameters()))
    found = filtered(from_transformer(module))
    assert found["not_linear_share"].estimate > 1e-4
    exact = filtered(from_transformer(plain))
    assert exact["not_linear_share"].estimate < 1e-20


def test_a_users_tasks_are_judged_by_the_other_half(planted: Planted, filtered: Found, tmp_path: Path) -> None:
    """All of them are, and each half's settings are those of the other."""
    batch = LinearRegression(n_context=N, d_in=D).sample(80, 0)
    np.savez(tmp_path / "own.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
    found = filtered(planted(step), tasks=str(tmp_path / "own.npz"))
    assert found["off_filter_share"].n == 80
    assert found.share("gd") < 1e-9
    assert found.findings.arrays["eigenvalues"].shape == (80, D)
