"""The whole probe against the specification, on files that somebody else could have written."""

from __future__ import annotations

import functools
import math
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


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, slow: Any) -> Callable[[str], Run]:
    """Each case, measured once for all tests."""
    return functools.cache(lambda name: Run(name, tmp_path_factory.mktemp("case"), slow))


@pytest.fixture
def run(runs: Callable[[str], Run], name: str) -> Run:
    return runs(name)


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


@cases()
def test_behaviour_is_the_specifications(run: Run) -> None:
    """Losses, paired differences, the four comparisons, with every candidate."""
    prediction, sensitivity = run.behaviour(run.model)
    measures, half_squared = run.findings.measures, run.slow.half_squared
    loss = half_squared(prediction, run.targets)
    equal(measures["loss_model"].values, loss)
    equal(run.findings.arrays["prediction_model"], prediction)
    behaviours = {name: run.behaviour(p) for name, p in (run.constructed | run.algorithms[0]).items()}
    for name, (p, g) in behaviours.items():
        equal(measures[f"loss_{name}"].values, half_squared(p, run.targets))
        equal(measures[f"loss_difference_{name}"].values, loss - half_squared(p, run.targets))
        for metric, value in run.slow.comparisons(prediction, sensitivity, p, g).items():
            found = measures[metric].sel(candidate=name)
            equal(found.values, value)
            assert (found.status == "undefined") == math.isnan(value)
    names = list(measures["candidate_cosines"].labels("candidate"))
    assert set(behaviours) <= set(names)
    for i, a in enumerate(names):
        for j, b in enumerate(names):
            if not {a, b} <= set(behaviours):
                continue
            compared = run.slow.comparisons(*behaviours[a], *behaviours[b])
            equal(measures["candidate_cosines"].values[i, j], np.nan_to_num(compared["cosine"]))  # 0 without direction
            margin = measures[f"prediction_difference_{b}"].values - measures[f"prediction_difference_{a}"].values
            equal(measures["closeness_margins"].values[i, j], margin)


@cases(lambda case: case.model.get("activation_clip") == 0.3)
def test_the_clip_bites(run: Run) -> None:
    """It changes what the model and the constructed ones answer."""
    for model in (run.model, *run.constructed.values()):
        free = replace(model, activation_clip=None)
        assert abs(run.slow.answers(model, run.inputs) - run.slow.answers(free, run.inputs)).max() > 1e-3


@cases()
def test_fitted_settings_are_the_closest(run: Run) -> None:
    assert run.algorithms[1] or not has_products(run.case), "only an end of the range was reached"
    for name, setting in run.algorithms[1].items():
        equal(run.findings.measures[name].values, setting)


@cases()
def test_losses_after_each_layer(run: Run) -> None:
    for name, model in ({"model": run.model} | run.constructed).items():
        readouts = np.array([model.readouts(tokens) for tokens in run.inputs])
        losses = [run.slow.half_squared(readouts[:, layer], run.targets) for layer in range(run.case.n_layers)]
        equal(run.findings.measures[f"loss_by_layer_{name}"].values, losses)


@cases(lambda case: case.n_layers > 1)
def test_several_layers_are_not_rolled_out(run: Run) -> None:
    measures = run.findings.measures
    assert measures["loss_rollout_model"].status == measures["loss_rollout_gd"].status == "not applicable"


@cases(lambda case: case.n_layers == 1)
def test_fifty_more_steps(run: Run) -> None:
    measures = run.findings.measures
    rolled = replace(run.model, layers=run.model.layers * 50, dampening=0.75, target_only=True)
    descent = run.slow.TokenDescent([run.case.probe["learning_rate"]] * 50, [0.0] * 50, run.case.d_out, 0.75)
    for name, model in {"model": rolled, "gd": descent}.items():
        readouts = np.array([model.readouts(tokens) for tokens in run.inputs])
        losses = [run.slow.half_squared(readouts[:, step], run.targets) for step in range(50)]
        equal(measures[f"loss_rollout_{name}"].values, losses)


Products = list[list[tuple[np.ndarray, np.ndarray]]]  # [block][head] -> KQ, PV


def distinct(run: Run) -> Products:
    """KQ = W_Q W_K^T and PV = W_V P of every distinct block, head by head."""
    blocks = run.model.layers[:1] if run.case.tied else run.model.layers
    return [[(W_Q @ W_K.T, W_V @ W_O) for W_Q, W_K, W_V, W_O in heads] for heads in blocks]


def constructed_products(run: Run, name: str) -> Products:
    d, probe = run.case.d_in, run.case.probe
    rate, gamma = (probe["learning_rate"], 0.0) if name == "gd" else (probe["gdpp_learning_rate"], probe["gdpp_gamma"])
    KQ = np.diag([1.0] * d + [0.0] * run.case.d_out)
    PV = np.diag([-gamma] * d + [-rate / run.case.n_context] * run.case.d_out)
    return [[(KQ, PV)] for _ in distinct(run)]


def aligned(run: Run, products: Products) -> Products:
    if len(products[0]) > 1:
        return products
    found = []
    for [(KQ, PV)] in products:
        beta = sum(KQ[i, i] for i in range(run.case.d_in)) / run.case.d_in
        assert beta < 0, "the case is meant to have a gauge of its own sign"
        found.append([(KQ / beta, PV * beta)])
    return found


def with_products(run: Run, products: Products) -> Any:
    """The case's network with other products."""
    eye = np.eye(run.case.d_in + run.case.d_out)
    layers = [[(KQ, eye, eye, PV) for KQ, PV in heads] for heads in products]
    return replace(run.model, layers=layers * run.case.n_layers if run.case.tied else layers)


def live(run: Run, products: Products) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each block, the entries of KQ and PV that change a prediction when they are changed."""
    before = run.slow.answers(with_products(run, products), run.inputs[:3])
    masks = []
    for block in range(len(products)):
        pair = []
        for which in (0, 1):
            mask = np.zeros_like(products[0][0][0], dtype=bool)
            for place in np.ndindex(mask.shape):
                edited = [[list(pair) for pair in heads] for heads in products]
                edited[block][0][which] = edited[block][0][which].copy()
                edited[block][0][which][place] += 0.3
                after = run.slow.answers(with_products(run, edited), run.inputs[:3])
                mask[place] = not np.allclose(after, before, rtol=0, atol=1e-14)
            pair.append(mask)
        masks.append((pair[0], pair[1]))
    return masks


@cases(lambda case: not has_products(case))
def test_weights_without_a_construction_are_not_compared(run: Run) -> None:
    measures = run.findings.measures
    names = ("weight_distance_gd_trained", "barrier_gd_aligned", "loss_path_gd_unaligned", "loss_interpolated")
    assert {measures[name].status for name in names} == {"not applicable"}


@cases(has_products)
def test_distances_of_the_summed_tensor(run: Run) -> None:
    trained, distances = distinct(run), run.findings.measures["weight_distance"]
    masks = live(run, trained)
    for name in run.constructed:
        other = constructed_products(run, name)
        wrong = [[(KQ, PV / 2) for KQ, PV in heads] for heads in other]
        of_candidate = distances.sel(candidate=name)
        equal(of_candidate.sel(control="trained").values, run.slow.tensor_distance(trained, other, masks))
        equal(of_candidate.sel(control="wrong_rate").values, run.slow.tensor_distance(trained, wrong, masks))


@cases(single_head)
def test_distances_of_the_products(run: Run) -> None:
    trained, distances = distinct(run), run.findings.measures["product_distance"]
    masks, ours = live(run, trained), aligned(run, trained)
    for name in run.constructed:
        other = constructed_products(run, name)
        for which, product in enumerate(("KQ", "PV")):
            for block, mask in enumerate(pair[which] for pair in masks):
                found = distances.sel(candidate=name, product=product).at(layer=block)
                a, b = ours[block][0][which], other[block][0][which]
                for entries, chosen in (("live", mask), ("dead", ~mask)):
                    expected = np.linalg.norm((a - b) * chosen) / np.linalg.norm(b)
                    equal(found.sel(entries=entries).values, expected)


@cases(several_heads)
def test_products_of_several_heads_have_no_distance(run: Run) -> None:
    found = run.findings.measures["product_distance_gd_KQ_live"]
    assert found.status == "not applicable"
    assert "several heads" in found.message


@cases(has_products)
def test_paths_and_barriers(run: Run) -> None:
    measures, trained = run.findings.measures, distinct(run)
    for name in run.constructed:
        other = constructed_products(run, name)
        wrong = [[(KQ, PV / 2) for KQ, PV in heads] for heads in other]
        ends = {"aligned": (aligned(run, trained), other), "unaligned": (trained, other)}
        ends["wrong_rate"] = aligned(run, trained), wrong
        for label, (start, end) in ends.items():
            losses = []
            for step in range(21):
                model = with_products(run, run.slow.mixed(start, end, step / 20))
                losses.append(run.slow.half_squared(run.slow.answers(model, run.inputs), run.targets))
            equal(measures["loss_path"].sel(candidate=name, path=label).values, losses)
            above = [loss - (losses[0] + (losses[20] - losses[0]) * i / 20) for i, loss in enumerate(losses)]
            found = measures["barrier"].sel(candidate=name, path=label)
            np.testing.assert_allclose(found.values, max(above), rtol=1e-8, atol=1e-13)
            if label == "aligned" and name == ("gdpp" if run.case.n_layers > 1 else "gd"):
                equal(measures["loss_interpolated"].values, losses[10])


@cases(single_head)
def test_settings_read_off_the_weights(run: Run) -> None:
    d = run.case.d_in
    for name, entries, factor in (
        ("weights_learning_rate", slice(d, None), run.case.n_context),
        ("weights_gamma", slice(None, d), 1),
    ):
        expected = [-np.diag(PV)[entries].mean() * factor for [(_, PV)] in aligned(run, distinct(run))]
        equal(run.findings.measures[name].values, expected)
