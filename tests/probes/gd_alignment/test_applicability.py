"""Subjects and tasks at the edge: what applies is measured, what does not says why; and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression, TaskError, UsageError
from mesascope.models import (
    NotApplicable,
    RegressionConfig,
    RegressionTransformer,
    Subject,
    TokenLayout,
    from_predictor,
    from_transformer,
    gd_transformer,
    initialise,
)
from mesascope.probes import PROBES, Findings, GDAlignment, registered
from mesascope.probes.measure import Measures, flat
from mesascope.probes.regression.splits import file_splits, generated_splits, law_of_tasks, task_file
from torch import Tensor

Measured = Callable[..., Findings]
WEIGHTS = ("loss_interpolated", "barrier_gd_aligned", "loss_path_gd_aligned", "weight_distance_gd_trained")


def random_model(dtype: torch.dtype = torch.float64, **settings: Any) -> RegressionTransformer:
    config = RegressionConfig(**({"d_in": 3, "d_head": 4} | settings))
    return initialise(config, 0.4, torch.Generator().manual_seed(1)).to(dtype)


class LanguageModel(Subject):
    """A subject without a regression read-out."""

    dtype, device = torch.float32, torch.device("cpu")  # type: ignore[assignment]

    def weights(self) -> NotApplicable:
        return NotApplicable("none to show")


def test_a_language_model_gets_an_answer_and_no_measure() -> None:
    reason = GDAlignment().applies(LanguageModel())
    assert isinstance(reason, NotApplicable)
    assert "does not answer linear-regression tasks" in reason.reason
    with pytest.raises(UsageError, match="applies"):
        GDAlignment().measure(LanguageModel(), 0, 8)
    assert GDAlignment().applies(from_transformer(random_model())) is None


def test_the_probe_is_registered() -> None:
    assert registered()["gd-alignment"] == PROBES["gd-alignment"] == "mesascope.probes.gd_alignment.probe:GDAlignment"


def one_step(positions: Tensor) -> Tensor:
    """One step of gradient descent at rate 4 on interleaved tokens."""
    X, y, query = positions[:, :-1:2], positions[:, 1::2, :1], positions[:, -1]
    return 4.0 / X.shape[1] * (query[:, None] @ X.mT @ y)[:, 0]


def test_a_predictor_has_behaviour_and_no_weights(on_tasks: Measured, all_nulls: None) -> None:
    subject = from_predictor(one_step, TokenLayout(3, order="interleaved"))
    m = on_tasks(subject, n=20, d_in=3, n_context=6, learning_rate=4.0).measures
    assert m["prediction_difference_gd"].estimate < 1e-6  # the constructed model has the N of the tasks
    assert m["learning_rate_gd_1"].estimate == pytest.approx(4.0, rel=1e-3)
    assert m["cosine_gd_1"].estimate > 1 - 1e-6
    assert {m[name].status for name in WEIGHTS} == {"not applicable"}
    assert "cannot read attention weights" in m["weight_distance_gd_trained"].message
    assert "no layers" in m["loss_by_layer_model"].message
    assert "no block" in m["loss_rollout_model"].message
    assert "untrained" not in m["cosine_gd"].nulls
    assert len(m["cosine_gd"].nulls["shuffled labels"]) == 20


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"softmax": True, "n_heads": 2}, "softmax"), ({"n_layers": 2, "layer_norm": True}, "layer norm")],
)
def test_architectures_without_a_construction(
    on_tasks: Measured, all_nulls: None, settings: dict[str, Any], reason: str
) -> None:
    m = on_tasks(random_model(**settings), n=12, d_in=3, n_context=4, learning_rate=5.0, twins="gd").measures
    assert {m[name].status for name in WEIGHTS} == {"not applicable"}
    assert all(reason in m[name].message for name in WEIGHTS)
    assert m["cosine_gd"].status == "ok"
    assert len(m["cosine_gd"].nulls["untrained"]) == 50


def test_constructed_models_of_other_depth_have_no_weights_to_compare(on_tasks: Measured) -> None:
    m = on_tasks(random_model(), n=12, d_in=3, n_context=4, learning_rate=5.0, steps=3).measures
    assert "3 steps" in m["weight_distance_gd_trained"].message
    assert "gd_6" in m["candidate_cosines"].labels("candidate")
    layers = m["loss_by_layer"]
    assert layers.values.shape == (3, 3)  # the model, GD and GD++
    assert np.isfinite(layers.sel(candidate="gd").values).all()
    of_model = layers.sel(candidate="model")
    assert np.isfinite(of_model.values).tolist() == [True, False, False]
    assert of_model.message.endswith("NaN after its last layer")


@pytest.mark.parametrize(
    "law", [{"n_context": 1}, {"d_in": 1}, {"d_out": 2, "n_context": 3}, {"n_context": 2, "d_in": 6}]
)
def test_small_and_wide_tasks(on_tasks: Measured, law: dict[str, int]) -> None:
    sizes = {"d_in": 3, "d_out": 1, "n_context": 4} | law
    model = random_model(n_layers=2, d_in=sizes["d_in"], d_out=sizes["d_out"])
    m = on_tasks(model, n=12, **sizes, learning_rate=3.0, gdpp_learning_rate=3.0, gdpp_gamma=0.1).measures
    assert np.isfinite([m[name].estimate for name in ("loss_model", "cosine_gd", "cosine_gdpp", "cosine_ridge")]).all()
    assert m["weight_distance_gdpp_trained"].status == "ok"


def test_a_single_task(tasks_file: Callable[..., str]) -> None:
    path = tasks_file(LinearRegression(4, 3).sample(5, 0))
    probe = GDAlignment(tasks=path, limit=1)
    m = Measures(probe.measure(from_transformer(gd_transformer(4, 3.0, 3)), 0, 8).measures)
    assert m["loss_model"].n == 1
    assert np.isnan(m["loss_model"].interval).all()
    assert "one task has no interval" in m["loss_model"].message
    claim = probe.claim(m, (from_transformer(random_model()).source,))
    assert claim.found.startswith("These tasks do not separate")


def test_tasks_that_do_not_fit(tasks_file: Callable[..., str]) -> None:
    path = tasks_file(LinearRegression(4, 5).sample(3, 0))
    with pytest.raises(TaskError, match="6 wide, but the model takes 4"):
        GDAlignment(tasks=path).measure(from_transformer(random_model()), 0, 8)
    with pytest.raises(TaskError):
        GDAlignment(tasks=path + ".gone").fingerprint()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gdpp_gamma": 0.1}, "both"),
        ({"limit": 0}, "limit"),
        ({"learning_rate": float("nan")}, "learning_rate = nan"),
        ({"gdpp_learning_rate": 1.0, "gdpp_gamma": float("inf")}, "gdpp_gamma = inf"),
        ({"steps": -1}, "steps"),
        ({"n_context": 0}, "n_context"),
        ({"dampening": 0.0}, "dampening = 0.0; expected a number above 0"),
        ({"tasks": "x.npz", "noise": 0.1}, "noise"),
    ],
)
def test_settings_that_make_no_sense(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GDAlignment(**settings)


def test_another_constructed_model_is_refused() -> None:
    # the shape checks of the tests are a step ahead of the probe's own refusal
    with pytest.raises((UsageError, TypeError), match="twins"):
        GDAlignment(twins="newton")  # type: ignore[arg-type]


def test_an_undefined_gauge_is_said_and_not_divided_by(on_tasks: Measured) -> None:
    model = gd_transformer(4, 5.0, 4)
    KQ = model.W_Q.detach() @ model.W_K.detach().mT
    KQ[..., range(4), range(4)] = torch.tensor([1.0, -1.0, 2.0, -1.99], dtype=torch.float64)
    odd = RegressionTransformer.from_products(model.config, KQ, model.W_V.detach() @ model.W_O.detach())
    findings = on_tasks(odd, n=12, d_in=4, n_context=4, learning_rate=5.0)
    m = findings.measures
    for name in (*WEIGHTS[:3], "product_distance_gd_KQ_live", "product_distance_gd_PV_dead", "loss_path_gd_rotated"):
        assert m[name].status == "undefined", name
        assert "near zero (L0)" in m[name].message
    assert m["weight_distance_gd_trained"].status == m["loss_path_gd_unaligned"].status == "ok"
    assert "KQ_aligned" not in findings.arrays


def test_a_model_that_diverges_is_reported_as_such(on_tasks: Measured) -> None:
    """Infinite predictions, even one: no number, no warning, no crash, and a claim that names nothing."""
    law: dict[str, Any] = {"n": 40, "n_context": 4, "d_in": 3}
    late = LinearRegression(n_context=4, d_in=3).sample(40, seed=17).inputs[30, -1, 0].float()
    once = from_predictor(lambda t: torch.where(t[:, -1, 0] == late, torch.nan, t[:, -1, 0]), TokenLayout(3))
    for subject in (from_transformer(gd_transformer(4, float("inf"), 3)), once):
        findings = on_tasks(subject, **law, learning_rate=5.0)
        assert findings.measures["loss_model"].status == findings.measures["ridge_penalty"].status == "undefined"
        claim = GDAlignment().claim(findings.measures, (subject.source,))
        assert claim.found == "The model's predictions on these tasks are not finite, so mesascope compared nothing."


def test_a_constructed_model_that_diverges_is_no_candidate(on_tasks: Measured) -> None:
    subject = from_transformer(gd_transformer(4, 3.0, 3, n_layers=3))
    given = {"learning_rate": 1e120, "gdpp_learning_rate": 3.0, "gdpp_gamma": 0.0}
    findings = on_tasks(subject, n=12, d_in=3, n_context=4, **given)
    assert findings.measures["loss_gd"].status == "undefined"
    claim = GDAlignment().claim(findings.measures, (subject.source,))
    assert "constructed GD++" in claim.found or "3 steps of gradient descent" in claim.found
    assert "nan" not in claim.found


# ---- tasks and settings behind a run ----


def test_splits_share_no_task() -> None:
    subject = from_transformer(random_model())
    law = law_of_tasks(subject, {})
    splits = generated_splits(law, 50, seed=3)
    batches = (splits.folds[0].tuning, splits.nulls, splits.evaluation)
    assert splits.folds[0].evaluation is splits.evaluation
    assert len({batch.recipe.sha256 for batch in batches}) == 3
    rows = torch.cat([batch.inputs.flatten(1) for batch in batches])
    assert len(rows.unique(dim=0)) == 150
    other = generated_splits(law, 50, seed=4)
    assert other.evaluation.recipe.sha256 != splits.evaluation.recipe.sha256


def test_halves_of_a_file_serve_each_other(tasks_file: Callable[..., str]) -> None:
    batch = LinearRegression(4, 3).sample(7, 0)
    splits = file_splits(task_file(tasks_file(batch), None, from_transformer(random_model())))
    first, second = splits.folds
    assert first.evaluation is second.tuning
    assert second.evaluation is first.tuning
    assert torch.equal(torch.cat([fold.evaluation.inputs for fold in splits.folds]), batch.inputs)
    assert len(first.evaluation) == 3


def test_the_law_is_the_checkpoints_own_unless_said_otherwise() -> None:
    subject = from_transformer(random_model())
    assert law_of_tasks(subject, {}) == LinearRegression(3, 3)  # N = d_in where nothing is recorded
    record = {"recipe": {"tasks": {"n_context": 7, "input_range": 2.0, "d_in": 99, "family": "x"}}}
    subject.source = replace(subject.source, record=record)
    assert law_of_tasks(subject, {"weight_scale": 3.0}) == LinearRegression(7, 3, 1, 2.0, 3.0)
    assert generated_splits(law_of_tasks(subject, {"n_context": 5}), 2, 0).n_context == 5


# ---- the same again ----


def same_bytes(a: Findings, b: Findings) -> None:
    others = flat(b.measures)
    assert list(flat(a.measures)) == list(others)
    for name, x in flat(a.measures).items():
        y = others[name]
        assert (x.status, x.message, x.n) == (y.status, y.message, y.n)
        for one, other in ((x.values, y.values), *zip(x.interval, y.interval, strict=True)):
            assert one.tobytes() == other.tobytes(), name
        assert {n: s.tobytes() for n, s in x.nulls.items()} == {n: s.tobytes() for n, s in y.nulls.items()}, name
    assert {n: array.tobytes() for n, array in a.arrays.items()} == {
        n: array.tobytes() for n, array in b.arrays.items()
    }
    assert {n: r.sha256 for n, r in a.recipes.items()} == {n: r.sha256 for n, r in b.recipes.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_again_and_nothing_else_touched(
    dtype: torch.dtype, few_shifts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    subject = from_transformer(random_model(dtype, n_layers=2))
    before = {name: tensor.clone() for name, tensor in subject.module.state_dict().items()}
    probe = GDAlignment(limit=30)
    state = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # type: ignore[index]  # noqa: NPY002
    first = probe.measure(subject, seed=5, batch_size=32)
    between = GDAlignment(limit=30, learning_rate=1.0, twins="gd").measure(subject, seed=5, batch_size=32)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tobytes() == state[1]  # type: ignore[index]  # noqa: NPY002
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float32, True)
    assert list(tmp_path.iterdir()) == []
    assert all(torch.equal(before[name], tensor) for name, tensor in subject.module.state_dict().items())
    # what was fitted for other settings, or is remembered from before, is not mixed up
    same_bytes(first, probe.measure(subject, seed=5, batch_size=32))
    assert between.measures["learning_rate"].sel(candidate="gd").estimate == 1.0
    assert first.measures["learning_rate"].sel(candidate="gd").estimate != 1.0
    torch.manual_seed(99)
    same_bytes(first, GDAlignment(limit=30).measure(subject, seed=5, batch_size=32))  # nothing is remembered


def test_a_file_that_changed_is_read_again(tasks_file: Callable[..., str]) -> None:
    subject = from_transformer(gd_transformer(4, 3.0, 3))
    probe = GDAlignment(tasks=tasks_file(LinearRegression(4, 3).sample(8, 0)), learning_rate=3.0)
    first, digest = probe.measure(subject, 0, 8).measures["loss"], probe.fingerprint()
    tasks_file(LinearRegression(4, 3).sample(8, 1))
    assert probe.fingerprint() != digest
    again = probe.measure(subject, 0, 8).measures["loss"]
    assert again.sel(candidate="model").estimate != first.sel(candidate="model").estimate
