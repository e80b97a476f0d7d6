"""How much of KQ and PV lies outside of what the constructions fill: planted, absent, in closed form, and in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
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
from mesascope.probes.gd_alignment.patterns import filled_by, outside_share, spread_of_diagonal

from .slow_cases import Run, cases, equal, single_head

Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 30, "n_context": 6, "d_in": 3}
GIVEN: dict[str, Any] = {**LAW, "learning_rate": 6.0, "gdpp_learning_rate": 6.0, "gdpp_gamma": 0.1}
PLACES = [(product, pattern) for product in ("KQ", "PV") for pattern in ("gd", "gdpp")]


def outside(findings: Findings, product: str, pattern: str) -> np.ndarray:
    return findings.measures["outside_pattern"].sel(product=product, pattern=pattern).values


# ---- the formulas ----


def everything_lives(d: int, blocks: int = 1) -> torch.Tensor:
    return torch.ones(blocks, d, d, dtype=torch.bool)


def turn(d: int, seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))
    return q


@pytest.mark.parametrize("scale", [1.0, -7.0])
def test_a_turned_identity_and_noise_have_the_closed_form(scale: float) -> None:
    d, rotation = 4, turn(4, 0)
    P = np.zeros((2, d + 1, d + 1))
    P[0, :d, :d] = scale * rotation
    P[1, :d, :d], P[1, 0, d] = scale * np.eye(d), scale * 0.3
    found = outside_share(torch.from_numpy(P), everything_lives(d + 1, 2), filled_by("gd", "KQ", d))
    expected = [math.sqrt(1 - (np.trace(rotation) / d) ** 2), 0.3 / math.sqrt(d + 0.09)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_what_a_pattern_fills_is_free_and_nothing_else() -> None:
    P = torch.diag(torch.tensor([2.0, 2.0, 2.0, -5.0], dtype=torch.float64))[None]
    lives = everything_lives(4)
    assert outside_share(P, lives, filled_by("gdpp", "PV", 3)) == pytest.approx([0])
    assert outside_share(P, lives, filled_by("gd", "PV", 3)) == pytest.approx([math.sqrt(12 / 37)])
    assert outside_share(P, lives, filled_by("gd", "KQ", 3)) == pytest.approx([5 / math.sqrt(37)])
    assert filled_by("gdpp", "KQ", 3) == filled_by("gd", "KQ", 3)
    two_labels = torch.diag(torch.tensor([0.0, 3.0, 1.0], dtype=torch.float64))[None]
    assert outside_share(two_labels, everything_lives(3), filled_by("gd", "PV", 1)) == pytest.approx(
        [math.sqrt(2 / 10)]
    )


def test_neither_scale_nor_the_order_of_inputs_matters_and_no_argument_is_written_to() -> None:
    P = torch.randn(1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    before, lives, order = P.clone(), everything_lives(4), [2, 0, 1, 3]
    moved = -3 * P[:, order][:, :, order]
    for product, pattern in PLACES:
        filled = filled_by(pattern, product, 3)
        np.testing.assert_allclose(outside_share(moved, lives, filled), outside_share(P, lives, filled), rtol=1e-12)
    np.testing.assert_allclose(spread_of_diagonal(moved, lives, 3), spread_of_diagonal(P, lives, 3), rtol=1e-12)
    assert torch.equal(P, before)


def test_a_spread_is_the_deviation_over_the_mean_and_is_not_there_without_one() -> None:
    P = torch.stack([torch.diag(torch.tensor(row, dtype=torch.float64)) for row in ([-1, -3, 9], [1, -1, 9])])
    assert spread_of_diagonal(P, everything_lives(3, 2), 2) == pytest.approx([0.5, np.nan], nan_ok=True)
    dead = everything_lives(3, 2)
    dead[:, :, :2] = False
    assert np.isnan(spread_of_diagonal(P, dead, 2)).all()
    assert np.isnan(outside_share(torch.zeros(1, 3, 3), everything_lives(3), filled_by("gd", "KQ", 2))).all()


# ---- in a report ----


@cases(single_head)
def test_shares_and_spreads_in_numpy(run: Run) -> None:
    case, measures = run.case, run.findings.measures
    d, total = case.d_in, case.d_in + case.d_out
    for block, [(W_Q, W_K, W_V, W_O)] in enumerate(run.model.layers[: 1 if case.tied else None]):
        last = block + 1 == case.n_layers
        live = {"KQ": np.ones((total, total)), "PV": np.ones((total, total))}
        if case.n_layers == 1 and not case.label_set:
            live["KQ"][d:] = 0
        if last or case.model.get("target_only"):
            live["PV"][:, :d] = 0
        for product, matrix in {"KQ": W_Q @ W_K.T * live["KQ"], "PV": W_V @ W_O * live["PV"]}.items():
            for pattern in ("gd", "gdpp"):
                blocks = {("KQ", "gd"): [0], ("KQ", "gdpp"): [0], ("PV", "gd"): [1]}.get((product, pattern), [0, 1])
                basis = [np.diag([float((i >= d) == bool(part)) for i in range(total)]) for part in blocks]
                left = matrix - sum((matrix * b).sum() / b.sum() * b for b in basis)
                share = math.sqrt((left**2).sum() / (matrix**2).sum())
                equal(outside(run.findings, product, pattern)[block], share)
            diagonal = [matrix[i, i] for i in range(d)]
            spread = np.nan if not any(diagonal) else np.std(diagonal) / abs(np.mean(diagonal))
            equal(measures["diagonal_spread"].sel(product=product).values[block], spread)


def test_constructed_models_have_their_patterns(on_tasks: Measured) -> None:
    for model in (gd_transformer(6, 6.0, 3), gd_transformer(6, 6.0, 3, n_layers=3)):
        found = on_tasks(model, **GIVEN)
        for product, pattern in PLACES:
            assert outside(found, product, pattern) == pytest.approx([0], abs=1e-12)
    curving = gdpp_transformer(6, [6.0, 4.0, 5.0], [0.2, 0.1, 0.3], 3, n_layers=3, tied=False)
    found = on_tasks(curving, **GIVEN)
    assert outside(found, "PV", "gdpp") == pytest.approx(np.zeros(3), abs=1e-12)
    expected = [math.sqrt(3 * gamma**2 / (3 * gamma**2 + (rate / 6) ** 2)) for rate, gamma in ((6, 0.2), (4, 0.1))]
    assert outside(found, "PV", "gd") == pytest.approx([*expected, 0.0])  # nothing reads what the last layer curves
    spread = found.measures["diagonal_spread"]
    assert spread.sel(product="PV").values == pytest.approx([0, 0, np.nan], abs=1e-12, nan_ok=True)
    assert spread.sel(product="KQ").values == pytest.approx(np.zeros(3), abs=1e-12)
    assert "cannot reach the output" in spread.sel(product="PV").message


def regauged(model: RegressionTransformer) -> RegressionTransformer:
    """The same model: KQ and PV times -2 and -1/2, and a basis within the head."""
    basis = torch.randn(model.config.d_head, model.config.d_head, dtype=torch.float64).mul_(0.1) + torch.eye(
        model.config.d_head, dtype=torch.float64
    )
    changed = {
        "W_Q": model.W_Q @ basis * -2,
        "W_K": model.W_K @ torch.linalg.inv(basis).mT,
        "W_O": model.W_O / -2,
    }
    return RegressionTransformer(model.config, {**dict(model.named_parameters()), **changed})


def test_noise_is_found_at_its_size_and_no_gauge_matters(on_tasks: Measured) -> None:
    model = gd_transformer(6, 6.0, 3)
    with torch.no_grad():
        model.W_Q[0, 0, 0, 1] += 0.2  # KQ at (x0, x1)
        model.W_Q[0, 0, 3, 3] += 5.0  # dead: the query's label is 0
    for held in (model, regauged(model)):
        found = on_tasks(held, **GIVEN)
        assert outside(found, "KQ", "gd") == pytest.approx([0.2 / math.sqrt(3.04)], rel=1e-9)
        assert outside(found, "PV", "gd") == pytest.approx([0], abs=1e-12)


@pytest.mark.usefixtures("all_nulls")
def test_untrained_models_are_outside(on_tasks: Measured) -> None:
    measures = on_tasks(gdpp_transformer(6, [6.0], [0.1], 3, n_layers=2), **GIVEN).measures
    for product, pattern in PLACES:
        null = measures["outside_pattern"].sel(product=product, pattern=pattern).nulls["untrained"]
        assert null.shape == (50, 1)
        assert null.min() > 0.6
    assert np.median(measures["diagonal_spread"].sel(product="PV").nulls["untrained"]) > 0.5


def test_where_no_pattern_is_to_be_expected_it_says_why(on_tasks: Measured) -> None:
    def of(**settings: Any) -> RegressionTransformer:
        config = RegressionConfig(3, d_head=4, **settings)
        return initialise(config, 0.4, torch.Generator().manual_seed(1))

    predictor = from_predictor(gd_transformer(6, 6.0, 3).float(), TokenLayout(3))
    for subject, reason in (
        (of(n_heads=2), "several heads"),
        (of(softmax=True), "softmax"),
        (of(layer_norm=True), "layer norm"),
        (of(mlp="shared"), "MLPs"),
        (predictor, "cannot read"),
    ):
        measures = on_tasks(subject, **LAW, learning_rate=6.0, steps=1).measures
        for name in ("outside_pattern_KQ_gd", "outside_pattern_PV_gdpp", "diagonal_spread_KQ"):
            assert measures[name].status == "not applicable"
            assert reason in measures[name].message
    one = on_tasks(gd_transformer(6, 6.0, 3), **GIVEN).measures["diagonal_spread_PV"]
    assert one.status == "not applicable"
    assert "cannot reach the output" in one.message


def test_constructed_models_of_another_depth_leave_the_pattern_as_it_is(on_tasks: Measured) -> None:
    found = on_tasks(gd_transformer(6, 6.0, 3, n_layers=3), **GIVEN, steps=2)
    assert found.measures["weight_distance_gd_trained"].status == "not applicable"
    assert outside(found, "PV", "gd") == pytest.approx([0], abs=1e-12)
