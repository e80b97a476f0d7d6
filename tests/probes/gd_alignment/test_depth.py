"""Measures along depth against the specification, and on models whose layers are known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    gd_transformer,
    gdpp_transformer,
    initialise,
)
from mesascope.probes import Findings
from mesascope.probes.gd_alignment.curvature import eigenvalues, spread

from .slow_cases import Run, cases, equal


def up_to(model: Any, layer: int) -> Any:
    """The model without what comes after a layer; a constructed one has a rate for each step."""
    if hasattr(model, "rates"):
        return replace(model, rates=model.rates[: layer + 1], gammas=model.gammas[: layer + 1])
    return replace(model, layers=model.layers[: layer + 1])


@cases()
def test_alignment_after_each_layer(run: Run) -> None:
    measures = run.findings.measures
    for layer in range(run.case.n_layers):
        ours = run.behaviour(up_to(run.model, layer))
        for name, constructed in run.constructed.items():
            compared = run.slow.comparisons(*ours, *run.behaviour(up_to(constructed, layer)))
            for metric in ("cosine", "model_difference", "prediction_difference"):
                found = measures[f"{metric}_by_layer"].sel(candidate=name)
                equal(found.values[layer], compared[metric])
                if layer == run.case.n_layers - 1:
                    equal(found.values[-1], measures[metric].sel(candidate=name).values)


@cases(lambda case: case.n_layers > 1)
def test_eigenvalues_of_the_inputs_that_each_layer_reads(run: Run) -> None:
    measures, d = run.findings.measures, run.case.d_in
    for name, model in ({"model": run.model} | run.constructed).items():
        eigenvalues, spreads = [], []
        for tokens in run.inputs:
            streams = [tokens, *model.streams(tokens)][: run.case.n_layers]
            moments = [sum(np.outer(x, x) for x in stream[:-1, :d]) for stream in streams]
            spectra = [sorted(np.linalg.svd(moment, compute_uv=False), reverse=True) for moment in moments]
            eigenvalues.append(spectra)
            spreads.append([math.sqrt(np.mean((s - np.mean(s)) ** 2)) / np.mean(s) for s in spectra])
        equal(measures["curvature_eigenvalues"].sel(candidate=name).values, np.mean(eigenvalues, axis=0))
        equal(measures["curvature_spread"].sel(candidate=name).values, np.mean(spreads, axis=0))


# ---- layers that are known ----

Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 30, "n_context": 6, "d_in": 3}
RATES, GAMMAS = (4.0, 6.0, 8.0), (0.2, 0.1, 0.05)
GIVEN: dict[str, Any] = {**LAW, "learning_rate": 6.0, "gdpp_learning_rate": 6.0, "gdpp_gamma": 0.1}


def of_rates(gammas: tuple[float, ...] = GAMMAS) -> RegressionTransformer:
    return gdpp_transformer(6, RATES, gammas, 3, n_layers=3, tied=False)


def test_gdpp_turns_each_eigenvalue_as_the_closed_form_says(on_tasks: Measured) -> None:
    m = on_tasks(of_rates(), **GIVEN).measures
    assert m["curvature_eigenvalues"].labels("layer") == m["curvature_spread"].labels("layer") == ("inputs", 0, 1)
    X = LinearRegression(n_context=6, d_in=3).sample(30, seed=17).inputs[:, :-1, :3].double().numpy()
    held = np.linalg.svd(X, compute_uv=False) ** 2
    expected = [held]
    for gamma in GAMMAS[:2]:
        held = held * (1 - gamma * held) ** 2
        expected.append(-np.sort(-held, axis=1))
    found = m["curvature_eigenvalues"].sel(candidate="model")
    np.testing.assert_allclose(found.values, np.mean(expected, axis=1), rtol=1e-10)
    assert found.interval[0][0, 0] < found.values[0, 0] < found.interval[1][0, 0]
    spreads = m["curvature_spread"].sel(candidate="model").values
    np.testing.assert_allclose(spreads, [(s.std(axis=1) / s.mean(axis=1)).mean() for s in expected], rtol=1e-10)
    assert spreads[2] < spreads[1] < spreads[0]


def test_gradient_descent_leaves_the_inputs_as_they_are(on_tasks: Measured) -> None:
    m = on_tasks(gd_transformer(6, 6.0, 3, n_layers=3), **GIVEN).measures
    for name in ("model", "gd"):
        values = m["curvature_eigenvalues"].sel(candidate=name).values
        np.testing.assert_allclose(values, np.tile(values[:1], (3, 1)), rtol=1e-12)
    assert np.ptp(m["curvature_spread"].sel(candidate="gdpp").values) > 0.05


def test_a_rotation_of_inputs_and_a_larger_batch_change_no_eigenvalue() -> None:
    x = torch.randn(7, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    turn, _ = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    np.testing.assert_allclose(eigenvalues(x @ turn), eigenvalues(x), atol=1e-12)
    np.testing.assert_allclose(eigenvalues(x.flip(1))[2:3], eigenvalues(x[2:3]), atol=1e-12)
    np.testing.assert_allclose(spread(9 * eigenvalues(x).numpy()), spread(eigenvalues(x).numpy()))
    assert (eigenvalues(x).diff(dim=1) <= 0).all()


def test_what_is_not_finite_has_no_eigenvalues_and_spoils_no_other_task() -> None:
    x = torch.ones(3, 4, 3)
    x[1, 0, 0] = torch.inf
    found = eigenvalues(x).numpy()
    assert np.isnan(found[1]).all()
    np.testing.assert_allclose(found[[0, 2]], [[12, 0, 0], [12, 0, 0]], atol=1e-6)
    assert np.isnan(spread(np.zeros(3)))


def test_a_model_agrees_with_itself_at_every_depth_and_with_a_near_miss_until_they_part(on_tasks: Measured) -> None:
    tied = gdpp_transformer(6, [6.0], [0.1], 3, n_layers=3)
    m = on_tasks(tied, **GIVEN).measures
    assert m["cosine_by_layer"].sel(candidate="gdpp").values == pytest.approx(np.ones(3))
    assert m["model_difference_by_layer"].sel(candidate="gdpp").values == pytest.approx(np.zeros(3), abs=1e-12)
    cosines = m["cosine_by_layer"].sel(candidate="gd").values
    assert 1 - cosines[0] < 1e-12 < 5e-5 < 1 - cosines[1:].max()  # one step is the same, and then the inputs differ
    turned = on_tasks(tied, **GIVEN, sign=-1).measures
    assert turned["cosine_by_layer"].sel(candidate="gd").values == pytest.approx(-cosines)


def test_constructed_models_of_fewer_steps_are_compared_while_they_last(on_tasks: Measured) -> None:
    m = on_tasks(gd_transformer(6, 6.0, 3, n_layers=3), **GIVEN, steps=2).measures
    assert m["cosine_by_layer"].sel(candidate="gd").values == pytest.approx(np.ones(2))
    assert m["curvature_spread"].values.shape == (3, 2)


# ---- where it does not apply ----


def test_depth_of_what_has_none_is_said_in_words(on_tasks: Measured) -> None:
    predictor = from_predictor(gd_transformer(6, 6.0, 3).float(), TokenLayout(3))
    m = on_tasks(predictor, **LAW, learning_rate=6.0, steps=1).measures
    assert "no layers" in m["cosine_by_layer_gd"].message
    assert "no layers" in m["curvature_spread_model"].message
    m = on_tasks(gd_transformer(6, 6.0, 3), **LAW, learning_rate=6.0).measures
    assert m["curvature_spread_model"].status == "not applicable"
    assert "one layer" in m["curvature_eigenvalues_model"].message
    assert m["cosine_by_layer"].sel(candidate="gd").values == pytest.approx([1.0])


def test_inputs_behind_an_embedding_have_no_curvature(on_tasks: Measured) -> None:
    config = RegressionConfig(3, n_layers=2, d_head=4, d_position=2)
    model = initialise(config, 0.5, torch.Generator().manual_seed(0))
    m = on_tasks(model, **GIVEN).measures
    assert m["curvature_spread_model"].status == "not applicable"
    assert "position codes" in m["curvature_spread_model"].message
    assert m["cosine_by_layer"].sel(candidate="gd").values.shape == (2,)


def test_a_roll_out_that_overflows_says_so(on_tasks: Measured) -> None:
    """At ten thousand times its rate the 50th loss is beyond float32."""
    m = on_tasks(gd_transformer(6, 6e4, 3, dtype=torch.float32), **LAW, learning_rate=6.0).measures
    undamped = m["loss_rollout"].sel(candidate="model", dampening=1.0)
    assert np.isfinite(undamped.values[0])
    assert np.isnan(undamped.values[-1])
    assert "overflows" in m["loss_rollout"].sel(candidate="model").message
    assert np.isfinite(m["loss_rollout"].sel(candidate="gd").values).all()
