"""Responses, losses and shares, beside NumPy; intervals that are paired; nothing that is not finite."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.shift_battery.battery import Along
from mesascope.probes.shift_battery.ratios import exponent, plain, ratios

RNG = np.random.default_rng(0)
MODEL, RULE, OTHER, Y = (RNG.normal(size=(200, 3, 2)) for _ in range(4))
MODEL += 0.7 * Y + 0.4
ALONG = Along(
    (0.5, 1.0, 2.0), 1.0, torch.from_numpy(MODEL), {"gd": torch.from_numpy(RULE), "ridge": torch.from_numpy(OTHER)},
    torch.from_numpy(Y),
)  # fmt: skip


def test_every_ratio() -> None:
    own, resampled = ratios(ALONG, 0)
    labels, variance = (Y**2).sum((0, 2)), ((MODEL - MODEL.mean(axis=0)) ** 2).sum((0, 2))
    expected = {
        "response": (own.response("model"), (MODEL * Y).sum((0, 2)) / labels),
        "of a rule": (own.response("ridge"), (OTHER * Y).sum((0, 2)) / labels),
        "loss": (own.loss("model"), ((MODEL - Y) ** 2).sum((0, 2)) / labels),
        "unexplained": (own.unexplained("gd"), ((MODEL - RULE) ** 2).sum((0, 2)) / variance),
        "distance": (own.distance("gd", "ridge"), ((OTHER - RULE) ** 2).sum((0, 2)) / variance),
        "the same": (own.distance("ridge", "gd"), ((OTHER - RULE) ** 2).sum((0, 2)) / variance),
        "itself": (own.distance("gd", "gd"), np.zeros(3)),
    }
    for name, (found, by_numpy) in expected.items():
        np.testing.assert_allclose(found, by_numpy, err_msg=name)
    assert resampled.unexplained("gd").shape == (2_000, 3)
    low, high = np.quantile(resampled.unexplained("gd"), [0.025, 0.975], axis=0)
    assert (low < own.unexplained("gd")).all()
    assert (own.unexplained("gd") < high).all()
    np.testing.assert_allclose(plain(ALONG).loss("gd"), own.loss("gd"))


def test_resamples_are_paired() -> None:
    """A rule twice as far from the model is four times as far in every resample."""
    far = Along(ALONG.strengths, 1.0, ALONG.model, {"gd": ALONG.model + 1, "ridge": ALONG.model + 2}, ALONG.targets)
    _, resampled = ratios(far, 0)
    np.testing.assert_allclose(resampled.unexplained("ridge"), 4 * resampled.unexplained("gd"))


def test_what_diverges_is_infinite_and_what_is_constant_has_no_variance() -> None:
    huge = ALONG.model.clone()
    huge[:, 2] = 1e200
    own = plain(Along(ALONG.strengths, 1.0, ALONG.model, {"gd": huge}, ALONG.targets))
    np.testing.assert_array_equal(np.isinf(own.unexplained("gd")), [False, False, True])
    assert own.answered.all()
    constant = torch.full_like(ALONG.model, 3.0)
    assert not np.isfinite(
        plain(Along(ALONG.strengths, 1.0, constant, {"gd": huge}, ALONG.targets)).unexplained("gd")
    ).any()
    gone = ALONG.model.clone()
    gone[0, 1] = torch.nan
    np.testing.assert_array_equal(
        plain(Along(ALONG.strengths, 1.0, gone, {}, ALONG.targets)).answered, [True, False, True]
    )


@pytest.mark.parametrize("power", [0.0, 1.3, 2.0])
def test_an_exponent_is_read_off_small_scales(power: float) -> None:
    strengths = (0.25, 0.5, 1.0, 2.0, 4.0)
    response = 0.3 * np.array(strengths) ** power
    response[3:] = [-50.0, np.inf]
    assert float(exponent(response, strengths)) == pytest.approx(power)
    assert np.isnan(exponent(-response, strengths))
    assert exponent(np.stack([response, response]), strengths).shape == (2,)
