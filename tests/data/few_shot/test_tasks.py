"""Tasks with other labels: inputs, places and counts of labels stay, and labels change as they should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from mesascope.data import TaskError
from mesascope.data.few_shot.examples import Example
from mesascope.data.few_shot.tasks import FewShotTask, FewShotTasks, others

SEEDS = range(40)


def task_of(outputs: str, labels: str = "abc", free_text: bool = False, rule: str = "r") -> FewShotTask:
    """Demonstrations with inputs 0, 1, … and one query."""
    demos = tuple(Example(f"{rule}{place}", label) for place, label in enumerate(outputs))
    return FewShotTask(f"a task of {rule}", demos, (Example(f"{rule} asked", "a"),), tuple(labels), rule, free_text)


def outputs_of(task: FewShotTask) -> str:
    return "".join(str(demo.output) for demo in task.demos)


def moved(before: str, after: str) -> Counter[str]:
    """How many labels of each class changed."""
    return Counter(x for x, y in zip(before, after, strict=True) if x != y)


@pytest.mark.parametrize(
    ("outputs", "labels", "swapped"),
    [
        ("abba", "ab", "baab"),
        ("abcbca", "abc", "bcacab"),
        ("abcbca", "cba", "cababc"),
        ("wxyz", "wxyz", "xyzw"),
        ("zxwy", "zxwy", "xwyz"),
    ],
)
def test_swapped_labels_are_moved_on_by_one_class(outputs: str, labels: str, swapped: str) -> None:
    task = task_of(outputs, labels)
    assert outputs_of(task.swapped()) == swapped
    assert replace(task.swapped(), demos=()) == replace(task, demos=())
    assert [demo.input for demo in task.swapped().demos] == [demo.input for demo in task.demos]


@pytest.mark.parametrize("outputs", ["aabbbc", "aaabbc", "abbbaac", "cabab"])
def test_unequal_classes_change_every_label_and_keep_their_numbers(outputs: str) -> None:
    swapped = outputs_of(task_of(outputs).swapped())
    assert Counter(swapped) == Counter(outputs)
    assert all(x != y for x, y in zip(outputs, swapped, strict=True))


def test_where_one_label_has_more_than_half_no_permutation_changes_all() -> None:
    with pytest.raises(TaskError, match="a task of r: 3 of 5 demonstrations have one label, so no permutation changes"):
        task_of("aaabc").swapped()


@pytest.mark.parametrize("outputs", ["aabb", "abababab", "aabbcc", "abcabcabcabc"])
def test_shuffled_labels_are_half_of_each_class(outputs: str) -> None:
    task = task_of(outputs)
    half = len(outputs) // len(set(outputs)) // 2
    found = {outputs_of(task.shuffled(seed)) for seed in SEEDS}
    assert len(found) > 2
    for shuffled in found:
        assert Counter(shuffled) == Counter(outputs)
        assert moved(outputs, shuffled) == dict.fromkeys(set(outputs), half)
    last = [outputs_of(task.shuffled(seed))[-1] == outputs[-1] for seed in SEEDS]
    assert 8 < sum(last) < 32  # no place stays right


def test_of_an_odd_number_one_more_or_less_moves_in_all_classes() -> None:
    found = [moved("aaabbb", outputs_of(task_of("aaabbb").shuffled(seed))) for seed in SEEDS]
    assert {tuple(sorted(one.items())) for one in found} == {(("a", 1), ("b", 1)), (("a", 2), ("b", 2))}


@pytest.mark.parametrize(("outputs", "free_text"), [("abcdefgh", False), ("abcdefgh", True)])
def test_single_labels_are_shuffled_among_half_of_all(outputs: str, free_text: bool) -> None:
    task = task_of(outputs, outputs, free_text)
    for seed in SEEDS:
        shuffled = outputs_of(task.shuffled(seed))
        assert sum(moved(outputs, shuffled).values()) == 4
        assert sorted(shuffled) == sorted(outputs)


def test_two_single_labels_are_swapped_or_stay() -> None:
    assert {outputs_of(task_of("ab", "ab").shuffled(seed)) for seed in SEEDS} == {"ab", "ba"}


@pytest.mark.parametrize("outputs", ["aabb", "aaaabbbb", "aabbcc"])
def test_conflicting_demonstrations_disagree_once_in_each_class(outputs: str) -> None:
    task = task_of(outputs)
    assert task.may_conflict
    found = {outputs_of(task.conflicting(seed)) for seed in SEEDS}
    assert len(found) > 2
    for conflicting in found:
        assert Counter(conflicting) == Counter(outputs)
        assert moved(outputs, conflicting) == dict.fromkeys(set(outputs), 1)


@pytest.mark.parametrize("task", [task_of("abc"), task_of("aabb", free_text=True)])
def test_single_demonstrations_cannot_conflict(task: FewShotTask) -> None:
    assert not task.may_conflict
    with pytest.raises(TaskError, match="each label has one demonstration, so none can disagree; give k of at least 2"):
        task.conflicting(0)


def test_a_permutation_is_of_demonstrations_with_their_labels() -> None:
    task = task_of("aaabbb")
    found = [task.permuted(seed) for seed in range(4)]
    assert len({one.demos for one in found}) == 4
    for one in found:
        assert sorted(one.demos, key=lambda demo: demo.input) == list(task.demos)
        assert replace(one, demos=task.demos) == task
    assert task.permuted(0) == found[0]


def test_fewer_demonstrations_are_the_first_of_each_class() -> None:
    task = task_of("abcabcabc")
    assert task.k == 3
    assert task.fewer(3) == task
    assert task.fewer(2).demos == task.demos[:6]
    assert task_of("aaabbb").fewer(1).demos == (task_of("aaabbb").demos[0], task_of("aaabbb").demos[3])
    free_text, recalled = task_of("abcd", free_text=True), replace(task_of("abcd"), recall=True)
    assert (free_text.k, recalled.k) == (4, 2)
    assert free_text.fewer(3).demos == task_of("abcd").demos[:3]
    assert recalled.fewer(1).demos == task_of("abcd").demos[:2]


def test_a_query_is_no_demonstration_unless_it_is_recalled() -> None:
    demo = Example("x", "a")
    with pytest.raises(TaskError, match="t: the input 'x' is a demonstration and a query; expected different inputs"):
        FewShotTask("t", (demo,), (Example("x", "b"),), ("a", "b"), "r")
    assert FewShotTask("t", (demo,), (demo,), ("a",), "r", recall=True).queries == (demo,)


def test_the_control_is_the_next_task_of_another_rule_that_shows_no_query() -> None:
    one, same, another, third = task_of("ab"), task_of("ba"), task_of("ab", rule="s"), task_of("ab", rule="t")
    assert others([one, same]) == [None, None]
    assert others([one, same, another, third]) == [another, another, third, one]
    assert one.with_demos(another).demos == another.demos
    assert one.with_demos(another).queries == one.queries
    telling = replace(another, demos=(Example("r asked", "b"),))
    assert others([one, telling, third]) == [third, third, one]


def test_the_digest_is_of_demonstrations_queries_and_labels() -> None:
    task = task_of("aabb")
    said = [task, task.swapped(), task.permuted(1), replace(task, queries=()), replace(task, labels=("b", "a"))]
    made = [FewShotTasks.of([one], "a family", {"k": 2}, 3) for one in said]
    assert len({one.recipe.sha256 for one in made}) == len(said)
    assert made[0].recipe.as_dict() | {"sha256": ""} == {
        "family": "a family", "settings": {"k": 2}, "seed": 3, "n": 1, "sha256": "",
    }  # fmt: skip
    assert list(made[0]) == [task]
    assert len(made[0]) == 1
