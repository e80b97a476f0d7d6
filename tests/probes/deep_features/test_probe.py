"""The probe: to which models it applies, whose tasks it draws, the twin, and what it keeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import analyses, models
from mesascope.data.errors import UsageError
from mesascope.data.sine import SineRegression
from mesascope.models import RegressionConfig, RegressionTransformer, Subject, from_transformer, initialise
from mesascope.probes.deep_features.probe import DeepFeatures
from mesascope.probes.deep_features.twin import NO_TWIN
from mesascope.probes.gd_alignment.probe import GDAlignment
from mesascope.probes.regression import nulls

Found = Callable[..., Any]
Planted = Callable[..., RegressionTransformer]
TASKS = {"n_context": 5, "d_in": 1, "d_out": 1, "input_range": 10.0, "amplitudes": [0.1, 0.5]}


def fresh(**settings: Any) -> Subject:
    config = RegressionConfig(**{"d_in": 2, "d_head": 3, **settings})
    return from_transformer(initialise(config, 0.1, torch.Generator().manual_seed(0)))


def saved(path: Path, module: RegressionTransformer, seeds: tuple[int, ...], tasks: Any = TASKS) -> str:
    """A family whose seeds have read-ins of other sizes, at two steps."""
    tensors = {}
    for seed in seeds:
        for step in (0, 10):
            tensors |= {f"seed{seed}/step{step}/{name}": held.clone() for name, held in module.named_parameters()}
            tensors[f"seed{seed}/step{step}/W_O"] *= (1 + seed) * (1 + step)
    models.save_checkpoint(path, module.config, tensors, {"recipe": {"tasks": tasks}})
    return str(path)


@pytest.mark.parametrize(("settings", "words"), [
    ({}, "reads tokens as they are given"),
    ({"d_embed": 4, "token_order": "separate"}, "tokens of their own"),
    ({"d_embed": 4, "d_position": 2}, "position codes behind its features"),
])  # fmt: skip
def test_models_without_deep_features_are_refused_in_words(settings: dict[str, Any], words: str) -> None:
    refused = DeepFeatures().applies(fresh(**settings))
    assert refused is not None
    assert words in refused.reason


def test_other_subjects_are_refused_in_words() -> None:
    refused = DeepFeatures().applies(models.load("induction-2layer"))
    assert refused is not None
    assert "does not answer linear-regression tasks or sines" in refused.reason
    predictor = models.from_predictor(lambda x: x[:, -1, :1], models.TokenLayout(1, 1))
    refused = DeepFeatures().applies(predictor)
    assert refused is not None
    assert "cannot see what this subject's attention reads" in refused.reason
    assert DeepFeatures().memory(predictor) is DeepFeatures().cost(predictor, 4) is None


def test_sines_are_asked_as_sines_and_other_probes_still_refuse_them(planted: Planted, tmp_path: Path) -> None:
    subject = models.load(saved(tmp_path / "sines.safetensors", planted(), (0,)), "seed0")
    assert DeepFeatures().applies(subject) is None
    refused = GDAlignment().applies(subject)
    assert refused is not None
    assert "trained on sines" in refused.reason
    splits = DeepFeatures(limit=20, n_context=7)._splits(subject, 3)  # pyright: ignore[reportPrivateUsage]
    assert splits.law is None
    assert splits.n_context == 7
    recipe = splits.evaluation.recipe
    assert recipe.family == "sine-regression"
    expected = SineRegression(n_context=7).sample(20, recipe.seed or 0)
    assert torch.equal(splits.evaluation.inputs, expected.inputs)
    assert set(splits.recipes) == {"tuning", "nulls", "evaluation"}
    with pytest.raises(UsageError, match=r"noise = 0.1 for a model of sines"):
        DeepFeatures(limit=20, noise=0.1)._splits(subject, 3)  # pyright: ignore[reportPrivateUsage]


def test_a_file_of_tasks_is_cross_fitted(planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nulls, "UNTRAINED", 2)
    monkeypatch.setattr(nulls, "SHUFFLES", 2)
    tasks = SineRegression(n_context=5).sample(40, 1)
    np.savez(tmp_path / "own.npz", inputs=tasks.inputs.numpy(), targets=tasks.targets.numpy())
    own = DeepFeatures(tasks=str(tmp_path / "own.npz"))
    findings = own.measure(from_transformer(planted()), 0, 16)
    assert list(findings.recipes) == ["evaluation"]
    assert len(findings.arrays["loss_model"]) == 40
    assert findings.measures["unexplained_share"].sel(candidate="feature_gd").estimate < 1e-10
    assert "function_target" not in findings.arrays
    assert findings.arrays["function_model"].shape == (3, 100)
    assert own.fingerprint()["tasks_sha256"]


def test_the_twin_is_the_seed_of_the_same_number_at_its_last_step(
    planted: Planted, random_attention: Planted, probed: Found, tmp_path: Path
) -> None:
    twin = saved(tmp_path / "twin.safetensors", planted(), (0, 1))
    family = saved(tmp_path / "family.safetensors", random_attention(), (1, 2))
    for seed, expected in ((1, "seed1-step10"), (2, "seed0-step10")):
        found = probed(models.load(family, f"seed{seed}-step0"), twin=twin)
        part = found["prediction_difference"].sel(candidate="twin")
        assert expected in part.message
        tasks = found.findings.recipes["evaluation"]
        batch = SineRegression(**tasks.settings).sample(tasks.n, tasks.seed)
        module = models.load(twin, expected).module
        inputs = batch.inputs.to(module.W_Q.dtype)
        loss = 0.5 * (module(inputs).double() - batch.targets).square().mean()
        sign = 1 if abs(found.of("loss", "twin") / float(loss) - 1) < 1e-5 else -1
        assert found.of("loss", "twin") == pytest.approx(
            float(0.5 * (sign * module(inputs).double() - batch.targets).square().mean()), rel=1e-5
        )
        assert found.standing.has_twin


def test_a_twin_of_itself_differs_in_nothing(planted: Planted, probed: Found, tmp_path: Path) -> None:
    path = saved(tmp_path / "twin.safetensors", planted(), (0,))
    found = probed(models.load(path, "seed0"), twin=path)
    assert found.of("prediction_difference", "twin") == found.of("model_difference", "twin") == 0
    assert found.of("slope_agreement", "twin") == 1
    np.testing.assert_array_equal(found.findings.arrays["function_twin"], found.findings.arrays["function_model"])
    assert DeepFeatures(twin=path).fingerprint()["twin_sha256"]


def test_without_a_twin_its_numbers_are_not_applicable(planted: Planted, probed: Found) -> None:
    found = probed(planted())
    for name in ("loss", "unexplained_share", "prediction_difference", "model_difference", "slope_agreement"):
        part = found[name].sel(candidate="twin")
        assert (part.status, part.message) == ("not applicable", NO_TWIN)
    assert not found.standing.has_twin
    assert DeepFeatures().fingerprint() == {}


def test_a_twin_of_other_tasks_is_refused(planted: Planted, probed: Found) -> None:
    with pytest.raises(UsageError, match=r"d_in = 10, d_out = 1; expected a model of the same tasks"):
        probed(planted(), twin="lsa-1layer")
    with pytest.raises(UsageError, match=r"no regression model; expected a model of the same tasks"):
        probed(planted(), twin="induction-2layer")


def test_functions_are_answers_over_a_grid(planted: Planted, probed: Found) -> None:
    found = probed(planted())
    held = {name.removeprefix("function_"): a for name, a in found.findings.arrays.items() if "function_" in name}
    assert {name: a.shape for name, a in held.items()} == {
        **dict.fromkeys(("model", "feature_gd", "attended_gd", "feature_ridge", "target", "grid"), (3, 100)),
        "context_x": (3, 5),
        "context_y": (3, 5),
    }  # fmt: skip
    recipe = found.findings.recipes["evaluation"]
    tasks = SineRegression(**recipe.settings).sample(recipe.n, recipe.seed)
    np.testing.assert_allclose(held["context_y"], tasks.inputs[:3, :-1, 1])
    x = tasks.inputs[..., 0]  # of all tasks
    np.testing.assert_allclose(held["grid"][:, [0, -1]], [[float(x.min()), float(x.max())]] * 3)
    one = tasks.inputs[1:2].clone()
    one[0, -1, 0] = held["grid"][1, 42]
    assert held["model"][1, 42] == pytest.approx(float(found["readout_sign"].estimate * planted()(one)), rel=1e-9)
    u = np.arange(0, 1, 1e-5)[:, None]
    curves = (0.1 + 0.4 * u) * np.sin(held["context_x"][2] + np.pi * u)  # the sine through this task's pairs
    best = u[np.abs(curves - held["context_y"][2]).sum(axis=1).argmin(), 0]
    expected = (0.1 + 0.4 * best) * np.sin(held["grid"][2] + np.pi * best)
    np.testing.assert_allclose(held["target"][2], expected, atol=1e-3)


def test_a_model_that_is_not_finite(planted: Planted, probed: Found) -> None:
    module = planted()
    with torch.no_grad():
        module.W_O.fill_(torch.nan)
    found = probed(module)
    assert found.claim.badge == "Not finite"
    assert np.isfinite(found["linear_readout"].values[0])
    assert np.isnan(found["linear_readout"].values[1])


def test_the_same_call_gives_the_same_numbers_and_another_seed_others(planted: Planted, probed: Found) -> None:
    one, again, other = (probed(planted(), seed=seed) for seed in (0, 0, 1))
    for name, array in one.findings.arrays.items():
        np.testing.assert_array_equal(array, again.findings.arrays[name])
    assert one.of("loss", "model") != other.of("loss", "model")


def test_memory_and_cost_grow_with_the_tasks(planted: Planted) -> None:
    subject = from_transformer(planted())
    few, many = DeepFeatures(limit=100), DeepFeatures(limit=10_000)
    assert (few.memory(subject) or 0) < (many.memory(subject) or 0)
    costs = [probe.cost(subject, 64) for probe in (few, many)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[0].tokens < costs[1].tokens


def test_a_family_has_a_report_over_seeds(planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nulls, "UNTRAINED", 2)
    monkeypatch.setattr(nulls, "SHUFFLES", 2)
    path = saved(tmp_path / "family.safetensors", planted(), (0, 1))
    subjects = [models.load(path, f"seed{seed}-step{step}") for seed in (0, 1) for step in (0, 10)]
    answer = analyses.run_family(subjects, DeepFeatures(limit=20))
    assert isinstance(answer, tuple)
    report = answer[1]
    assert report.measures["unexplained_share"].axes == ("step", "candidate")
    assert report.measures["loss"].points is not None
    assert report.arrays["function_model"].shape == (2, 3, 100)
    assert report.claim.badge == "A step of gradient descent on its features"
