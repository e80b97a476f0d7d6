"""The whole probe on small models: what must not change, what must not matter, and what is said where numbers lack."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.runs.plain_data import read_plain, write_plain
from mesascope.data.errors import TaskError, UsageError
from mesascope.models import LanguageModel, from_copy_transformer, from_module, plant_copying
from mesascope.probes.findings import Findings
from mesascope.probes.icl_vs_gd import choosing, measuring, tuning
from mesascope.probes.icl_vs_gd.facts import HALF, ONE_TASK
from mesascope.probes.icl_vs_gd.names import RULES
from mesascope.probes.icl_vs_gd.probe import ICLvsGD
from mesascope.probes.measure import Measure
from mesascope.probes.parts import Parts
from torch import nn

from .subjects import own_model, tiny_of, token_file

D_VOCAB = 64
SMALL: dict[str, Any] = {"n_tasks": 3, "tuning_tasks": 1, "k": 2, "n_queries": 2, "orders": 2, "untrained": 0}
SMALL |= {"rules": ("gd",), "rates": (0.3,), "steps": (2,), "matching": False}


@pytest.fixture(autouse=True)
def _few_steps_of_adam(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its grid is no setting."""
    monkeypatch.setattr(choosing, "ADAM_RATES", (0.01,))
    monkeypatch.setattr(tuning, "ADAM_STEPS", (2,))


def model(**settings: Any) -> Any:
    return own_model(**{"d_vocab": D_VOCAB, "n_ctx": 16, "d_mlp": 8, "positions": "rotary", **settings})


def measured(subject: LanguageModel, batch_size: int = 64, seed: int = 0, **settings: Any) -> Findings:
    return ICLvsGD(**{**SMALL, **settings}).measure(subject, seed, batch_size)


def digest(module: nn.Module) -> str:
    whole = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        whole.update(name.encode() + tensor.contiguous().view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


def said(measures: Mapping[str, Measure]) -> None:
    """Every measure has a number, or a reason."""
    for name, measure in measures.items():
        assert measure.status == "ok" or measure.message, name
        if measure.status == "ok":
            assert np.isfinite(measure.values).any(), name


def same(one: Findings, other: Findings, rtol: float = 0.0) -> None:
    assert list(one.measures) == list(other.measures)
    for name, measure in one.measures.items():
        np.testing.assert_allclose(measure.values, other.measures[name].values, rtol=rtol, atol=rtol, err_msg=name)
    assert list(one.arrays) == list(other.arrays)
    assert one.recipes == other.recipes


def test_the_model_stays_as_it_is_also_after_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, theirs = model(), from_module(tiny_of("gpt2").float())
    for subject, settings in ((own, {"few_shot": token_file(tmp_path), "matching": True}), (theirs, {})):
        before = digest(subject.module)
        measured(subject, untrained=1, **settings)
        assert digest(subject.module) == before
        assert all(x.grad is None for x in subject.module.parameters())
        with monkeypatch.context() as patch:
            patch.setattr(measuring, "of_runs", lambda *some: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                measured(subject)
        assert digest(subject.module) == before


def test_the_same_seed_gives_the_same_findings_and_another_seed_others() -> None:
    one, again, other = (measured(model(), seed=seed) for seed in (0, 0, 1))
    same(one, again)
    assert one.recipes["evaluation"] != other.recipes["evaluation"]
    assert one.measures["answer_distance"].values[0, 0] != other.measures["answer_distance"].values[0, 0]


def test_how_many_run_together_changes_no_number(tmp_path: Path) -> None:
    settings = {"rules": RULES, "untrained": 1, "n_tasks": 4, "few_shot": token_file(tmp_path), "matching": True}
    same(measured(model(), 64, **settings), measured(model(), 3, **settings), rtol=1e-9)


class Written(Parts):
    """Parts as they are written to a file and read again."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def keep(self, name: str, part: Any) -> None:
        with (self.folder / name).open("wb") as file:
            write_plain(part, file, ICLvsGD.part_kinds)

    def found(self) -> Parts:
        kept = Parts()
        for file in self.folder.iterdir():
            kept.put(file.name, read_plain(file, ICLvsGD.part_kinds))
        return kept


def test_what_is_finished_is_not_passed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = token_file(tmp_path)
    probe = ICLvsGD(**{**SMALL, "untrained": 1, "few_shot": file, "matching": True})
    (tmp_path / "parts").mkdir()
    kept = Written(tmp_path / "parts")
    whole = probe.measure_in_parts(model(), 0, 2, kept)
    assert {part.name for part in kept.folder.iterdir()} == {"settings", "tasks-0", "tasks-2", "untrained-0"}
    for name in ("choose", "runs_of", "of_null"):
        monkeypatch.setattr(measuring, name, lambda *given: 1 / 0)
    again = probe.measure_in_parts(model(), 0, 2, kept.found())
    same(whole, again)
    for name, measure in whole.measures.items():
        assert measure.message == again.measures[name].message
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(array, again.arrays[name])


def test_arrays_hold_each_task_under_the_names_of_measures() -> None:
    found = measured(model(), n_tasks=4)
    for name, part in (("contrast", "contrast_gd_in context"), ("accuracy", "accuracy_in context")):
        labels = {"rule": "gd", "between": "in context"} if name == "contrast" else {"way": "in context"}
        np.testing.assert_allclose(found.arrays[part].mean(axis=0), found.measures[name].sel(**labels).values)
    assert found.arrays["answer_distance_gd_other"].shape == (4,)
    assert found.arrays["patch_size"].shape == (4, 2)


def test_tasks_of_one_rule_have_no_numbers_of_another(tmp_path: Path) -> None:
    file = token_file(tmp_path, 1)
    one, two = (measured(model(), few_shot=name) for name in (file, token_file(tmp_path, 1)))
    same(one, two)
    assert "other" not in one.measures["contrast"].labels("between")
    assert ONE_TASK in one.measures["chance"].message.split("; ")
    said(one.measures)


def test_tasks_of_two_rules_have_them(tmp_path: Path) -> None:
    found = measured(model(), few_shot=token_file(tmp_path))
    assert np.isfinite(found.measures["contrast"].sel(rule="gd", between="other").values).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"task": "recall", "k": 1, "n_queries": 1},
        {"task": "recall", "rules": RULES, "matching": True},
        {"steps": (1,), "untrained": 1},
        {"parameters": "all", "rules": ("gd", "lcgd")},
    ],
)
def test_every_number_is_there_or_says_why_not(settings: dict[str, Any]) -> None:
    found = measured(model(), **settings)
    said(found.measures)
    ICLvsGD().claim(found.measures, ())


def test_labels_of_one_query_cannot_be_matched(tmp_path: Path) -> None:
    for settings in ({"task": "recall"}, {"few_shot": token_file(tmp_path), "n_queries": 1}):
        found = measured(model(), matching=True, **settings)
        assert found.measures["learning_rate"].sel(rule="activation matching").status == "not applicable"
        assert found.measures["activation_distance"].status == "not applicable"
        said(found.measures)


def test_without_a_rule_behaviour_is_told_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(called: str, cells: Any, *others: Any) -> Any:
        raise TaskError(f"{called}: no rate can be chosen")

    monkeypatch.setattr(tuning, "chosen", refuse)
    found = measured(model(), rules=("gd", "lcgd"), untrained=1)
    assert found.measures["accuracy"].sel(way="in context").has_number
    assert found.measures["contrast"].status == "undefined"
    assert found.measures["learning_rate"].sel(rule="lcgd").message.endswith("no rate can be chosen")
    said(found.measures)
    ICLvsGD().claim(found.measures, ())


def test_half_precision_is_fine_tuned_in_float64() -> None:
    subject = model()
    subject.module.half()
    found = measured(subject)
    subject.module.double()
    expected = measured(subject)
    for name in ("contrast", "answer_distance", "accuracy"):
        np.testing.assert_allclose(found.measures[name].values, expected.measures[name].values, rtol=1e-6, atol=1e-9)
    assert HALF in found.measures["chance"].message
    assert HALF not in expected.measures["chance"].message


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rules": ()}, "rules = []"),
        ({"rules": ("gd", "gd")}, "each once"),
        ({"rates": (0.1, 0.1)}, "each once"),
        ({"steps": ()}, "at least one"),
        ({"rates": (0.0,)}, "above 0"),
        ({"steps": (0,)}, "at least 1"),
        ({"orders": 1}, "at least 2"),
        ({"tuning_tasks": 0}, "at least 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("[", r"\[")):
        ICLvsGD(**settings)


def test_too_many_compared_tokens_are_refused_before_anything_is_passed() -> None:
    with pytest.raises(TaskError, match="top = 9"):
        measured(model(), top=9)


def test_models_without_such_passes_are_told_why() -> None:
    probe = ICLvsGD()
    assert probe.applies(model()) is None
    copies = probe.applies(from_copy_transformer(plant_copying(6, 6, n_heads=2)))
    assert copies is not None
    assert "no language model" in copies.reason
    seeing = probe.applies(model(causal=False))
    assert seeing is not None
    assert "bidirectional" in seeing.reason
