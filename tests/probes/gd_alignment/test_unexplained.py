"""The share of a prediction that a candidate leaves unexplained: by NumPy, and for models whose share is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models import TokenLayout, from_predictor, gd_transformer
from mesascope.probes import Findings, Measure
from mesascope.probes.comparing.behaviour import Behaviour
from mesascope.probes.comparing.unexplained import share_measures
from mesascope.probes.gd_alignment.behaviours import Comparison
from mesascope.probes.regression.reading import Reading
from torch import Tensor

Measured = Callable[..., Findings]


def behaviour(prediction: Tensor) -> Behaviour:
    return Behaviour(prediction, torch.zeros(*prediction.shape, 2, dtype=torch.float64))


def comparison(model: Tensor, **candidates: Tensor) -> Comparison:
    held = {name: behaviour(prediction) for name, prediction in candidates.items()}
    return Comparison(behaviour(model), held, torch.zeros_like(model), Reading(TokenLayout(2), {}), sign=1)


def shares(of: Comparison, nulls: dict[str, list[Comparison]] | None = None) -> Measure:
    return share_measures(of, nulls or {"shuffled labels": [of]}, seed=0)


@pytest.fixture
def model(rng: np.random.Generator) -> Tensor:
    """Far from 0, so that a share of the prediction's size would be another number."""
    return torch.from_numpy(rng.normal(50, 2, size=(300, 2)))


def test_the_share_is_the_difference_over_the_deviation_from_the_median(model: Tensor) -> None:
    other = model + torch.tensor([0.3, -0.4], dtype=torch.float64)
    measure = shares(comparison(model, gd=other)).sel(candidate="gd")
    p, middle = model.numpy(), np.median(model.numpy(), axis=0)
    expected = 0.5 / np.mean([np.sqrt(((row - middle) ** 2).sum()) for row in p])
    assert measure.estimate == pytest.approx(expected, rel=1e-12)
    # every difference is 0.5: only the deviation varies, and the interval is that of 1 / its mean
    deviation = np.sqrt(((p - middle) ** 2).sum(axis=1))
    half = 1.96 * deviation.std() / np.sqrt(300) / deviation.mean() * expected
    low, high = (float(end) for end in measure.interval)
    assert [low, high] == pytest.approx([expected - half, expected + half], rel=0.01)
    assert (measure.n, measure.replicate, measure.unit) == (300, "task", "share of the prediction's variation")


def test_all_is_explained_by_the_model_itself_and_nothing_by_a_constant(model: Tensor) -> None:
    constant = model.median(dim=0).values.expand_as(model)
    found = shares(comparison(model, gd=model, zero=constant))
    assert found.sel(candidate="gd").estimate == 0
    assert found.sel(candidate="zero").estimate == pytest.approx(1, abs=0.02)


def test_a_scale_and_a_shift_of_all_predictions_move_nothing(model: Tensor) -> None:
    other = model + 0.1 * model.flip(0)
    one = shares(comparison(model, gd=other))
    two = shares(comparison(7 * model - 300, gd=7 * other - 300))
    np.testing.assert_allclose([one.values, *one.interval], [two.values, *two.interval], rtol=1e-10)


def test_the_nulls_have_shares_of_their_own_variation(model: Tensor) -> None:
    still = torch.full_like(model, 3.0)
    nulls = {"untrained": [comparison(0.001 * model, gd=model), comparison(still, gd=model)]}
    measure = shares(comparison(model, gd=model), nulls).sel(candidate="gd")
    assert measure.nulls["untrained"][0] > 1_000
    assert len(measure.nulls["untrained"]) == 1  # without variation there is no share


def test_where_there_is_no_share_the_reason_is_said(model: Tensor) -> None:
    still = shares(comparison(torch.ones_like(model), gd=model)).sel(candidate="gd")
    assert (still.status, still.message) == ("undefined", "the model's predictions do not vary between these tasks")
    infinite = model.clone()
    infinite[3, 1] = torch.inf
    both = infinite.clone()
    both[:, 1] = torch.where(torch.arange(300) % 2 == 0, torch.inf, -torch.inf)  # with no middle between them
    for one, other in ((model, infinite), (infinite, model), (both, model)):
        assert shares(comparison(one, gd=other)).sel(candidate="gd").status == "undefined"


def test_a_step_and_a_disturbance_of_known_size(on_tasks: Measured) -> None:
    """A model that adds ±0.2 of its own mean deviation, whatever the query, is 20 % unexplained."""
    step = gd_transformer(10, 5.0, 10, dtype=torch.float32)

    def disturbed(inputs: Tensor) -> Tensor:
        sign = torch.sign(inputs[:, 0, :1])  # of a context input: the query's x has no part in it
        return step(inputs) + 0.2 * 0.5 * sign

    m = on_tasks(from_predictor(disturbed, TokenLayout(10)), learning_rate=5.0, n=400, twins="gd").measures
    deviation = m["prediction_difference_gd"].estimate / m["unexplained_share_gd"].estimate
    assert m["prediction_difference_gd"].estimate == pytest.approx(0.1, abs=1e-6)
    assert m["unexplained_share_gd"].estimate == pytest.approx(0.1 / deviation)
    assert 0.15 < m["unexplained_share_gd"].estimate < 0.25
    assert m["cosine_gd"].estimate > 0.9999  # which the cosine does not see
    assert (
        on_tasks(from_predictor(step, TokenLayout(10)), learning_rate=5.0, n=400, twins="gd")
        .measures["unexplained_share_gd"]
        .estimate
        < 1e-5
    )
