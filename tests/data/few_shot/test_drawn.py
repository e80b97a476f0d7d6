"""Tasks drawn from examples: balanced, in an order of their own, without a query among demonstrations."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from mesascope.data import TaskError
from mesascope.data.few_shot.drawn import MOST_CLASSES, draw_tasks
from mesascope.data.few_shot.examples import Example, Examples


def examples_of(**numbers: int) -> Examples:
    """So many examples of each class."""
    return Examples(
        tuple(Example(f"{label}{i}", label) for label, number in numbers.items() for i in range(number)), "mine.jsonl"
    )


def free_text(n: int = 80) -> Examples:
    """Every output once, but for one that as many inputs have as all others together."""
    same = (Example(f"another {i}", "out 0") for i in range(n))
    return Examples((*(Example(f"in {i}", f"out {i}") for i in range(n)), *same), "mine.jsonl")


def test_classes_have_as_many_demonstrations_and_queries() -> None:
    drawn = draw_tasks(examples_of(x=9, y=12, z=7), 20, k=3, queries=5, seed=0)
    for task in drawn:
        assert task.labels == ("x", "y", "z")
        assert Counter(demo.output for demo in task.demos) == {"x": 3, "y": 3, "z": 3}
        assert Counter(query.output for query in task.queries) == {"x": 4, "y": 4, "z": 4}  # z has no more
        assert len({example.input for example in (*task.demos, *task.queries)}) == 21
        assert not task.free_text
        assert task.rule == "mine.jsonl"
    assert len({task.name for task in drawn}) == 20


def test_order_and_choice_are_by_chance() -> None:
    drawn = draw_tasks(examples_of(x=9, y=9), 40, k=2, queries=2, seed=0)
    orders = Counter("".join(str(demo.output) for demo in task.demos) for task in drawn)
    assert len(orders) == 6  # all orders of xxyy
    assert {demo.input for task in drawn for demo in task.demos} == {f"{label}{i}" for label in "xy" for i in range(9)}


def test_the_seed_says_it_all_and_more_tasks_are_only_added() -> None:
    few, many, other = (
        draw_tasks(examples_of(x=9, y=9), n, k=2, queries=2, seed=seed) for n, seed in ((3, 0), (9, 0), (3, 1))
    )
    assert few.tasks == many.tasks[:3]
    assert all(one.demos != another.demos for one, another in pairwise(many))
    assert few.tasks[0].demos != other.tasks[0].demos
    assert few.recipe.n == 3
    assert few.recipe.settings["examples_sha256"] == examples_of(x=9, y=9).sha256


def test_tasks_of_a_file_take_turns() -> None:
    named = [Example(f"{task} {i} {out}", out, None, task) for task in "tuvw" for i in range(4) for out in ("x", "y")]
    drawn = draw_tasks(Examples(tuple(named), "mine.jsonl"), 10, k=2, queries=2, seed=0)
    rules = [task.rule for task in drawn]
    assert set(rules[:4]) == set("tuvw")
    assert rules == (rules[:4] * 3)[:10]
    assert all(str(demo.input).startswith(task.rule) for task in drawn for demo in (*task.demos, *task.queries))
    orders = {tuple(task.rule for task in draw_tasks(Examples(tuple(named), ""), 4, 2, 2, seed)) for seed in range(9)}
    assert len(orders) > 3


def test_more_labels_than_classes_are_free_text() -> None:
    for seed in range(9):
        (task,) = draw_tasks(free_text(), 1, k=8, queries=6, seed=seed)
        assert task.free_text
        assert len({demo.output for demo in task.demos}) == len(task.demos) == 8
        assert len(task.queries) == 6
        assert {example.output for example in (*task.demos, *task.queries)} == set(task.labels)
        assert task.swapped() != task
    all_asked = draw_tasks(free_text(), 1, k=8, queries=200, seed=0).tasks[0].queries
    assert len(all_asked) == len(set(all_asked)) == 160 - 8
    assert MOST_CLASSES == 64
    exactly = examples_of(**{f"c{i}": 2 for i in range(64)})
    assert not draw_tasks(exactly, 1, k=1, queries=1, seed=0).tasks[0].free_text


@pytest.mark.parametrize(
    ("examples", "k", "said"),
    [
        (examples_of(x=9), 2, "mine.jsonl: every output is 'x'; expected at least two classes"),
        (
            examples_of(x=9, y=4),
            4,
            "class 'y' has 4 examples; expected k + 1 = 5 in each of 2 classes, 4 demonstrations and a query; give"
            " k = 3, or leave the class out",
        ),
        (examples_of(x=9, y=1), 4, "class 'y' has 1 example; expected k + 1 = 5 in each of 2 classes, 4 demonstrations"
         " and a query; leave the class out, or give more"),
        (examples_of(**{f"c{i}": 1 for i in range(64)}), 1,
         "class 'c0' has 1 example; expected k + 1 = 2 in each of 64 classes"),
        (free_text(), 80, "k = 80 demonstrations; expected fewer than its 80 different outputs"),
        (
            Examples((*examples_of(x=3, y=3).examples, Example("x1", "y")), "mine.jsonl"),
            2,
            "mine.jsonl: examples 2 and 7 have the same input, 'x1'; expected each once, so that no query is a",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(examples: Examples, k: int, said: str) -> None:
    for seed in range(3):
        with pytest.raises(TaskError) as refused:
            draw_tasks(examples, 1, k, 2, seed)
        assert said in str(refused.value)


def test_a_bad_task_is_refused_although_it_is_not_drawn() -> None:
    good = [Example(f"{i}", out, None, "good") for i, out in enumerate("xyxyxy")]
    bad = [Example("1", "x", None, "bad"), Example("2", "x", None, "bad")]
    for seed in range(4):
        with pytest.raises(TaskError, match="bad: every output is 'x'"):
            draw_tasks(Examples((*good, *bad), "mine.jsonl"), 1, 2, 1, seed)


def test_two_tasks_may_share_inputs() -> None:
    named = [Example(f"{i}", out, None, task) for task in "tu" for i, out in enumerate("xyxy")]
    assert len(draw_tasks(Examples(tuple(named), "mine.jsonl"), 2, 1, 1, 0)) == 2
