"""The whole probe: planted heads are found, absences are not, and a slow independent account says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import analyses, models
from mesascope.analyses.commands.source_reading import class_settings
from mesascope.data.errors import UsageError
from mesascope.models.constructed.induction import induction_circuit, near_misses
from mesascope.probes.few_shot_heads import measuring, patching
from mesascope.probes.few_shot_heads.names import (
    ANSWER,
    DROP,
    FUNCTION_VECTOR,
    GROUP,
    GROUP_EXCESS,
    IN_CONTEXT,
    OWN_PROMPT,
    PATCH,
    SHUFFLED,
    TASK_MEAN,
    TOP_OWN,
)
from mesascope.probes.few_shot_heads.passes import Passes
from mesascope.probes.few_shot_heads.probe import FewShotHeads
from mesascope.probes.few_shot_heads.shown import Half, Shown

from .planted_tasks import RULES, task_file, task_model
from .subjects import KINDS, module_of, subject_of, tasks_of
from .test_passes import plain_logits, plain_z, softmax

SMALL: dict[str, Any] = {"n_tasks": 20, "k": 2, "n_queries": 2, "random_sets": 4}


def report_of(subject: Any, seed: int = 0, batch_size: int | None = None, **settings: Any) -> analyses.Report:
    report = analyses.run(subject, FewShotHeads(**settings), seed=seed, batch_size=batch_size)
    assert isinstance(report, analyses.Report)
    return report


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> analyses.Report:
    """One head carries the task; judged on the rule that did not choose."""
    file = task_file(tmp_path_factory.mktemp("tasks"))
    return report_of(task_model(), few_shot=file, n_tasks=16, n_queries=3, random_sets=4)


# -- found -------------------------------------------------------------------------------------------------------------


def test_the_head_that_carries_the_task_is_found(planted: analyses.Report) -> None:
    called = {name: verdict for name, verdict in planted.heads.items() if verdict != "none"}
    assert called["L1H0"] == "function-vector"
    assert [name for name, verdict in called.items() if verdict == "function-vector"] == ["L1H0"]
    assert len(called) == 2  # and the head that answers under the rule that chose
    drop = planted.measures[DROP].sel(**{GROUP: FUNCTION_VECTOR})
    assert drop.estimate > 0.8
    assert planted.claim.badge == "1 function-vector head, 1 answer head"


def test_what_answers_one_rule_is_not_needed_for_the_other(planted: analyses.Report) -> None:
    answer = planted.measures[DROP].sel(**{GROUP: ANSWER})
    assert answer.estimate == pytest.approx(0, abs=1e-9)
    assert "Random heads of the same layers cost as much or more." in planted.claim.found


def test_halves_hold_different_rules(planted: analyses.Report) -> None:
    rows = planted.examples["halves"].rows
    assert sorted(row[1] for row in rows) == list(range(16))
    rules = {half: {str(name).split(",")[0] for at, _, name in rows if at == half} for half, _, _ in rows}
    assert sorted(map(len, rules.values())) == [1, 1]
    assert set.union(*rules.values()) == set(RULES)


def test_ablation_takes_the_rule_away_in_a_file_of_one_task(tmp_path: Path) -> None:
    """A mean over clean prompts would hold the rule, and cost nothing."""
    file = task_file(tmp_path, ["next"])
    report = report_of(task_model(), few_shot=file, n_tasks=16, n_queries=2, random_sets=1)
    assert report.measures["rules"].estimate == 1
    assert report.measures[DROP].sel(**{GROUP: FUNCTION_VECTOR}).estimate > 0.7


def test_a_head_that_copies_the_answer_is_found() -> None:
    """The induction head of a constructed circuit, on pairs to recall; its task mean says nothing."""
    report = report_of(induction_circuit(d_vocab=24, n_ctx=24), **SMALL)
    assert {name for name, verdict in report.heads.items() if verdict != "none"} == {"L1H0"}
    assert report.heads["L1H0"] == "answer"
    together = report.measures[GROUP_EXCESS].sel(**{PATCH: OWN_PROMPT, GROUP: ANSWER})
    assert together.estimate == pytest.approx(report.measures["total_effect"].estimate, abs=1e-6)
    by_task = report.measures["indirect_excess"].sel(**{PATCH: TASK_MEAN})
    assert by_task.values.max() < 1e-6


# -- not found ---------------------------------------------------------------------------------------------------------


def untrained() -> Any:
    return models.load("icl-mapping").untrained(3)


ABSENT = {
    "near misses": lambda: near_misses(period=11, d_vocab=24, n_ctx=24),
    "labels by class": lambda: models.load("iwl-mapping"),
    "random labels": lambda: models.load("noise-mapping"),
    "untrained": untrained,
    "gpt2": lambda: subject_of("gpt2"),
}


@pytest.mark.parametrize("kind", ABSENT)
def test_a_model_that_does_not_learn_in_context_has_no_such_head(kind: str) -> None:
    report = report_of(ABSENT[kind](), **SMALL)
    assert set(report.heads.values()) <= {"none"}
    assert report.claim.badge == "No few-shot learning"
    assert "No few-shot learning" in report.claim.found


# -- what must not matter ----------------------------------------------------------------------------------------------


def test_batches_and_given_heads_change_no_other_number() -> None:
    plain = report_of(induction_circuit(d_vocab=24, n_ctx=24), **SMALL)
    other = report_of(induction_circuit(d_vocab=24, n_ctx=24), batch_size=3, given_heads="L1H0", **SMALL)
    of_list = ("given", "passes", "group", "overlap")
    for name, measure in plain.measures.items():
        if not any(word in name for word in of_list) and GROUP not in measure.axes:
            np.testing.assert_allclose(other.measures[name].values, measure.values, atol=1e-12, err_msg=name)
    drops = [report.measures[DROP].sel(**{GROUP: ANSWER}).estimate for report in (plain, other)]
    assert drops[0] == pytest.approx(drops[1], abs=1e-12)
    assert other.measures["overlap_with_given"].sel(**{GROUP: ANSWER}).estimate == 1
    assert other.measures["given_rank"].sel(**{PATCH: OWN_PROMPT}).estimate == 1


# -- an independent account --------------------------------------------------------------------------------------------


def balanced_mean(z: Sequence[np.ndarray], right: Sequence[int], query: int, classes: bool) -> np.ndarray:
    """By loops: labels alike, the query left out where its label has another; without classes all others alike."""
    if not classes:
        return np.mean([z[q] for q in range(len(z)) if q != query], axis=0)
    means = []
    for label in sorted(set(right)):
        of_label = [q for q in range(len(z)) if right[q] == label]
        means.append(np.mean([z[q] for q in of_label if q != query or len(of_label) == 1], axis=0))
    return np.mean(means, axis=0)


def seen_half(monkeypatch: pytest.MonkeyPatch) -> dict[str, Half]:
    """The half that chooses, once a probe has run."""
    kept: dict[str, Half] = {}

    def keep(passes: Passes, half: Half, read: patching.ReadHalf) -> Any:
        kept["half"] = half
        return patching.head_effects(passes, half, read)

    monkeypatch.setattr(measuring, "head_effects", keep)
    return kept


def slow_effects(module: Any, half: Half, task: int, layer: int, head: int) -> dict[str, list[float]]:
    """Of one task and head, by patch: from clean prompts, and from another shuffle; prompt by prompt."""
    shuffled = half.ways[SHUFFLED]
    at = np.flatnonzero(shuffled.task == task)
    right = [int(shuffled.right[row]) for row in at]
    found = {TASK_MEAN: [0.0, 0.0], OWN_PROMPT: [0.0, 0.0]}
    for place, rows in enumerate((half.ways[IN_CONTEXT], half.another)):
        z = [plain_z(module, rows.prompts[row], 4) for row in at]
        for query, row in enumerate(at):
            prompt, token = shuffled.prompts[row], shuffled.labels[task][right[query]]
            before = softmax(plain_logits(module, prompt))[token]
            mean = balanced_mean(z, right, query, half.classes[task])
            for patch, new in ((TASK_MEAN, mean), (OWN_PROMPT, z[query])):
                after = softmax(plain_logits(module, prompt, ((layer, head),), new))[token]
                found[patch][place] += (after - before) / len(at)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["recall", "label-mapping"])
def test_a_slow_account_with_hooks_gives_the_same_effects(
    kind: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = seen_half(monkeypatch)
    monkeypatch.setattr(FewShotHeads, "tasks", lambda self, subject, seed, n: tasks_of(task, n))
    arrays = report_of(subject_of(kind), n_tasks=4, k=2, n_queries=2, random_sets=1).arrays
    half, module = kept["half"], module_of(kind)
    assert half.classes == (task == "label-mapping",) * 2
    for number in range(2):
        for layer, head in ((0, 1), (0, 3), (1, 0), (1, 2)):
            for patch, (effect, another) in slow_effects(module, half, number, layer, head).items():
                measured, excess = (arrays[f"indirect_{what}_{patch}"] for what in ("effect", "excess"))
                assert measured[number, layer, head] == pytest.approx(effect, abs=1e-6)
                assert excess[number, layer, head] == pytest.approx(effect - another, abs=1e-6)


def test_arrays_have_tasks_in_their_order() -> None:
    subject, module = subject_of("gpt2"), module_of("gpt2")
    probe = FewShotHeads(n_tasks=6, k=2, n_queries=1, random_sets=1)
    report = analyses.run(subject, probe)
    assert isinstance(report, analyses.Report)
    for place, task in enumerate(probe.prompts(subject, probe.tasks(subject, 0, 6).tasks)):
        queries = zip(task.in_context, task.right, strict=True)
        p = [softmax(plain_logits(module, prompt))[task.labels[right]] for prompt, right in queries]
        assert report.arrays["right_probability_in context"][place] == pytest.approx(np.mean(p), rel=1e-9)
        first = [
            plain_logits(module, prompt)[list(task.labels)].argmax() == right
            for prompt, right in zip(task.in_context, task.right, strict=True)
        ]
        assert report.arrays["accuracy_in context"][place] == np.mean(first)


def test_what_given_heads_cost_is_what_hooks_say() -> None:
    """Means of the tasks that choose, in the prompts of those that judge."""
    subject, module, heads = subject_of("gpt2"), module_of("gpt2"), ((0, 1), (1, 2))
    probe = FewShotHeads(n_tasks=4, k=2, n_queries=2, random_sets=1, given_heads="L0H1,L1H2")
    report = analyses.run(subject, probe)
    assert isinstance(report, analyses.Report)
    shown = Shown.of(probe.tasks(subject, 0, 4).tasks, lambda some: probe.prompts(subject, some), 0)
    mean = np.mean([plain_z(module, prompt, 4) for prompt in shown.choosing.ways[SHUFFLED].prompts], axis=0)
    rows, expected = shown.judging.ways[IN_CONTEXT], np.zeros(2)
    for row, prompt in enumerate(rows.prompts):
        right = rows.labels[rows.task[row]][rows.right[row]]
        clean, without = (softmax(plain_logits(module, prompt, *how))[right] for how in ((), (heads, mean)))
        expected[rows.task[row]] += (clean - without) / 4
    np.testing.assert_allclose(report.arrays["probability_drop_given"], expected, atol=1e-6)


# -- settings and models -----------------------------------------------------------------------------------------------


def test_what_it_does_not_apply_to_says_why() -> None:
    import transformers

    probe = FewShotHeads()
    regressor = models.from_transformer(models.gd_transformer(4, 1.0, 3))
    assert "no language model" in probe.applies(regressor).reason
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    assert "bidirectional" in probe.applies(models.from_module(transformers.BertForMaskedLM(config))).reason
    headless = models.from_module(module_of("gpt2").transformer)
    assert probe.applies(headless) is not None
    assert probe.applies(subject_of("llama")) is None


def test_given_heads_that_the_model_lacks_are_refused() -> None:
    with pytest.raises(UsageError, match="no head L7H0"):
        report_of(subject_of("gpt2"), given_heads="L7H0", **SMALL)


def test_a_list_is_part_of_the_runs_identity(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("{}")
    assert set(FewShotHeads(given_heads=str(tmp_path)).fingerprint()) == {"given_heads_sha256"}
    assert FewShotHeads(given_heads="L0H0").fingerprint() == {}


def test_every_setting_has_a_meaning() -> None:
    meanings = {setting.name: setting.meaning for setting in class_settings(FewShotHeads)}
    assert set(meanings) == {field.name for field in fields(FewShotHeads)}
    assert all(meanings.values())


def test_the_callers_weights_stay_as_they_are() -> None:
    subject = induction_circuit(d_vocab=24, n_ctx=24)
    before = {name: weight.clone() for name, weight in subject.module.named_parameters()}
    report = report_of(subject, **SMALL)
    assert all(torch.equal(weight, before[name]) for name, weight in subject.module.named_parameters())
    assert report.measures[DROP].sel(**{GROUP: TOP_OWN}).has_number
