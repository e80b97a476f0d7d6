"""The probe from a model to a report: settings, refusals, identity, and what shipped models show."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope import analyses, models, probes
from mesascope.analyses.reports.provenance import key
from mesascope.data.errors import TaskError, UsageError
from mesascope.models.subject import NotApplicable, Subject
from mesascope.probes.attention_learning.copy_cost import copy_cost, copy_memory
from mesascope.probes.attention_learning.copy_measures import CopySettings
from mesascope.probes.attention_learning.head_settings import HeadHow
from mesascope.probes.attention_learning.memory import head_cost, head_memory
from mesascope.probes.attention_learning.probe import AttentionLearning
from mesascope.probes.attention_learning.twin import NO_TWIN, OWN_UNIFORM

from .planted_copies import random_copy

PERMUTATIONS, SOME = "copy-permutations-1head", "copy-40of60-1head"
SMALL = AttentionLearning(n_sequences=8)


@cache
def opened(name: str, revision: str | None = None) -> Subject:
    return models.load(name, revision)


@cache
def report_of(name: str, revision: str | None = None) -> analyses.Report:
    report = analyses.run(opened(name, revision), SMALL)
    assert isinstance(report, analyses.Report)
    return report


def family_of(*revisions: str, name: str = PERMUTATIONS) -> analyses.Report:
    answer = analyses.run_family([opened(name, revision) for revision in revisions], SMALL)
    assert isinstance(answer, tuple)
    return answer[1]


# -- settings ----------------------------------------------------------------------------------------------------------


def test_it_is_registered_and_runs_when_it_is_named() -> None:
    assert probes.PROBES["attention-learning"].endswith(":AttentionLearning")
    assert (AttentionLearning.name, AttentionLearning.by_default) == ("attention-learning", False)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_sequences", 1),
        ("learned", 0.0),
        ("learned", 1.01),
        ("context", 2),
        ("queries", 0),
        ("saliency", -1),
    ],
)
def test_settings_outside_their_limits_are_refused(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"attention-learning: {setting} = "):
        AttentionLearning(**{setting: value})


def test_text_or_tokens_and_not_both() -> None:
    with pytest.raises(UsageError, match="text and tokens are both given; expected one of them"):
        AttentionLearning(text="a.txt", tokens="b.npy")


def test_every_setting_is_explained() -> None:
    assert AttentionLearning.__doc__ is not None
    for name in AttentionLearning().settings():
        assert f"\n    {name}:  " in AttentionLearning.__doc__


# -- what it measures --------------------------------------------------------------------------------------------------


def test_copy_models_and_language_models_are_measured() -> None:
    for name in (SOME, "induction-2layer", "tiny-grammar"):
        assert AttentionLearning().applies(opened(name)) is None


@pytest.mark.parametrize("name", ["lsa-1layer", "softmax-attention-1layer"])
def test_regressors_are_not(name: str) -> None:
    answer = AttentionLearning().applies(opened(name))
    assert isinstance(answer, NotApplicable)
    assert (
        "no head of it attends to a word. attention-learning measures copy models and language models" in answer.reason
    )
    with pytest.raises(UsageError, match=r"applies\(\) says which"):
        AttentionLearning().measure(opened(name), 0, 32)
    assert AttentionLearning().memory(opened(name)) is None
    assert AttentionLearning().cost(opened(name), 32) is None


@pytest.mark.parametrize("given", [{"text": "a.txt"}, {"tokens": "a.npy"}, {"context": 8}])
def test_a_copy_model_reads_no_text(given: dict[str, Any]) -> None:
    answer = AttentionLearning(**given).applies(opened(SOME))
    assert isinstance(answer, NotApplicable)
    assert answer.reason == (
        f"this model copies words and reads no text, but {next(iter(given))} is given; leave it out"
    )


def test_settings_reach_what_they_are_for() -> None:
    copies, language = opened(SOME), opened("tiny-grammar")
    assert isinstance(copies, models.CopyModel)
    assert isinstance(language, models.LanguageModel)
    default, asked = AttentionLearning(), AttentionLearning(n_sequences=8, context=16, queries=40, saliency=2)
    assert default.memory(copies) == copy_memory(copies, CopySettings(64), 32)
    assert asked.memory(copies) == copy_memory(copies, CopySettings(8), 32)
    assert default.cost(copies, 16) == copy_cost(copies, CopySettings(64), 16)
    assert asked.cost(copies, 16) == copy_cost(copies, CopySettings(8), 16)
    how = HeadHow(n_sequences=8, context=16, queries=40, saliency=2)
    assert default.memory(language) == head_memory(language, HeadHow(), 32)
    assert asked.memory(language) == head_memory(language, how, 32)
    assert default.cost(language, 16) == head_cost(language, HeadHow(), 16)
    assert asked.cost(language, 16) == head_cost(language, how, 16)


# -- identity ----------------------------------------------------------------------------------------------------------


def test_the_bytes_of_every_file_are_part_of_a_runs_identity(tmp_path: Path) -> None:
    subject, keys = opened("tiny-grammar"), set()
    text, tokens, twin = tmp_path / "a.txt", tmp_path / "a.npy", tmp_path / "a.safetensors"
    twin.write_bytes(b"one")
    text.write_text("the cat")
    np.save(tokens, np.zeros((3, 4), dtype=np.int64))
    given = [{}, {"text": str(text)}, {"tokens": str(tokens)}, {"uniform": str(twin)}]
    for setting in given:
        probe = AttentionLearning(**setting)
        names = set(probe.fingerprint()) - set(AttentionLearning().fingerprint())
        assert names == {f"{name}_sha256" for name in setting}
        keys.add(key(subject, probe, 0, 32))
    assert len(keys) == 4
    before = key(subject, AttentionLearning(uniform=str(twin)), 0, 32)
    twin.write_bytes(b"other")
    assert key(subject, AttentionLearning(uniform=str(twin)), 0, 32) != before
    assert {f"{PERMUTATIONS}-uniform_sha256", f"{SOME}-uniform_sha256"} <= set(AttentionLearning().fingerprint())
    with pytest.raises(TaskError, match=r"b\.txt: cannot be read"):
        AttentionLearning(text=str(tmp_path / "b.txt")).fingerprint()


# -- shipped models ----------------------------------------------------------------------------------------------------


def test_where_the_account_holds() -> None:
    report = report_of(SOME, "seed0-step100")
    for pair in ("beta", "uniform", "proxy", "own_proxy"):
        assert report.measures[f"agreement_{pair}"].estimate > 0.9, pair
    assert report.claim.badge == "Copies by attention"
    assert report.heads == {}


def test_permutations_are_learned_or_not_and_never_by_co_occurrence() -> None:
    learned, failed = report_of(PERMUTATIONS, "seed1-step100"), report_of(PERMUTATIONS, "seed0-step100")
    assert learned.claim.badge == "Copies by attention"
    assert failed.claim.badge == "Has not learned to copy"
    for report in (learned, failed):
        assert report.measures["agreement_proxy"].estimate == pytest.approx(1 / 20)
        assert any("Every source holds all words" in limit for limit in report.claim.limits)
    assert learned.measures["agreement_beta"].estimate > 0.9
    assert failed.measures["agreement_beta"].estimate < 0.2


def test_a_model_with_several_heads_has_numbers_of_each() -> None:
    report = report_of("copy-40of60-8heads")
    assert report.measures["head_agreement"].values.shape == (1, 1, 8)
    assert set(report.heads) <= {f"L0H{head}" for head in range(8)}


def test_several_steps_and_seeds_of_a_training() -> None:
    report = family_of(*(f"seed{seed}-step{step}" for seed in (0, 1) for step in (0, 40, 100)))
    assert report.claim.found.startswith("1 of 2 seeds learns to copy by step 100")
    assert " At step 100: Right: " in report.claim.found
    assert report.claim.badge == "1 of 2 seeds learn to copy"
    assert report.measures["agreement_push"].axes == ("step",)
    first = report.measures["first_crossing"]
    assert (first.axes, first.status) == (("quantity",), "undefined")  # one of two seeds never crosses
    assert first.points is not None
    np.testing.assert_array_equal(np.isnan(first.points), [[True] * 3, [False] * 3])
    assert report.measures["crossing_order"].values.sum() == pytest.approx(1)
    assert report.measures["task_accuracy"].axes == ("step",)
    assert {"map_seed0_step0", "map_seed1_step100"} <= set(report.arrays)


def test_the_setting_for_what_has_learned_reaches_both_cards() -> None:
    strict = replace(SMALL, learned=1.0)
    subject = opened(SOME, "seed0-step40")
    lax = replace(SMALL, learned=0.01)
    badges = [analyses.run(subject, probe).claim.badge for probe in (strict, lax)]  # pyright: ignore
    assert badges[0] == "Has not learned to copy"
    assert badges[1] != badges[0]
    subjects = [opened(SOME, f"seed{seed}-step40") for seed in (0, 2)]
    found = [analyses.run_family(subjects, probe) for probe in (strict, lax)]
    assert [answer[1].claim.badge[:6] for answer in found] == ["0 of 2", "2 of 2"]  # pyright: ignore


def test_a_twin_is_its_own() -> None:
    report = report_of(f"{SOME}-uniform", "seed0-step100")
    for pair in ("uniform", "proxy", "saliency"):
        assert report.measures[f"agreement_{pair}"].message == OWN_UNIFORM
    assert report.measures["agreement_own_proxy"].estimate > 0.9
    assert report.measures["ktiw_accuracy"].estimate > 0.9
    assert "Its attention is uniform by construction." in report.claim.found
    assert "It knows more than half of the words, but fewer than half of the places attend" in report.claim.found


def test_a_model_in_memory_has_no_twin() -> None:
    report = analyses.run(random_copy(n_words=9, n_places=7), SMALL)
    assert isinstance(report, analyses.Report)
    assert report.measures["agreement_uniform"].message == NO_TWIN
    with pytest.raises(UsageError, match="a copy model of 40 words, 40 places and 1 head"):
        analyses.run(random_copy(n_words=9, n_places=7), replace(SMALL, uniform=f"{PERMUTATIONS}-uniform"))


def test_a_language_model_has_no_gold_source() -> None:
    report = analyses.run(opened("induction-2layer"), replace(SMALL, context=32, saliency=2))
    assert isinstance(report, analyses.Report)
    for name in ("attention_accuracy", "ktiw_accuracy"):
        assert report.measures[name].status == "not applicable"
    assert report.measures["task_accuracy"].status == "ok"
    shape = opened("induction-2layer").shape  # type: ignore[attr-defined]
    assert report.measures["head_agreement"].values.shape[1:] == (shape.n_layers, shape.n_heads)
