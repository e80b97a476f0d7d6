"""Cases of the slow reference: weights and tasks on disk, as somebody else could have written them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.models import load
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.measure import Measures

TIED = "transformer/multi_head_attention"
UNTIED = "transformer/~trans_block/layer_{}"
GD = {"learning_rate": 5.901, "twins": "gd"}
BOTH = {"learning_rate": 5.901, "twins": "gd+gdpp", "gdpp_learning_rate": 7.5, "gdpp_gamma": 0.18}


@dataclass(frozen=True)
class Case:
    """Weights, tasks and settings."""

    probe: dict[str, Any]
    model: dict[str, Any] = field(default_factory=dict)
    d_in: int = 3
    d_out: int = 1
    n_context: int = 5
    input_range: float = 1.0
    label_set: bool = False
    layer_norm: bool = False

    @property
    def n_layers(self) -> int:
        return self.model.get("n_layers", 1)

    @property
    def tied(self) -> bool:
        return self.model.get("tied", True)


CASES = {
    "one layer": Case(GD),
    "one layer, query's label set": Case(GD, label_set=True, d_in=2),
    "wide, few tokens": Case(GD, d_in=6, n_context=3),
    "two outputs": Case(BOTH, {"n_layers": 2, "d_out": 2}, d_out=2),
    "two tied layers that clip": Case(BOTH, {"n_layers": 2, "activation_clip": 0.3}),
    "three untied, dampened": Case(BOTH, {"n_layers": 3, "tied": False, "dampening": 0.8}),
    "one layer, two heads": Case(GD, {"n_heads": 2}),
    "two layers, three heads, clipped": Case(BOTH, {"n_layers": 2, "n_heads": 3, "activation_clip": 2.0}),
    "untied, two heads": Case(BOTH, {"n_layers": 2, "tied": False, "n_heads": 2}),
    "softmax": Case(GD, {"n_heads": 2, "softmax": True}),
    "layer norm": Case(BOTH, {"n_layers": 2}, layer_norm=True),
    "target only": Case(BOTH, {"n_layers": 2, "target_only": True}),
    "query among the keys": Case(BOTH, {"n_layers": 2, "query_in_context": True}),
    "causal": Case(BOTH, {"n_layers": 2, "causal": True}),
    "one causal layer": Case(GD, {"causal": True}),
}


class Run:
    """A case on disk, what the probe measured, and the slow models beside it."""

    def __init__(self, name: str, folder: Path, slow: Any) -> None:
        self.case, self.slow = CASES[name], slow
        self.rng = np.random.default_rng(list(name.encode()))
        arrays = self._weights()
        np.savez(folder / "theirs.npz", **arrays)
        self.inputs, self.targets = self._tasks()
        targets = self.targets[:, 0] if self.case.d_out == 1 else self.targets
        np.savez(folder / "tasks.npz", inputs=self.inputs, targets=targets)
        self.model = self._slow_model(arrays)
        self.subject = load(folder / "theirs.npz", model_args={"n_layers": self.case.n_layers} | self.case.model)
        self.probe = GDAlignment(tasks=str(folder / "tasks.npz"), limit=10, **self.case.probe)
        self.inputs, self.targets = self.inputs[:10], self.targets[:10]

    def _weights(self) -> dict[str, np.ndarray]:
        case, d = self.case, self.case.d_in + self.case.d_out
        k, heads = d + 1, case.model.get("n_heads", 1)
        arrays = {}
        for layer in range(1 if case.tied else case.n_layers):
            prefix = TIED if case.tied else UNTIED.format(layer)
            block = {n: 0.08 * self.rng.normal(size=(d, heads * k)) for n in ("query", "key", "value")}
            block["linear"] = 0.08 * self.rng.normal(size=(heads * k, d))
            for j in range(case.d_in):  # near gradient descent, in a gauge of its own with a negative sign
                block["query"][j, j] -= 1.7
                block["key"][j, j] += 0.8
            for j in range(case.d_in, d):
                block["value"][j, j] += 1.3
                block["linear"][j, j] += 3 / case.n_context
            arrays |= {f"{prefix}/{name}/w": value for name, value in block.items()}
        if self.case.layer_norm:
            arrays["transformer/l_norm/layer_norm/scale"] = 1 + 0.2 * self.rng.normal(size=d)
            arrays["transformer/l_norm/layer_norm/offset"] = 0.2 * self.rng.normal(size=d)
        return arrays

    def _tasks(self) -> tuple[np.ndarray, np.ndarray]:
        case, n = self.case, 20
        w = self.rng.normal(size=(n, case.d_in, case.d_out))
        x = (self.rng.random((n, case.n_context + 1, case.d_in)) - 0.5) * case.input_range
        y = np.einsum("tnd,tdo->tno", x, w)
        targets = y[:, -1].copy()
        y[:, -1] = 0.1 * self.rng.normal(size=y[:, -1].shape) if case.label_set else 0
        return np.concatenate([x, y], axis=2), targets

    def _slow_model(self, arrays: dict[str, np.ndarray]) -> Any:
        case, heads = self.case, self.case.model.get("n_heads", 1)
        layers = []
        for layer in range(case.n_layers):
            prefix = TIED if case.tied else UNTIED.format(layer)
            parts = [np.split(arrays[f"{prefix}/{n}/w"], heads, axis=1) for n in ("query", "key", "value")]
            parts.append(np.split(arrays[f"{prefix}/linear/w"], heads, axis=0))
            layers.append(list(zip(*parts, strict=True)))
        facts = {k: v for k, v in case.model.items() if k not in ("n_layers", "tied", "n_heads", "d_out")}
        norm = (arrays.get("transformer/l_norm/layer_norm/scale"), arrays.get("transformer/l_norm/layer_norm/offset"))
        norms = [norm] * case.n_layers if self.case.layer_norm else None
        return self.slow.SlowModel(layers, d_out=case.d_out, norms=norms, **facts)

    @cached_property
    def findings(self) -> Findings:
        findings = self.probe.measure(self.subject, seed=3, batch_size=5)
        return replace(findings, measures=Measures(findings.measures))

    @cached_property
    def constructed(self) -> dict[str, Any]:
        case, probe, K = self.case, self.case.probe, self.case.n_layers
        facts = {key: case.model[key] for key in ("dampening", "activation_clip") if key in case.model}
        found = {"gd": self.slow.TokenDescent([probe["learning_rate"]] * K, [0.0] * K, case.d_out, **facts)}
        if probe["twins"] == "gd+gdpp":
            rates, gammas = [probe["gdpp_learning_rate"]] * K, [probe["gdpp_gamma"]] * K
            found["gdpp"] = self.slow.TokenDescent(rates, gammas, case.d_out, **facts)
        return found

    def cross_fitted(self, family: Callable[..., np.ndarray]) -> tuple[list[Callable[..., np.ndarray]], float] | None:
        """An algorithm fitted to the model on each half, for the tasks of the other half; and the mean setting."""
        half = len(self.inputs) // 2
        halves = self.inputs[:half], self.inputs[half:]
        settings = [self.slow.closest_setting(family, part, self.slow.answers(self.model, part)) for part in halves]
        if None in settings:
            return None
        predictors = [lambda tokens, s=setting: family(tokens, s) for setting in reversed(settings)]
        return [predictors[0]] * half + [predictors[1]] * (len(self.inputs) - half), float(np.mean(settings))

    @cached_property
    def algorithms(self) -> tuple[dict[str, Any], dict[str, float]]:
        d_out, slow = self.case.d_out, self.slow
        found: dict[str, Any] = {
            "zero": lambda tokens: slow.zero(tokens, d_out),
            "mean_label": lambda tokens: slow.mean_label(tokens, d_out),
            "min_norm": lambda tokens: slow.least_squares(tokens, d_out),
        }
        settings = {}
        families = {"ridge": ("ridge_penalty", lambda t, s: slow.ridge(t, d_out, s))}
        for k in range(1, 2 * self.case.n_layers + 1):
            families[f"gd_{k}"] = f"learning_rate_gd_{k}", lambda t, s, k=k: slow.Descent([s] * k, d_out)(t)
        for name, (setting, family) in families.items():
            if fitted := self.cross_fitted(family):
                found[name], settings[setting] = fitted
        return found, settings

    def behaviour(self, predict: Any) -> tuple[np.ndarray, np.ndarray]:
        each = predict if isinstance(predict, list) else [predict] * len(self.inputs)
        answered = [
            (self.slow.answers(p, tokens[None]), self.slow.sensitivities(p, tokens[None], self.case.d_out))
            for p, tokens in zip(each, self.inputs, strict=True)
        ]
        return np.concatenate([p for p, _ in answered]), np.concatenate([g for _, g in answered])


def cases(chosen: Callable[[Case], bool] = lambda case: True) -> pytest.MarkDecorator:
    """A test of every case that is chosen."""
    return pytest.mark.parametrize("name", [name for name, case in CASES.items() if chosen(case)])


def has_products(case: Case) -> bool:
    causal = case.model.get("causal") and case.n_layers > 1
    return not (case.layer_norm or case.model.get("softmax") or causal)


def single_head(case: Case) -> bool:
    return has_products(case) and case.model.get("n_heads", 1) == 1


def several_heads(case: Case) -> bool:
    return has_products(case) and not single_head(case)


def equal(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-13)
