"""Metrics of models of sines, to 1e-12, against NumPy with derivatives by complex steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope import models
from mesascope.models import RegressionTransformer, from_transformer
from mesascope.probes.deep_features.probe import DeepFeatures
from mesascope.probes.regression import nulls

from ..in_numpy import InNumpy

TINY, TASKS, CONTEXT = 1e-30, 20, 5
Planted = Callable[..., RegressionTransformer]
SETTINGS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "heads, dampened": {"n_heads": 2, "n_layers": 2, "dampening": 0.75},
    "softmax heads": {"n_heads": 2, "softmax": True},
    "a clip": {"n_layers": 2, "activation_clip": 2.0},
    "MLPs": {"n_layers": 2, "tied": False, "mlp": "own"},
    "a shared MLP and layer norm": {"n_layers": 2, "mlp": "shared", "layer_norm": True},
    "label slots alone": {"n_layers": 2, "target_only": True},
}


def sines() -> tuple[np.ndarray, np.ndarray]:
    """Tokens [task, token, (x, y)] and labels: a = .1 + .4 u, y = a sin(x + π u)."""
    rng = np.random.default_rng(4)
    u, x = rng.random((TASKS, 1)), rng.uniform(-5, 5, size=(TASKS, CONTEXT + 1))
    y = (0.1 + 0.4 * u) * np.sin(x + np.pi * u)
    return np.stack([x, np.concatenate([y[:, :-1], 0 * y[:, -1:]], axis=1)], axis=2), y[:, -1]


def answers(predict: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each task the answer, and its derivative by the query's x."""
    moved = inputs.astype(complex)
    moved[:, -1, 0] += TINY * 1j
    found = np.array([predict(tokens)[0] for tokens in moved])
    return found.real, found.imag / TINY


def smaller(module: RegressionTransformer) -> RegressionTransformer:
    """With attention that adds about as much as there is."""
    weights = {key: 0.1 * held if key[:2] == "W_" and key != "W_E" else held for key, held in module.named_parameters()}
    return RegressionTransformer(module.config, weights)


@pytest.mark.parametrize("name", SETTINGS)
def test_losses_slopes_and_differences(name: str, planted: Planted, random_attention: Planted, tmp_path: Path) -> None:
    module, twin = smaller(random_attention(**SETTINGS[name])), planted()
    tensors = {f"seed0/step0/{key}": held.clone() for key, held in twin.named_parameters()}
    models.save_checkpoint(tmp_path / "twin.safetensors", twin.config, tensors, {})
    inputs, targets = sines()
    np.savez(tmp_path / "sines.npz", inputs=inputs, targets=targets)
    probe = DeepFeatures(tasks=str(tmp_path / "sines.npz"), twin=str(tmp_path / "twin.safetensors"), sign=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "UNTRAINED", 1)
        patch.setattr(nulls, "SHUFFLES", 1)
        measures = probe.measure(from_transformer(module), seed=0, batch_size=8).measures
    ours = InNumpy.of(module)
    p, g = answers(ours, inputs)
    others = {
        "zero": (np.zeros(TASKS), np.zeros(TASKS)),
        "embedding": answers(lambda tokens: -ours.read_in(tokens)[-1, -1:], inputs),
        "twin": answers(InNumpy.of(twin), inputs),
    }
    np.testing.assert_allclose(
        measures["loss"].sel(candidate="model").values, np.mean((targets - p) ** 2) / 2, rtol=1e-12
    )
    size = max(np.abs(p).max(), np.abs(g).max(), 1.0)
    for candidate, (q, h) in others.items():
        expected = {
            "loss": np.mean((targets - q) ** 2) / 2,
            "prediction_difference": np.mean(np.abs(p - q)),
            "model_difference": np.mean(np.abs(g - h)),
            "slope_agreement": np.mean(np.sign(g) * np.sign(h)) if h.any() else np.nan,
        }
        for metric, value in expected.items():
            found = measures[metric].sel(candidate=candidate).values
            np.testing.assert_allclose(found, value, rtol=1e-12, atol=1e-12 * size, err_msg=f"{metric} {candidate}")
    assert ((g == 0).any() and (g != 0).any()) if "activation_clip" in SETTINGS[name] else np.abs(g).min() > 1e-6
