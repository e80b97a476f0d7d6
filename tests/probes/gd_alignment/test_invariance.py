"""What must not move gd-alignment's numbers: gauges, orders, batch sizes, names of heads; and what they agree with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import Batch, LinearRegression
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer, gd_transformer
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.algorithms.named import RIDGE
from mesascope.probes.algorithms.spectrum import decompose
from mesascope.probes.comparing.behaviour import cosine
from mesascope.probes.gd_alignment import distribution_shift
from mesascope.probes.gd_alignment.constructed import ConstructedShape, constructed_gd, constructed_gdpp
from mesascope.probes.gd_alignment.constructed_fits import fit_gdpp, fit_learning_rate
from mesascope.probes.measure import Measures, flat
from mesascope.probes.regression.sensitivity import behaviour
from torch import Tensor

Measured = Callable[..., Findings]
GIVEN = {"learning_rate": 5.901, "twins": "gd+gdpp", "gdpp_learning_rate": 7.0, "gdpp_gamma": 0.15}
FITTED = (
    "ridge",
    "gd_1",
    "gd_2",
    "gd_3",
    "gd_4",
    "gd_5",
    "gd_6",
    "candidate_cosines",
    "closeness_margins",
    "learning_rate_gd_",
)


def noisy(seed: int = 0, n_heads: int = 1, **settings: Any) -> tuple[RegressionConfig, Tensor, Tensor]:
    """Products near gradient descent, as those of a trained model; several heads share the work."""
    config = RegressionConfig(10, d_head=11, n_heads=n_heads, **settings)
    rng = torch.Generator().manual_seed(seed)
    shape = (config.n_blocks, n_heads, 11, 11)
    KQ, PV = (0.02 * torch.randn(shape, generator=rng, dtype=torch.float64) for _ in range(2))
    KQ[..., range(10), range(10)] += 1.0
    PV[..., 10, 10] -= 0.5 / n_heads
    return config, KQ, PV


def same(a: Findings, b: Findings, tolerance: float, but: tuple[str, ...] = ()) -> None:
    """Values, intervals and nulls of every measure, apart from those whose name contains one of `but`."""
    ones, others = flat(a.measures), flat(b.measures)
    assert ones.keys() == others.keys()
    compared = [name for name in ones if not any(part in name for part in but)]
    assert len(compared) > 10
    for name in compared:
        x, y = ones[name], others[name]
        assert x.status == y.status, name
        for one, other in [(x.values, y.values)] + [(x.nulls[null], y.nulls[null]) for null in x.nulls]:
            np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance / 100, err_msg=name)
        # intervals of fitted settings hold a second difference, good to half the digits
        np.testing.assert_allclose(x.interval, y.interval, rtol=max(tolerance, 1e-6), atol=tolerance, err_msg=name)


@pytest.mark.parametrize(
    ("settings", "factor"),
    [({}, 3.0), ({}, -0.4), ({"n_layers": 2}, -3.0), ({"n_layers": 2, "tied": False}, -0.4), ({"n_heads": 2}, -0.4)],
)
def test_the_gauge_moves_nothing_that_is_aligned(on_tasks: Measured, settings: dict[str, Any], factor: float) -> None:
    config, KQ, PV = noisy(**settings)
    each = factor ** torch.arange(1.0, KQ.shape[0] * KQ.shape[1] + 1).reshape(KQ.shape[:2])[..., None, None].double()
    plain, scaled = (
        on_tasks(RegressionTransformer.from_products(config, *pair), n=40, **GIVEN)
        for pair in ((KQ, PV), (KQ * each, PV / each))
    )
    same(plain, scaled, 1e-8, but=("unaligned",) if config.n_heads == 1 else ())
    if config.n_heads == 1:  # the path that is not aligned is the control: there a gauge looks like a barrier
        control, path = (scaled.measures[f"barrier_gd_{label}"] for label in ("unaligned", "aligned"))
        assert path.estimate < 0.05
        assert control.estimate > 0.05 or factor > 0


def test_heads_have_no_order(on_tasks: Measured) -> None:
    config, KQ, PV = noisy(n_heads=3)
    order = [2, 0, 1]
    plain = on_tasks(RegressionTransformer.from_products(config, KQ, PV), n=40, **GIVEN)
    relabelled = RegressionTransformer.from_products(config, KQ[:, order].clone(), PV[:, order].clone())
    same(plain, on_tasks(relabelled, n=40, **GIVEN), 1e-8)


def tokens(batch: Batch, order: Any, context: Any) -> Batch:
    inputs = batch.inputs[order]
    return Batch(torch.cat([inputs[:, context], inputs[:, -1:]], dim=1), batch.targets[order], batch.recipe)


def test_tasks_and_context_tokens_have_no_order(tasks_file: Callable[..., str]) -> None:
    """Means over tasks do not know their order. Fitted settings do: each half serves the other."""
    subject = from_transformer(RegressionTransformer.from_products(*noisy(n_layers=2)))
    batch, rng = LinearRegression().sample(40, 3), np.random.default_rng(0)
    shuffled = tokens(batch, rng.permutation(40), slice(0, 10))
    within = tokens(batch, slice(None), rng.permutation(10))
    plain, tasks, context = (
        GDAlignment(tasks=tasks_file(b, f"{i}.npz"), **GIVEN).measure(subject, 0, 64)
        for i, b in enumerate((batch, shuffled, within))
    )
    in_another_order, within_tasks = flat(tasks.measures), flat(context.measures)
    for name, measure in flat(plain.measures).items():
        other = in_another_order[name].values
        if not any(part in name for part in FITTED):
            np.testing.assert_allclose(measure.values, other, rtol=1e-10, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(measure.values, within_tasks[name].values, rtol=1e-8, atol=1e-11, err_msg=name)
    assert plain.measures["ridge_penalty"].values != pytest.approx(tasks.measures["ridge_penalty"].values, rel=1e-6)


def test_the_batch_size_moves_nothing(on_tasks: Measured) -> None:
    model = RegressionTransformer.from_products(*noisy(n_layers=2))
    one, all_at_once = (on_tasks(model, n=4, batch_size=size, **GIVEN) for size in (1, 64))
    same(one, all_at_once, 1e-12, but=FITTED)
    same(one, all_at_once, 1e-9)


def test_fits_to_the_loss_do_not_depend_on_the_batch_size() -> None:
    shape, tuning = ConstructedShape(10, 10, 1, 2), LinearRegression().sample(24, seed=5)
    rates = [fit_learning_rate(tuning, shape, size) for size in (5, 64)]
    gdpp = [fit_gdpp(tuning, shape, size) for size in (5, 64)]
    for one, other in (rates, *zip(*((*fit.learning_rates, *fit.gammas) for fit in gdpp), strict=True)):
        assert one.value == pytest.approx(other.value, rel=1e-8)
        assert [one.low, one.high] == pytest.approx([other.low, other.high], rel=1e-6)


# ---- agreement with closed forms and with the paper ----


def closed_form(rate: float, n: int = 10, d: int = 10, width: float = 1.0) -> float:
    """0.5 s (d - 2 η d s + η² M): the expected loss of one step of gradient descent from 0."""
    s, k4 = width**2 / 12, width**4 / 80
    M = (d * k4 + d * (d - 1) * s**2) / n + (1 - 1 / n) * d * s**2
    return 0.5 * s * (d - 2 * rate * d * s + rate**2 * M)


def test_fitted_rate_and_losses_are_those_of_the_closed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    same_law = tuple(curve for curve in distribution_shift.CURVES if not curve.name.startswith("other"))
    monkeypatch.setattr(distribution_shift, "CURVES", same_law)
    findings = GDAlignment(limit=1_000).measure(from_transformer(gd_transformer(10, 3.0, 10)), 0, 2048)
    m = Measures(findings.measures)
    low, high = m["learning_rate_gd"].interval
    assert low < 6.0606 < high
    assert high - low < 1.2
    for name, rate in {"loss_model": 3.0, "loss_gd": m["learning_rate_gd"].estimate}.items():
        low, high = m[name].interval
        assert low < closed_form(rate) < high
        assert high - low < 0.25 * closed_form(rate)
    assert abs(m["loss_zero"].estimate - 10 / 24) < 0.04
    along = m["loss_input_scale_model"]
    expected = [closed_form(3.0, width=width) for width in along.labels("input_range")]
    assert along.labels("input_range")[0] == 0.5
    assert len(expected) == 51
    np.testing.assert_allclose(along.values, expected, rtol=0.15)
    scales = np.array(m["loss_weight_scale_model"].labels("weight_scale"))
    losses = m["loss_weight_scale_model"].values
    np.testing.assert_allclose(losses / losses[5], scales**2 / scales[5] ** 2, rtol=1e-10)  # a linear model, exactly
    noisy_labels = m["loss_noisy_labels_model"]
    assert noisy_labels.labels("n_corrupted") == (0, 2, 4, 6, 8)
    assert (np.diff(noisy_labels.values) > 0.02).all()
    rollout = m["loss_rollout_gd"].sel(dampening=0.75).values
    assert rollout.shape == (50,)
    assert rollout[-1] < 0.3 * rollout[0]


def test_two_layers_learn_the_papers_gamma() -> None:
    """Figure 13: 0.179 for N = d = 10. Beside it plain descent has a cosine of about .95, and ridge one of .988."""
    shape, tuning = ConstructedShape(10, 10, 1, 2), LinearRegression().sample(1_500, 11)
    fit = fit_gdpp(tuning, shape, 2_048)
    assert 0.17 < fit.gammas[0].value < 0.19
    assert fit.gammas[0].low < 0.179 < fit.gammas[0].high
    held_out = LinearRegression().sample(1_000, 12)
    model = constructed_gdpp(shape, [fit.learning_rates[0].value], [fit.gammas[0].value])
    gdpp = behaviour(model, held_out.inputs, 10, 2_048)
    rate = fit_learning_rate(tuning, shape, 2_048)
    gd = behaviour(constructed_gd(shape, [rate.value]), held_out.inputs, 10, 2_048)
    assert float(cosine(gdpp.sensitivity, gd.sensitivity).mean()) == pytest.approx(0.95, abs=0.01)
    tasks = decompose(held_out.inputs, 10)
    near = RIDGE.weights(tasks, RIDGE.fit(tasks, gdpp.prediction).value)
    assert float(cosine(gdpp.sensitivity, near).mean()) == pytest.approx(0.988, abs=0.005)
