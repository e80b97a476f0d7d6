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
from mesascope.probes.gd_alignment.constructed import TwinShape, fit_gdpp, fit_learning_rate, gd_twin, gdpp_twin
from mesascope.probes.gd_alignment.rivals import decompose, rivals
from mesascope.probes.gd_alignment.sensitivity import behaviour, cosine
from torch import Tensor

Measured = Callable[..., Findings]
GIVEN = {"learning_rate": 5.901, "twins": "gd+gdpp", "gdpp_learning_rate": 7.0, "gdpp_gamma": 0.15}
FITTED = ("ridge", "gd_1", "gd_2", "gd_3", "gd_4", "rival_cosines", "closeness_margins", "learning_rate_gd_")


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
    assert a.measures.keys() == b.measures.keys()
    compared = [name for name in a.measures if not any(part in name for part in but)]
    assert len(compared) > 10
    for name in compared:
        x, y = a.measures[name], b.measures[name]
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
        control, path = scaled.measures["barrier_gd_unaligned"], scaled.measures["barrier_gd"]
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
    """Means over tasks do not know their order. Fitted rivals do: each half serves the other."""
    subject = from_transformer(RegressionTransformer.from_products(*noisy(n_layers=2)))
    batch, rng = LinearRegression().sample(40, 3), np.random.default_rng(0)
    shuffled = tokens(batch, rng.permutation(40), slice(0, 10))
    within = tokens(batch, slice(None), rng.permutation(10))
    plain, tasks, context = (
        GDAlignment(tasks=tasks_file(b, f"{i}.npz"), **GIVEN).measure(subject, 0, 64)
        for i, b in enumerate((batch, shuffled, within))
    )
    for name, measure in plain.measures.items():
        other = tasks.measures[name].values
        if not any(part in name for part in FITTED):
            np.testing.assert_allclose(measure.values, other, rtol=1e-10, atol=1e-13, err_msg=name)
        np.testing.assert_allclose(measure.values, context.measures[name].values, rtol=1e-8, atol=1e-11, err_msg=name)
    assert plain.measures["ridge_penalty"].values != pytest.approx(tasks.measures["ridge_penalty"].values, rel=1e-6)


def test_the_batch_size_moves_nothing(on_tasks: Measured) -> None:
    model = RegressionTransformer.from_products(*noisy(n_layers=2))
    one, all_at_once = (on_tasks(model, n=8, batch_size=size, **GIVEN) for size in (1, 64))
    same(one, all_at_once, 1e-12, but=FITTED)
    same(one, all_at_once, 1e-9)


def test_fitted_twins_do_not_depend_on_the_batch_size(on_tasks: Measured) -> None:
    model = RegressionTransformer.from_products(*noisy(n_layers=2))
    same(*(on_tasks(model, n=24, batch_size=size) for size in (12, 64)), 1e-8)


# ---- agreement with closed forms and with the paper ----


def closed_form(rate: float, n: int = 10, d: int = 10, width: float = 1.0) -> float:
    """0.5 s (d - 2 η d s + η² M): the expected loss of one step of gradient descent from 0."""
    s, k4 = width**2 / 12, width**4 / 80
    M = (d * k4 + d * (d - 1) * s**2) / n + (1 - 1 / n) * d * s**2
    return 0.5 * s * (d - 2 * rate * d * s + rate**2 * M)


def test_fitted_rate_and_losses_are_those_of_the_closed_form() -> None:
    findings = GDAlignment(limit=1_000).measure(from_transformer(gd_transformer(10, 3.0, 10)), 0, 2048)
    m = findings.measures
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
    rollout = m["loss_rollout_gd"].values
    assert rollout.shape == (50,)
    assert rollout[-1] < 0.3 * rollout[0]


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_spectral_rivals_are_the_constructed_twins(steps: int) -> None:
    batch = LinearRegression(7, 5, 2).sample(20, 1)
    rival = next(r for r in rivals(steps) if r.name == f"gd_{steps}")
    ours = rival.behaviour(decompose(batch.inputs, 5), 2.3)
    twin = behaviour(gd_twin(TwinShape(7, 5, 2, steps), 2.3), batch.inputs, 5, 8)
    torch.testing.assert_close(ours.prediction, twin.prediction, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(ours.sensitivity, twin.sensitivity, rtol=1e-10, atol=1e-13)


def test_least_squares_of_minimum_norm_loses_what_it_cannot_see() -> None:
    """x, w ~ N(0, I), n < d labels without noise: the risk is d - n."""
    rng = torch.Generator().manual_seed(0)
    min_norm = next(r for r in rivals(1) if r.name == "min_norm")
    for n in (5, 10, 19, 40):
        x = torch.randn(4_000, n + 1, 20, generator=rng, dtype=torch.float64)
        y = x @ torch.randn(4_000, 20, 1, generator=rng, dtype=torch.float64)
        found = min_norm.behaviour(decompose(torch.cat([x, y], dim=2), 20), float("nan"))
        squares = (found.prediction - y[:, -1]).square()
        assert float(squares.mean()) == pytest.approx(max(20 - n, 0), abs=4 * float(squares.std()) / 4_000**0.5 + 1e-9)


@pytest.mark.parametrize("n", [3, 8])
def test_least_squares_with_tokens_that_repeat(n: int) -> None:
    """Contexts of rank 2: singular values that are rounding errors are no directions to divide by."""
    batch = LinearRegression(n, 4).sample(6, 2)
    inputs = batch.inputs.clone()
    inputs[:, 2:n, :] = inputs[:, [0], :] * 0.5 + inputs[:, [1], :]
    min_norm = next(r for r in rivals(1) if r.name == "min_norm")
    found = min_norm.behaviour(decompose(inputs, 4), float("nan")).prediction
    for task, prediction in zip(inputs.numpy(), found.numpy(), strict=True):
        w = np.linalg.lstsq(task[:-1, :4], task[:-1, 4:], rcond=None)[0]
        np.testing.assert_allclose(prediction, task[-1, :4] @ w, rtol=1e-9, atol=1e-12)


def test_two_layers_learn_the_papers_gamma() -> None:
    """Figure 13: 0.179 for N = d = 10. Beside it plain descent has a cosine of about .95, and ridge one of .988."""
    shape, tuning = TwinShape(10, 10, 1, 2), LinearRegression().sample(1_500, 11)
    fit = fit_gdpp(shape, tuning, 2_048)
    assert 0.17 < fit.gammas[0].value < 0.19
    assert fit.gammas[0].low < 0.179 < fit.gammas[0].high
    held_out = LinearRegression().sample(1_000, 12)
    gdpp = behaviour(gdpp_twin(shape, [fit.learning_rates[0].value], [fit.gammas[0].value]), held_out.inputs, 10, 2_048)
    rate = fit_learning_rate(shape, tuning, 2_048)
    gd = behaviour(gd_twin(shape, rate.value), held_out.inputs, 10, 2_048)
    assert float(cosine(gdpp.sensitivity, gd.sensitivity).mean()) == pytest.approx(0.95, abs=0.01)
    ridge, tasks = next(r for r in rivals(2) if r.name == "ridge"), decompose(held_out.inputs, 10)
    penalty = ridge.fit(tasks, gdpp.prediction)
    assert penalty is not None
    near = ridge.behaviour(tasks, penalty.value)
    assert float(cosine(gdpp.sensitivity, near.sensitivity).mean()) == pytest.approx(0.988, abs=0.005)
