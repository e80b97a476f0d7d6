"""Constructed models as asked for: a learning rate for each layer, and another dampening than the model's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.data.settings import read_settings
from mesascope.models import RegressionConfig, TokenLayout, from_predictor, gd_transformer, gdpp_transformer, initialise
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.gd_alignment.constructed import ConstructedShape, constructed_gd

Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 30, "n_context": 5, "d_in": 3}
RATES = (5.9, 7.1, 8.3)
GIVEN: dict[str, Any] = {**LAW, "twins": "gd"}


def by_layer(tied: bool = False, dampening: float = 1.0) -> Any:
    """Three steps, each at a rate of its own; tied, all at the first."""
    rates = RATES[:1] if tied else RATES
    return gdpp_transformer(5, rates, [0.0] * len(rates), 3, n_layers=3, tied=tied, dampening=dampening)


# ---- a learning rate for each layer ----


def test_every_step_takes_its_own_rate(slow: Any) -> None:
    tokens = np.random.default_rng(0).normal(size=(4, 6, 4))
    tokens[:, -1, 3] = 0
    model = constructed_gd(ConstructedShape(5, 3, 1, 3, tied=True), RATES)
    expected = slow.answers(slow.Descent(RATES), tokens)
    np.testing.assert_allclose(model(torch.from_numpy(tokens)).numpy(), expected, rtol=1e-9)
    backwards = constructed_gd(ConstructedShape(5, 3, 1, 3), RATES[::-1])
    assert torch.allclose(backwards(torch.from_numpy(tokens)), model(torch.from_numpy(tokens)))  # steps commute


def test_descent_with_rates_by_layer_is_found_in_itself(on_tasks: Measured) -> None:
    m = on_tasks(by_layer(), learning_rate=RATES, **GIVEN).measures
    assert m["prediction_difference_gd"].estimate < 1e-12
    assert m["weight_distance_gd_trained"].estimate < 1e-12
    assert m["given_learning_rate"].values == pytest.approx(np.array(RATES))
    assert m["given_learning_rate"].message == "given, not fitted"
    assert m["learning_rate_gd"].status == "not applicable"
    assert "given_learning_rate" in m["learning_rate_gd"].message
    # a near miss: one rate for all, their mean
    one = on_tasks(by_layer(), learning_rate=float(np.mean(RATES)), **GIVEN).measures
    assert one["prediction_difference_gd"].estimate > 1e-3
    assert "given_learning_rate" not in one
    wrong = m["prediction_difference_by_gd_rate"]  # every rate at once times the factor
    assert wrong.sel(rate_factor=1.0).estimate < 1e-12 < 1e-2 < wrong.sel(rate_factor=0.5).estimate


@pytest.mark.parametrize("rates", [(5.9,), (5.9, 7.1), (1.0,) * 4])
def test_as_many_rates_as_layers(on_tasks: Measured, rates: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=f"learning_rate has {len(rates)} values; expected 3, one for each"):
        on_tasks(by_layer(), learning_rate=rates, **GIVEN)


def test_rates_of_a_predictor_say_how_many_steps_it_has(on_tasks: Measured) -> None:
    model = by_layer().float()
    m = on_tasks(from_predictor(model, TokenLayout(3)), learning_rate=RATES, **GIVEN).measures
    assert (m["constructed_steps"].estimate, m["constructed_steps"].message) == (3, "given")
    assert m["prediction_difference_gd"].estimate < 1e-5


def test_layers_that_share_a_block_have_no_weights_to_compare_with_them(on_tasks: Measured) -> None:
    m = on_tasks(by_layer(tied=True), learning_rate=RATES, **GIVEN).measures
    assert m["weight_distance_gd_trained"].status == "not applicable"
    assert "share one block" in m["weight_distance_gd_trained"].message
    assert m["prediction_difference_gd"].estimate > 1e-3


def test_several_rates_have_no_roll_out(on_tasks: Measured) -> None:
    model = initialise(RegressionConfig(3, d_head=4), 0.5, torch.Generator().manual_seed(0))
    given = {"learning_rate": (1.0, 2.0), "steps": 2}
    m = on_tasks(model, **given, **GIVEN).measures
    assert "several were given" in m["loss_rollout_model"].message
    one = on_tasks(model, **GIVEN, learning_rate=1.0).measures
    assert one["loss_rollout_model"].status == "ok"


# ---- dampening ----


@pytest.mark.parametrize("asked", [0.5, 1.0])
def test_constructed_models_are_dampened_as_asked(on_tasks: Measured, asked: float) -> None:
    """A step of rate 6, dampened by 0.5, is one of rate 3: in behaviour and in weights."""
    plain = gd_transformer(5, 6.0 * asked, 3)
    m = on_tasks(plain, learning_rate=6.0, dampening=asked, **GIVEN).measures
    for zero in ("prediction_difference_gd", "weight_distance_gd_trained", "loss_difference_gd"):
        assert abs(m[zero].estimate) < 1e-12, zero
    path = m["loss_path"].sel(candidate="gd", path="aligned").values
    np.testing.assert_allclose(path, path[0], rtol=1e-12)
    other = on_tasks(plain, learning_rate=6.0, dampening=1.5 - asked, **GIVEN).measures
    assert other["prediction_difference_gd"].estimate > 1e-2
    assert other["weight_distance_gd_trained"].estimate > 0.4


def test_without_a_word_they_are_dampened_as_the_model(on_tasks: Measured) -> None:
    model = gd_transformer(5, 6.0, 3, dampening=0.5)
    m = on_tasks(model, learning_rate=6.0, **GIVEN).measures
    assert m["prediction_difference_gd"].estimate < 1e-12
    undampened = on_tasks(model, learning_rate=6.0, dampening=1.0, **GIVEN).measures
    assert undampened["prediction_difference_gd"].estimate > 1e-2
    assert undampened["weight_distance_gd_trained"].estimate == pytest.approx(0.5)  # 3 is half of 6


def test_settings_are_read_and_recorded() -> None:
    """Lists are tuples, on the command line, too."""
    for given, text in (({"learning_rate": list(RATES)}, False), ({"learning_rate": "5.9,7.1,8.3"}, True)):
        assert read_settings(GDAlignment, given, text=text).settings()["learning_rate"] == RATES
    probe = read_settings(GDAlignment, {"sign": "-1", "dampening": "0.75"}, text=True)
    assert (probe.settings()["sign"], probe.settings()["dampening"]) == (-1, 0.75)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sign": 0}, "sign = 0; expected 1, -1 or none"),
        ({"sign": 2.0}, "sign = 2.0; expected 1, -1 or none"),
        ({"sign": "minus"}, "sign = 'minus'; expected 1, -1 or none"),
        ({"learning_rate": [5.0, "x"]}, r"learning_rate = \[5.0, 'x'\]; expected a number, a list of numbers or none"),
    ],
)
def test_other_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        read_settings(GDAlignment, settings)
