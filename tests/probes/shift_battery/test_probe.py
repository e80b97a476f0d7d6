"""What the probe reports: of what it cannot measure, of what must not matter, and beside untrained models."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import analyses, models
from mesascope.data import LinearRegression
from mesascope.models import Regressor, TokenLayout, from_predictor, from_transformer, gd_transformer, gdpp_transformer
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import Findings, Measure
from mesascope.probes.shift_battery import battery
from mesascope.probes.shift_battery.names import SHIFTS
from mesascope.probes.shift_battery.probe import ShiftBattery
from mesascope.probes.shift_battery.standing import Standing
from torch import Tensor

Measured = Callable[..., Findings]
Planted = Callable[..., Regressor]
D, N = 3, 8
MODEL = gdpp_transformer(N, [6.0], [0.1], D, n_layers=2)


def step(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
    return 0.6 * torch.einsum("tni,tn,ti->t", X, y, query)


def called(findings: Findings) -> dict[str, str]:
    return {verdict.shift.name: verdict.called for verdict in Standing(findings.measures).verdicts}


def limits(findings: Findings, **settings: Any) -> str:
    return " ".join(ShiftBattery(**settings).claim(findings.measures, ()).limits)


def model_part(findings: Findings, name: str) -> Measure:
    return findings.measures[name].sel(candidate="model")


@pytest.fixture(scope="module")
def plain(measured: Measured) -> Findings:
    return measured(from_transformer(MODEL), nulls=3)


# -- what must not matter ----------------------------------------------------------------------------------------------


def same(one: Findings, other: Findings, tolerance: float) -> None:
    assert called(one) == called(other)
    for name in ("response_scale", "loss_noise", "unexplained_length", "worst_unexplained", "scale_exponent"):
        ours, theirs = one.measures[name].values, other.measures[name].values
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=name)


def test_a_negated_output(plain: Findings, measured: Measured) -> None:
    layout = TokenLayout(D, order="joint", label_slot=D)
    found = measured(from_predictor(lambda tokens: -MODEL(tokens.double()), layout))
    same(plain, found, 1e-3)
    assert found.measures["readout_sign"].estimate == -1
    assert (
        ShiftBattery().claim(found.measures, ()).found.startswith("Sign turned. Follows 2 steps of GD++ under 7 of 7")
    )


def test_tokens_split_into_x_and_y(plain: Findings, measured: Measured) -> None:
    def of_pairs(tokens: Tensor) -> Tensor:
        query = torch.cat([tokens[:, -1:, :D], torch.zeros_like(tokens[:, -1:, D:])], dim=2)
        return MODEL(torch.cat([tokens[:, :-1:2] + tokens[:, 1::2], query], dim=1).double())

    same(plain, measured(from_predictor(of_pairs, TokenLayout(D, order="separate"))), 1e-3)


def test_batches_and_repeats(plain: Findings, measured: Measured) -> None:
    same(plain, measured(from_transformer(MODEL), batch_size=7), 1e-9)
    again = measured(from_transformer(MODEL), nulls=3)
    for name, measure in plain.measures.items():
        np.testing.assert_array_equal(measure.values, again.measures[name].values, err_msg=name)
    assert again.recipes == plain.recipes
    other = measured(from_transformer(MODEL), seed=1)
    assert called(other) == called(plain)
    assert other.recipes["evaluation"].sha256 != plain.recipes["evaluation"].sha256


# -- nulls -------------------------------------------------------------------------------------------------------------


def test_untrained_models_stand_beside_the_model(plain: Findings) -> None:
    worst = plain.measures["worst_unexplained"]
    assert worst.sel(candidate="gdpp").nulls["untrained"].shape == (3, len(SHIFTS))
    assert (worst.sel(candidate="gdpp").nulls["untrained"] > 0.3).all()
    assert worst.sel(candidate="gdpp").values.max() < 1e-6
    assert model_part(plain, "response_scale").nulls["untrained"].shape == (3, 5)
    assert plain.measures["response_scale"].sel(candidate="ridge").nulls == {}
    assert len(plain.measures["readout_sign"].nulls["untrained"]) == 3


def test_an_untrained_model_that_takes_a_step_up_is_turned_before_rules_are_fitted_to_it(
    measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then a rule that the model follows is no finding."""
    up = gd_transformer(N, 3.0, D)
    up.W_O.mul_(-1)
    monkeypatch.setattr(battery, "untrained_modules", lambda subject, seed: iter([up]))
    found = measured(from_transformer(gd_transformer(N, 4.0, D)), nulls=1)
    assert found.measures["readout_sign"].nulls["untrained"].tolist() == [-1]
    assert found.measures["worst_unexplained"].sel(candidate="gd").nulls["untrained"].max() < 1e-6
    assert set(called(found).values()) == {"untrained alike"}


def test_an_untrained_model_follows_nothing(measured: Measured) -> None:
    config = models.RegressionConfig(d_in=D, d_head=4)
    fresh = models.initialise(config, 0.002, torch.Generator().manual_seed(3))
    assert set(called(measured(from_transformer(fresh), nulls=1)).values()) == {"none"}


def test_shipped_models() -> None:
    claims = {}
    for name in ("lsa-1layer", "lsa-2layer-recurrent"):
        report = analyses.run(models.load(name, revision="seed0"), ShiftBattery(limit=300), seed=0)
        assert isinstance(report, analyses.Report)
        claims[name] = report.claim.found
    assert claims["lsa-1layer"] == (
        "Follows 1 step of gradient descent under 7 of 7 shifts. Minimum-norm least squares under none."
    )
    assert claims["lsa-2layer-recurrent"].startswith("Follows 2 steps of GD++ under ")


# -- what does not apply -----------------------------------------------------------------------------------------------


def test_lengths_that_a_model_refuses(planted: Planted, measured: Measured) -> None:
    def positions(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        if X.shape[1] > N:
            raise ValueError(f"at most {N} pairs")
        return step(X, y, query)

    findings = measured(planted(positions))
    assert model_part(findings, "response_length").labels("n_context") == (2.0, 4.0, 8.0)
    assert called(findings)["length"] == "follows"
    assert "Left out of context length: the model refuses contexts of 16, 32 pairs (at most 8 pairs)." in limits(
        findings
    )


def test_a_model_of_one_length(planted: Planted, measured: Measured) -> None:
    def fixed(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        if X.shape[1] != N:
            raise ValueError("other pairs")
        return step(X, y, query)

    findings = measured(planted(fixed))
    assert findings.measures["unexplained_length"].status == "not applicable"
    assert "length" not in called(findings)
    assert "(other pairs)" in limits(findings)
    assert ShiftBattery().claim(findings.measures, ()).badge.endswith("under 6 of 6 shifts")


def test_another_error_is_not_hidden(planted: Planted, measured: Measured) -> None:
    def broken(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        if X.abs().max() > 0.6:
            raise RuntimeError("no such input")
        return step(X, y, query)

    with pytest.raises(RuntimeError, match="no such input"):
        measured(planted(broken))


def test_answers_that_are_no_numbers_somewhere(planted: Planted, measured: Measured) -> None:
    def overflows(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        return torch.where(X.abs().amax(dim=(1, 2)) > 1.5, torch.inf, step(X, y, query))

    findings = measured(planted(overflows))
    response = model_part(findings, "response_scale")
    np.testing.assert_array_equal(np.isnan(response.values), [False, False, False, False, True])
    assert called(findings)["scale"] == "follows"
    assert "Left out of input scale: the model's answers are not finite at 4." in limits(findings)


def test_what_diverges_is_said_to_and_is_no_nan_in_a_report(planted: Planted, tmp_path: Path) -> None:
    """256 steps of descent on inputs four times as large are beyond all numbers; least squares is not."""

    def solve(X: Tensor, y: Tensor, query: Tensor) -> Tensor:
        return ((torch.linalg.pinv(X) @ y[..., None])[..., 0] * query).sum(dim=1)

    report = analyses.run(planted(solve), ShiftBattery(limit=40, n_context=N), seed=0)
    assert isinstance(report, analyses.Report)
    share = report.measures["unexplained_scale"].sel(candidate="gd")
    assert np.isnan(share.values[4]) or share.values[4] > 1e6
    saved = report.save(tmp_path)
    text = (Path(saved) / "report.json").read_text(encoding="utf-8")
    json.loads(text, parse_constant=lambda constant: pytest.fail(constant))


def test_tasks_of_a_file(planted: Planted, measured: Measured, tmp_path: Path) -> None:
    batch = LinearRegression(n_context=N, d_in=D).sample(60, 0)
    np.savez(tmp_path / "own.npz", inputs=batch.inputs.numpy(), targets=batch.targets.numpy())
    path = str(tmp_path / "own.npz")
    findings = measured(planted(step), tasks=path)
    assert called(findings) == dict.fromkeys(("scale", "length", "noise", "query"), "follows")
    assert findings.measures["response_covariance"].message == "the law of these tasks is not known"
    assert findings.measures["learning_rate"].sel(candidate="gd").estimate == pytest.approx(0.6 * N, rel=1e-4)
    assert "labels of the file were scaled" in limits(findings, tasks=path).lower()


def test_other_subjects() -> None:
    assert ShiftBattery().applies(induction_circuit(d_vocab=24, n_ctx=24)) is not None
    assert ShiftBattery().applies(from_transformer(gd_transformer(N, 2.0, D))) is None


@pytest.mark.parametrize("law", [{"n_context": 1}, {"n_context": 2}, {"n_context": 12}, {"noise": 0.5}], ids=str)
def test_odd_laws(law: dict[str, Any], planted: Planted, measured: Measured) -> None:
    """With fewer pairs than inputs, too. A step is followed wherever something is."""
    found = Standing(measured(planted(step), **law).measures)
    assert {verdict.called for verdict in found.verdicts} == {"follows"}
    assert {verdict.rule for verdict in found.verdicts} == {"gd"}


def test_several_outputs(measured: Measured) -> None:
    module = gd_transformer(N, 4.0, D, d_out=2)
    findings = measured(from_transformer(module), nulls=1)
    assert set(called(findings).values()) == {"follows"}
    labels, answers = findings.arrays["label_scale"], findings.arrays["answer_scale"]
    assert labels.shape == (60, 5, 2)
    np.testing.assert_allclose(
        model_part(findings, "response_scale").values, (labels * answers).sum((0, 2)) / (labels**2).sum((0, 2))
    )
