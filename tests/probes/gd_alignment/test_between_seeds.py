"""Ceilings between the seeds of one recipe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.models import RegressionTransformer, TokenLayout, from_predictor, from_transformer, gd_transformer
from mesascope.models.regressors import TransformerRegressor
from mesascope.probes import GDAlignment
from mesascope.probes.statistics.bootstrap import t_interval

ALL = {
    f"{name}_between_seeds"
    for name in ("cosine", "prediction_difference", "model_difference", "loss_path", "barrier", "weight_distance")
}
PROBE = GDAlignment(limit=50)


def trained(rate: float, gauge: float = 1.0) -> TransformerRegressor:
    model = gd_transformer(10, rate, 10)
    KQ, PV = model.W_Q @ model.W_K.mT, model.W_V @ model.W_O
    return from_transformer(RegressionTransformer.from_products(model.config, KQ * gauge, PV / gauge))


def test_every_seed_meets_the_next_one_around_the_circle() -> None:
    measures = PROBE.between((trained(4.0), trained(5.0), trained(8.0)), 0, 64)
    assert set(measures) == ALL
    distance = measures["weight_distance_between_seeds"]
    assert distance.points == pytest.approx(np.array([1 / 5, 3 / 8, 4 / 4]))
    assert distance.estimate == pytest.approx(distance.points.mean())
    np.testing.assert_allclose(distance.interval, t_interval(distance.points))
    assert (distance.n, distance.replicate) == (3, "pair of seeds")
    assert measures["cosine_between_seeds"].points == pytest.approx([1, 1, 1], abs=1e-7)
    gaps = measures["prediction_difference_between_seeds"].points
    assert gaps == pytest.approx(gaps[0] * np.array([1, 3, 4]))
    assert measures["loss_path_between_seeds"].points.shape == (3, 21)
    assert measures["barrier_between_seeds"].estimate == pytest.approx(0, abs=1e-12)


def test_seeds_in_different_gauges_are_one_model() -> None:
    measures = PROBE.between((trained(5.0), trained(5.0, gauge=-3.0)), 0, 64)
    assert measures["weight_distance_between_seeds"].n == 1
    assert np.isnan(measures["weight_distance_between_seeds"].interval).all()
    for name in ("weight_distance", "barrier", "prediction_difference", "model_difference"):
        assert measures[f"{name}_between_seeds"].estimate == pytest.approx(0, abs=1e-9)
    path = measures["loss_path_between_seeds"].values
    np.testing.assert_allclose(path, path[0], rtol=1e-12)


def test_one_seed_has_no_ceiling_and_predictors_none_in_weights() -> None:
    assert PROBE.between((trained(5.0),), 0, 64) == {}
    layout = TokenLayout(10)
    seeds = tuple(from_predictor(lambda x, s=sign: s * x[:, -1, 0], layout) for sign in (1, 1, -1))
    measures = PROBE.between(seeds, 0, 64)
    assert measures["cosine_between_seeds"].points == pytest.approx([1, -1, -1], abs=1e-6)
    for name in ("loss_path", "barrier", "weight_distance"):
        assert measures[f"{name}_between_seeds"].status == "not applicable"
    assert torch.is_grad_enabled()
