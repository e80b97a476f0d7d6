"""The verdict on shipped models, and what must not move it: signs, token layouts, orders, scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope import models
from mesascope.data import LinearRegression
from mesascope.models import Regressor, TokenLayout, from_predictor, from_transformer, gdpp_transformer
from mesascope.probes import Findings, ICLAlgorithm
from mesascope.probes.gd_certificate.optimum import Law, expected_loss, optimal_matrix
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_algorithm.names import FAMILIES
from mesascope.probes.icl_algorithm.standing import Standing, standing
from mesascope.probes.regression import token_search
from torch import Tensor

Measured = Callable[..., Findings]
D, N = 3, 8
RULES = ("gd", "gdpp", "preconditioned", "cg", "ridge", "mean_label", "last_label")
MODEL = gdpp_transformer(N, [7.0], [0.25], D, n_layers=2)


def order_of(findings: Findings) -> Standing:
    order = standing(findings.measures)
    assert order is not None
    return order


@pytest.fixture(scope="module")
def plain(measured: Measured) -> Findings:
    return measured(from_transformer(MODEL), RULES)


def same(one: Findings, other: Findings, tolerance: float = 1e-6) -> None:
    """The verdict, and what decides it."""
    first, second = order_of(one), order_of(other)
    assert (first.verdict, first.winner) == (second.verdict, second.winner) == ("agrees", "gdpp")
    for name in ("unexplained_share", "error_cosine", "cosine", "norm_ratio", "candidate_distance", "steps", "loss"):
        ours, theirs = one.measures[name].values, other.measures[name].values
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("given", [None, -1])
def test_a_negated_output(given: int | None, plain: Findings, measured: Measured) -> None:
    negative = from_predictor(lambda tokens: -MODEL(tokens.double()), TokenLayout(D, order="joint", label_slot=D))
    found = measured(negative, RULES, sign=given)
    same(plain, found, 1e-4)
    claim = ICLAlgorithm(sign=given).claim(found.measures, ())
    assert claim.found.startswith("Sign turned. The model agrees with 2 steps of GD++")


def test_tokens_split_into_x_and_y(plain: Findings, measured: Measured) -> None:
    def of_pairs(tokens: Tensor) -> Tensor:
        query = torch.cat([tokens[:, -1:, :D], torch.zeros_like(tokens[:, -1:, D:])], dim=2)
        return MODEL(torch.cat([tokens[:, :-1:2] + tokens[:, 1::2], query], dim=1).double())

    same(plain, measured(from_predictor(of_pairs, TokenLayout(D, order="separate")), RULES), 1e-4)


def test_the_label_before_the_inputs_is_found(
    plain: Findings, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_search, "FEWEST_TASKS", 60)
    found = measured(from_predictor(lambda tokens: MODEL(tokens.roll(-1, dims=2).double()), TokenLayout(D)), RULES)
    same(plain, found, 1e-4)
    limits = " ".join(ICLAlgorithm().claim(found.measures, ()).limits)
    assert "the model reads joint tokens with the label in slot 0." in limits


def test_the_order_of_a_context_is_nothing_to_rules_that_have_none(measured: Measured, tmp_path: Path) -> None:
    batch = LinearRegression(n_context=N, d_in=D).sample(60, 0)
    order = torch.cat([torch.randperm(N, generator=torch.Generator().manual_seed(1)), torch.tensor([N])])
    for name, inputs in (("plain", batch.inputs), ("mixed", batch.inputs[:, order])):
        np.savez(tmp_path / f"{name}.npz", inputs=inputs.numpy(), targets=batch.targets.numpy())
    one, other = (
        order_of(measured(from_transformer(MODEL), RULES, tasks=str(tmp_path / f"{name}.npz")))
        for name in ("plain", "mixed")
    )
    assert (one.verdict, one.winner) == (other.verdict, other.winner) == ("agrees", "gdpp")
    for name in ("gdpp", "gd", "ridge", "cg", "preconditioned", "mean_label"):
        assert one.unexplained(name).value == pytest.approx(other.unexplained(name).value, rel=1e-5, abs=1e-9), name
    assert one.unexplained("last_label").value != other.unexplained("last_label").value


def test_scaled_inputs(plain: Findings, measured: Measured) -> None:
    """A model made for inputs ten times as large, and such tasks: rates and γ take up the scale."""
    large = gdpp_transformer(N, [0.07], [0.0025], D, n_layers=2)
    found = measured(from_transformer(large), RULES, input_range=10.0, weight_scale=0.1)
    same(plain, found, 1e-5)
    for setting in ("learning_rate", "gamma"):
        ratio = found.measures[setting].values[0] / plain.measures[setting].values[0]
        assert ratio == pytest.approx(0.01, rel=1e-4) or setting == "learning_rate"


# -- models that ship --------------------------------------------------------------------------------------------------


def card_of(measured: Measured, name: str, revision: str, n: int = 100) -> str:
    subject = models.load(name, revision=revision)
    found = measured(subject, (*RULES, "momentum", "min_norm", "zero"), n=n, n_context=10)
    return ICLAlgorithm().claim(found.measures, (subject.source,)).found


def test_one_layer_of_linear_attention_takes_a_step(measured: Measured) -> None:
    found = card_of(measured, "lsa-1layer", "seed0", n=300)
    assert found.startswith("The model agrees with 1 step of gradient descent, leaving 4.")
    assert found.endswith("The same on these tasks: 1 step of preconditioned gradient descent.")


def test_a_layer_that_has_not_been_trained_is_nothing(measured: Measured) -> None:
    assert card_of(measured, "lsa-1layer", "seed0-step0").startswith("No rule explains the model")


def test_two_layers_curve_their_inputs(measured: Measured) -> None:
    assert card_of(measured, "lsa-2layer-recurrent", "seed0").startswith("The model agrees with 2 steps of GD++,")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_four_causal_layers_with_norms_are_near_no_rule(seed: int, measured: Measured) -> None:
    """Better than one tuned step. Nearest is descent of many steps, and far; half of the rest is an order's doing."""
    subject = models.load("lsa-causal-layernorm", revision=f"seed{seed}")
    found = measured(subject, (*RULES, "momentum", "min_norm", "zero"), n=300, n_context=10)
    order, least = order_of(found), found.measures["order_share"].estimate
    assert (order.verdict, order.closest, order.winner) == ("closest", "gd", "gd")
    assert 6 <= order.steps("gd")[0] <= 16
    assert 0.25 < order.unexplained("gd").value < 0.4
    assert 0.1 < least < 0.2
    claim = ICLAlgorithm().claim(found.measures, (subject.source,))
    assert claim.found.startswith("Closest: ")
    assert " steps of gradient descent, but it leaves 3" in claim.found
    assert f"every rule that ignores it leaves at least {100 * least:.0f} %" in " ".join(claim.limits)
    law = Law(torch.eye(10, dtype=torch.float64) / 12, n_context=10, excess_kurtosis=-1.2)
    tuned = float(expected_loss(optimal_matrix(law), law))
    assert tuned == pytest.approx(0.2062, abs=1e-4)
    assert found.measures["loss"].sel(candidate="model").interval[1] < tuned


@pytest.mark.slow
@pytest.mark.parametrize(("name", "rule"), [("lsa-1layer", "gd"), ("lsa-2layer-recurrent", "gdpp")])
@pytest.mark.parametrize("seed", [1, 2])
def test_other_seeds_among_all_families(name: str, rule: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for null in ("UNTRAINED", "SHUFFLES"):
        monkeypatch.setattr(contest, null, 1)
    subject: Regressor = models.load(name, revision=f"seed{seed}")
    order = order_of(ICLAlgorithm(limit=300).measure(subject, 0, 300))
    assert (order.verdict, order.winner, len(order.names)) == ("agrees", rule, len(FAMILIES))
