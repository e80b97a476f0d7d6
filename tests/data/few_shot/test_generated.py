"""Generated tasks follow their rules, on a vocabulary or on the ids of a trained model's own law."""

from __future__ import annotations

from typing import Any

import pytest
from mesascope.data import LabelMapping, TaskError
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.data.few_shot.tasks import FewShotTasks

VOCABULARY = range(3, 203)


def drawn(kind: Any, n: int = 30, k: int = 4, queries: int = 4, own: LabelMapping | None = None, **other: Any) -> Any:
    return generated_tasks(kind, other.get("vocabulary", VOCABULARY), n, k, queries, other.get("seed", 0), own)


def tokens_of(tasks: FewShotTasks) -> set[int]:
    return {token for task in tasks for example in (*task.demos, *task.queries)
            for token in (*example.input, *example.output)}  # fmt: skip


def test_label_mappings_follow_the_models_own_law() -> None:
    law = LabelMapping()
    tasks = drawn("label-mapping", own=law)
    for task in tasks:
        classes = {}
        for example in (*task.demos, *task.queries):
            ((given,), (label,)) = example.input, example.output
            classes.setdefault(label, set()).add(given // law.n_members)
            assert given < law.n_inputs <= label < law.bos
        assert all(len(of_label) == 1 for of_label in classes.values())  # a label is of one class
        assert len(classes) == len(set().union(*classes.values())) == law.n_shown
        assert [len(task.demos), len(task.queries)] == [8, 8]
        assert len({example.input for example in (*task.demos, *task.queries)}) == 16
        assert set(task.labels) == {demo.output for demo in task.demos} == {query.output for query in task.queries}
        assert not task.recall
    assert len({frozenset(task.labels) for task in tasks}) > 15
    assert len({"".join(str(task.labels.index(demo.output)) for demo in task.demos) for task in tasks}) > 15
    assert len({task.rule for task in tasks}) == 30


def test_of_another_vocabulary_classes_are_the_same_tokens_in_all_tasks() -> None:
    tasks = drawn("label-mapping")
    assert tokens_of(tasks) <= set(VOCABULARY)
    assert len(tokens_of(tasks) | tokens_of(drawn("label-mapping", seed=1))) > 80
    groups: list[set[int]] = []
    for task in tasks:
        for label in task.labels:
            own = {example.input[0] for example in (*task.demos, *task.queries) if example.output == label}
            met = [group for group in groups if group & own]
            assert len(met) <= 1
            groups = [group for group in groups if group not in met] + [own.union(*met)]
    assert len(groups) == 8
    assert sum(map(len, groups)) <= 64


def test_recall_asks_for_pairs_again() -> None:
    tasks = drawn("recall")
    for task in tasks:
        tokens = [token for demo in task.demos for token in (*demo.input, *demo.output)]
        assert len(set(tokens)) == len(tokens) == 16
        assert sorted(task.queries, key=str) == sorted(task.demos, key=str)
        assert task.labels == tuple(demo.output for demo in task.demos)
        assert task.recall
    assert tokens_of(tasks) <= set(VOCABULARY)
    assert len(drawn("recall", queries=1).tasks[0].queries) == 2
    assert not task.may_conflict


def test_the_kind_follows_the_record() -> None:
    assert drawn(None).recipe.family == "recall"
    assert drawn(None, own=LabelMapping()).recipe.family == "label-mapping"
    assert drawn("recall", own=LabelMapping()).recipe.family == "recall"


@pytest.mark.parametrize("kind", ["label-mapping", "recall"])
def test_the_seed_says_it_all_and_more_tasks_are_only_added(kind: str) -> None:
    assert drawn(kind, n=3).tasks == drawn(kind, n=9).tasks[:3]
    assert drawn(kind, n=3).tasks[0] != drawn(kind, n=3, seed=1).tasks[0]
    assert drawn(kind).recipe.sha256 == drawn(kind).recipe.sha256 != drawn(kind, seed=1).recipe.sha256


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("label-mapping", {"vocabulary": range(79)}, "79 tokens to draw from; the tasks need 80 different ones"),
        ("label-mapping", {"k": 8}, "k = 8 of 8 inputs of a class; expected at most 7"),
        ("recall", {"vocabulary": range(15)}, "15 tokens to draw from; the tasks need 16 different ones; give a file"),
    ],
)
def test_what_is_refused(kind: str, more: dict[str, Any], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        drawn(kind, **more)
