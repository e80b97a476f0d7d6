"""Metrics of every variant of the transformer, to 1e-12, against NumPy with derivatives by complex steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.recipe import named_seed
from mesascope.data.regression import LinearRegression, sample_alike
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer
from mesascope.probes import GDAlignment
from mesascope.probes.gd_alignment import distribution_shift
from mesascope.probes.gd_alignment.distribution_shift import families_along
from mesascope.probes.regression import nulls

from ...models.own.variants import VARIANTS
from ..in_numpy import InNumpy

D_IN, CONTEXT, TASKS, RATE, GDPP_RATE, GAMMA = 3, 5, 6, 4.0, 3.0, 0.1
DIFFERENCES = ("norm_ratio", "model_difference", "prediction_difference")
each_variant = pytest.mark.parametrize("name", VARIANTS)


def random_model(name: str) -> RegressionTransformer:
    """At a size at which every part of the computation matters; KQ's diagonal is away from 0 and so has a gauge."""
    config = RegressionConfig(**{"d_in": D_IN, "d_head": 4, **VARIANTS[name]})
    rng = np.random.default_rng(list(name.encode()))
    weights = {key: 0.4 * rng.normal(size=shape) + key.endswith("scale") for key, shape in config.shapes.items()}
    if config.as_given:
        for i in range(min(D_IN, config.d_head)):
            weights["W_Q"][..., i, i] += 0.8
            weights["W_K"][..., i, i] += 0.8
    return RegressionTransformer(config, {key: torch.from_numpy(held) for key, held in weights.items()})


class Case:
    """A variant on tasks of a file: what the probe measured, and the same in NumPy."""

    def __init__(self, name: str, folder: Path, slow: Any) -> None:
        module, self.slow = random_model(name), slow
        self.config, self.model = module.config, InNumpy.of(module)
        rng, d_out = np.random.default_rng(0), self.config.d_out
        x = rng.uniform(-1, 1, size=(TASKS, CONTEXT + 1, D_IN))
        y = x @ rng.normal(size=(TASKS, D_IN, d_out))
        self.targets = y[:, -1].copy()
        y[:, -1] = 0
        self.inputs = np.concatenate([x, y], axis=2)
        np.savez(folder / "t.npz", inputs=self.inputs, targets=self.targets if d_out > 1 else self.targets[:, 0])
        constructed = {"twins": "gd+gdpp", "learning_rate": RATE, "gdpp_learning_rate": GDPP_RATE, "gdpp_gamma": GAMMA}
        layout = {"token_order": "joint", "label_slot": D_IN, "sign": 1} if d_out == 1 else {"sign": 1}
        probe = GDAlignment(tasks=str(folder / "t.npz"), limit=TASKS, **constructed, **layout)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nulls, "UNTRAINED", 1)
            patch.setattr(nulls, "SHUFFLES", 1)
            self.measures = probe.measure(from_transformer(module), seed=3, batch_size=4).measures

    def constructed(self, n_layers: int) -> dict[str, Any]:
        facts = self.config.d_out, self.config.dampening, self.config.activation_clip
        return {
            "gd": self.slow.TokenDescent([RATE] * n_layers, [0.0] * n_layers, *facts),
            "gdpp": self.slow.TokenDescent([GDPP_RATE] * n_layers, [GAMMA] * n_layers, *facts),
        }

    def behaviour(self, predict: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        return (
            self.slow.answers(predict, self.inputs),
            self.slow.sensitivities(predict, self.inputs, self.config.d_out),
        )

    def half_squared(self, answers: np.ndarray) -> float:
        return self.slow.half_squared(answers, self.targets)


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory, slow: Any) -> Callable[[str], Case]:
    return functools.cache(lambda name: Case(name, tmp_path_factory.mktemp("variant"), slow))


@pytest.fixture
def case(cases: Callable[[str], Case], name: str) -> Case:
    return cases(name)


def equal(found: Any, expected: Any, size: float = 1.0) -> None:
    """To 1e-12 of the larger of the number and what it was made of."""
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * size)


@each_variant
def test_losses_and_the_comparison_with_constructed_models(case: Case) -> None:
    answers, gradients = case.behaviour(case.model)
    assert np.abs(gradients).max() > 1e-3, "a model that does not look at the query tests nothing"
    loss = case.half_squared(answers)
    equal(case.measures["loss"].sel(candidate="model").values, loss)
    for name, constructed in case.constructed(case.config.n_layers).items():
        other, slopes = case.behaviour(constructed)
        equal(case.measures["loss"].sel(candidate=name).values, case.half_squared(other))
        equal(case.measures["loss_difference"].sel(candidate=name).values, loss - case.half_squared(other), loss)
        size = max(np.abs(answers).max(), np.abs(gradients).max(), 1.0)
        for metric, value in case.slow.comparisons(answers, gradients, other, slopes).items():
            equal(case.measures[metric].sel(candidate=name).values, value, size)


@each_variant
def test_read_outs_after_each_layer(case: Case) -> None:
    n_layers = case.config.n_layers
    for layer in range(n_layers):

        def so_far(tokens: np.ndarray, at: int = layer) -> np.ndarray:
            return case.model.readouts(tokens)[at]

        answers, gradients = case.behaviour(so_far)
        equal(case.measures["loss_by_layer"].sel(candidate="model").values[layer], case.half_squared(answers))
        size = max(np.abs(answers).max(), np.abs(gradients).max(), 1.0)
        for name, constructed in case.constructed(layer + 1).items():
            compared = case.slow.comparisons(answers, gradients, *case.behaviour(constructed))
            for metric in ("cosine", "model_difference", "prediction_difference"):
                found = case.measures[f"{metric}_by_layer"].sel(candidate=name)
                equal(found.values[layer], compared[metric], size)


@each_variant
def test_the_first_steps_of_a_roll_out(case: Case) -> None:
    found = case.measures["loss_rollout"].sel(candidate="model")
    if case.config.n_layers > 1 or case.config.layer_norm:
        assert found.status == "not applicable"
        return
    for dampening in (1.0, 0.875, 0.75):
        rolled = replace(case.model, config=replace(case.config, dampening=dampening, target_only=True))
        readouts = np.array([rolled.readouts(tokens, layers=4) for tokens in case.inputs])
        losses = [case.half_squared(readouts[:, step]) for step in range(4)]
        equal(found.sel(dampening=dampening).values[:4], losses)


@each_variant
def test_half_way_to_a_constructed_model(case: Case) -> None:
    """Products KQ and PV in the gauge where KQ's x diagonal has mean 1, half and half; of one head."""
    config, found = case.config, case.measures["loss_interpolated"]
    like_none = (
        config.softmax or config.layer_norm or config.beside_attention or (config.causal and config.n_layers > 1)
    )
    assert (found.status == "not applicable") == bool(like_none)
    if like_none or config.n_heads > 1:
        return
    at, D = case.model.at, config.d_model
    KQ, PV = at["W_Q"][:, 0] @ at["W_K"][:, 0].swapaxes(1, 2), at["W_V"][:, 0] @ at["W_O"][:, 0]
    beta = np.array([np.mean([block[i, i] for i in range(D_IN)]) for block in KQ])[:, None, None]
    rate, gamma = (RATE, 0.0) if config.n_layers == 1 else (GDPP_RATE, GAMMA)
    goal_KQ = np.diag([1.0] * D_IN + [0.0] * config.d_out)
    goal_PV = np.diag([-gamma] * D_IN + [-rate / CONTEXT] * config.d_out)
    eye = np.broadcast_to(np.eye(D), KQ.shape)[:, None]
    mixed = {"W_Q": (KQ / beta + goal_KQ)[:, None] / 2, "W_K": eye, "W_V": eye}
    half = replace(case.model, at={**mixed, "W_O": (PV * beta + goal_PV)[:, None] / 2})
    equal(found.values, case.half_squared(case.slow.answers(half, case.inputs)))


@pytest.mark.parametrize("name", [name for name, held in VARIANTS.items() if "activation_clip" in held])
def test_clips_saturate(case: Case) -> None:
    free = replace(case.model, config=replace(case.config, activation_clip=None))
    assert np.abs(case.slow.answers(free, case.inputs) - case.slow.answers(case.model, case.inputs)).max() > 1e-3


@pytest.mark.parametrize("name", ["tied", "softmax heads", "clip", "MLP, own", "separate tokens", "layer norm, tied"])
def test_losses_on_shifted_tasks(name: str, slow: Any, few_shifts: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The shifted tasks are drawn as anywhere; what models answer to them is NumPy's."""
    monkeypatch.setattr(nulls, "UNTRAINED", 1)
    monkeypatch.setattr(nulls, "SHUFFLES", 1)
    settings = VARIANTS[name]
    module = random_model(name)
    law = LinearRegression(CONTEXT, D_IN, module.config.d_out)
    probe = GDAlignment(limit=20, n_context=CONTEXT, learning_rate=RATE, twins="gd", sign=1)
    measures, seed = probe.measure(from_transformer(module), 3, 8).measures, 3
    facts = [module.config.d_out, module.config.dampening, module.config.activation_clip]
    n_layers = settings.get("n_layers", 1)
    models = {"model": InNumpy.of(module), "gd": slow.TokenDescent([RATE] * n_layers, [0.0] * n_layers, *facts)}
    for curve in distribution_shift.CURVES:
        tasks = sample_alike(list(families_along(curve, law).values()), curve.n, named_seed(seed, "shift", curve.name))
        for place, (inputs, targets) in enumerate(tasks):
            for candidate, model in models.items():
                answers = slow.answers(model, inputs.numpy().astype(float))
                found = measures[f"loss_{curve.name}"].sel(candidate=candidate).values[place]
                equal(found, slow.half_squared(answers, targets.numpy().astype(float)))
