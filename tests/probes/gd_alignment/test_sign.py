"""The sign of a read-out: found where predictions go against the labels, not elsewhere; and no null gains from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    from_transformer,
    gd_transformer,
    initialise,
)
from mesascope.models.regressors import TransformerRegressor
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.named import gradient_descent
from mesascope.probes.comparing.behaviour import cosine
from mesascope.probes.gd_alignment.behaviours import model_behaviours, null_comparisons
from mesascope.probes.gd_alignment.settings import Settings
from mesascope.probes.gd_alignment.setup import Setup
from mesascope.probes.measure import flat
from mesascope.probes.regression import nulls
from mesascope.probes.regression.sign import found_sign, turned_seeds
from scipy.stats import ks_2samp
from torch import Tensor

Measured = Callable[..., Findings]
RATE = 5.901


def negative(model: RegressionTransformer) -> RegressionTransformer:
    """One layer whose output is the negative of a prediction."""
    KQ, PV = model.W_Q @ model.W_K.mT, model.W_V @ model.W_O
    return RegressionTransformer.from_products(model.config, KQ, -PV)


def answered(products: list[float]) -> tuple[Tensor, Tensor]:
    """Predictions and labels with these products."""
    labels = torch.ones(len(products), 1, dtype=torch.float64)
    return torch.tensor(products, dtype=torch.float64)[:, None], labels


def first_sentence(findings: Findings, **settings: Any) -> str:
    source = from_predictor(lambda x: x[:, 0, 0], TokenLayout(10)).source
    return GDAlignment(**settings).claim(findings.measures, (source,)).found


# ---- the rule ----


@pytest.mark.parametrize(("shift", "sign"), [(-2.1, -1), (-1.9, 1), (0.0, 1), (2.1, 1)])
def test_the_interval_of_the_mean_product_decides(shift: float, sign: int) -> None:
    """Against the labels: the mean is more than 1.96 standard errors below 0."""
    spread = np.random.default_rng(0).normal(size=50)
    spread = (spread - spread.mean()) / (spread.std(ddof=1) / np.sqrt(50))
    assert found_sign([answered((spread + shift).tolist())]) == sign


def test_every_fold_has_to_say_so() -> None:
    against, along = answered([-1.0, -1.1, -0.9]), answered([1.0, 1.1, 0.9])
    assert found_sign([against, against]) == -1
    assert found_sign([against, along]) == found_sign([along, along]) == 1


@pytest.mark.parametrize("products", [[-1.0], [-1.0, float("nan"), -1.0], [-1.0, float("-inf"), -1.0]])
def test_what_tells_nothing_is_not_turned(products: list[float]) -> None:
    assert found_sign([answered(products)]) == 1


# ---- found, and measured with the sign turned ----


def test_the_negative_of_a_step_is_a_step_with_its_sign_turned(on_tasks: Measured) -> None:
    """Every number is then that of the model with the other sign, nulls included."""
    model = gd_transformer(10, RATE, 10)
    straight, turned = (on_tasks(m, n=60, learning_rate=RATE / 2) for m in (model, negative(model)))
    assert straight.measures["readout_sign"].estimate == 1
    assert turned.measures["readout_sign"].estimate == -1
    ones, others = flat(straight.measures), flat(turned.measures)
    assert ones.keys() == others.keys()
    for name in ones.keys() - {"readout_sign"}:
        np.testing.assert_allclose(ones[name].values, others[name].values, rtol=1e-12, atol=1e-14, err_msg=name)
        for null, samples in ones[name].nulls.items():
            np.testing.assert_allclose(samples, others[name].nulls[null], rtol=1e-12, atol=1e-14, err_msg=name)
    np.testing.assert_allclose(straight.arrays["prediction_model"], turned.arrays["prediction_model"], rtol=1e-12)
    assert first_sentence(turned) == f"Sign turned. {first_sentence(straight)}"
    assert "1 step of gradient descent" in first_sentence(straight)


def test_several_layers_are_turned_in_behaviour_and_not_in_weights(on_tasks: Measured) -> None:
    """Two steps up the loss: the predictions go against the labels, and no weights have the other sign."""
    model, law = gd_transformer(4, -2.0, 3, n_layers=2), {"n": 60, "n_context": 4, "d_in": 3}
    m = on_tasks(model, **law, learning_rate=2.0, twins="gd").measures
    assert m["readout_sign"].estimate == -1
    assert m["loss_by_layer_model"].values[-1] == pytest.approx(m["loss_model"].estimate, rel=1e-12)
    assert m["loss_model"].estimate < on_tasks(model, **law, learning_rate=2.0, sign=1).measures["loss_model"].estimate
    assert m["weight_distance_gd_trained"].status == "not applicable"
    assert "several layers" in m["weight_distance_gd_trained"].message


def test_a_label_in_the_querys_slot_does_not_turn_along(on_tasks: Measured, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tokens = rng.normal(size=(20, 5, 4))
    np.savez(tmp_path / "set.npz", inputs=tokens, targets=tokens[:, 0, 0])
    m = on_tasks(gd_transformer(4, 3.0, 3), tasks=str(tmp_path / "set.npz"), learning_rate=3.0, sign=-1).measures
    assert "set the query's y slot" in m["weight_distance_gd_trained"].message
    assert "set the query's y slot" in m["loss_rollout_model"].message
    straight = on_tasks(gd_transformer(4, 3.0, 3), tasks=str(tmp_path / "set.npz"), learning_rate=3.0, sign=1).measures
    assert straight["weight_distance_gd_trained"].status == straight["loss_rollout_model"].status == "ok"


def test_a_predictor_is_turned(on_tasks: Measured) -> None:
    descent = gd_transformer(4, 4.0, 3, n_layers=2, dtype=torch.float32)
    given: dict[str, Any] = {"n": 60, "n_context": 4, "d_in": 3, "steps": 2, "learning_rate": 3.0, "twins": "gd"}
    findings = on_tasks(from_predictor(lambda x: -descent(x), TokenLayout(3)), **given)
    assert first_sentence(findings).startswith("Sign turned. The model agrees with 2 steps of gradient descent")
    assert findings.measures["learning_rate_gd_2"].estimate == pytest.approx(4.0, rel=1e-3)
    straight = on_tasks(from_predictor(descent, TokenLayout(3)), **given)
    assert first_sentence(straight).startswith("The model agrees with 2 steps of gradient descent")


def test_a_sign_that_is_given_is_used_and_recorded(on_tasks: Measured) -> None:
    """Nothing is searched then: the wrong sign is measured as it is."""
    for model, sign in ((gd_transformer(10, RATE, 10), -1), (negative(gd_transformer(10, RATE, 10)), 1)):
        findings = on_tasks(model, n=40, learning_rate=RATE, sign=sign)
        measure = findings.measures["readout_sign"]
        assert (measure.estimate, measure.message) == (sign, "given, not found; one of two values has no interval")
        assert all((signs == sign).all() for signs in measure.nulls.values())
        assert findings.measures["cosine_gd"].estimate == pytest.approx(-1, abs=1e-6)
        assert "No candidate explains the model" in first_sentence(findings, sign=sign)
        assert GDAlignment(sign=sign).settings()["sign"] == sign


def test_seeds_of_either_sign_are_one_model() -> None:
    seeds = (from_transformer(gd_transformer(10, 5.0, 10)), from_transformer(negative(gd_transformer(10, 5.0, 10))))
    measures = GDAlignment(limit=50).between(seeds, 0, 64)
    assert measures["cosine_between_seeds"].estimate == pytest.approx(1, abs=1e-6)
    for name in ("prediction_difference", "weight_distance", "barrier"):
        assert measures[f"{name}_between_seeds"].estimate == pytest.approx(0, abs=1e-12), name


# ---- nobody gains from the search ----


def test_an_untrained_subject_is_a_draw_from_its_own_null(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turned subjects beside turned nulls have one distribution; beside nulls without a search they would stand out."""
    monkeypatch.setattr(nulls, "UNTRAINED", 60)
    probe = GDAlignment(limit=1_000, n_context=6)
    subjects = [untrained(seed) for seed in range(60)]
    setups = [probe._setup(subject, 0, 1_000) for subject in subjects]
    turned = [with_descent(setup) for setup in setups]
    searched, straight = (null_cosines(replace(probe, sign=sign), subjects[0]) for sign in (None, 1))
    assert {setup.sign for setup in setups} == {-1, 1}
    assert ks_2samp(turned, searched).pvalue > 0.1
    assert ks_2samp(turned, straight).pvalue < 0.01
    # the search folds the null about 0, and this is what a subject is compared with
    assert abs(np.median(straight)) < 0.1 < np.median(searched)


def untrained(seed: int) -> TransformerRegressor:
    config = RegressionConfig(d_in=3, d_head=4)
    return from_transformer(initialise(config, 0.5, torch.Generator().manual_seed(100 + seed)))


def with_descent(setup: Setup) -> float:
    """The cosine of a subject with one step of gradient descent, on the evaluation tasks."""
    tasks = setup.splits.evaluation
    own = model_behaviours(setup)[tasks].sensitivity
    return float(cosine(own, gradient_descent(1).weights(setup.spectrum(tasks), 1.0)).mean())


def null_cosines(probe: GDAlignment, subject: TransformerRegressor) -> list[float]:
    setup = replace(probe._setup(subject, 0, 1_000), steps=(1,))
    comparisons = null_comparisons(setup, given_settings(setup), nulls.untrained_models(setup))["untrained"]
    return [float(cosine(c.model.sensitivity, c.candidates["gd_1"].sensitivity).mean()) for c in comparisons]


def given_settings(setup: Setup) -> Settings:
    return Settings(None, None, {algorithm.name: given(1.0) for algorithm in setup.algorithms if algorithm.setting})


def test_every_null_has_a_sign_of_its_own(on_tasks: Measured, all_nulls: None) -> None:
    measure = on_tasks(gd_transformer(4, RATE, 3), n=40, n_context=4, d_in=3, learning_rate=RATE).measures[
        "readout_sign"
    ]
    assert {null: len(signs) for null, signs in measure.nulls.items()} == {"untrained": 50, "shuffled labels": 20}
    assert turned_seeds(measure) == (0, 1)
