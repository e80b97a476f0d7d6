"""Tasks in every version of their labels, and those on which rates are chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from mesascope.data.few_shot.drawn import draw_tasks
from mesascope.data.few_shot.examples import Example, Examples
from mesascope.data.few_shot.generated import generated_tasks
from mesascope.data.few_shot.tasks import FewShotTask, FewShotTasks
from mesascope.probes.few_shot.prompts import Prompts, prompts_of
from mesascope.probes.icl_vs_gd.given import Given

from .subjects import own_model

D_VOCAB, SEED = 30, 3


def examples(*rules: tuple[str, int, int]) -> Examples:
    """Ten inputs with two labels each, by the name of a rule, its first input and its first label."""
    rows = [Example((first + n,), (label + n % 2,), None, name) for name, first, label in rules for n in range(10)]
    return Examples(tuple(rows), "made up")


TWO, ONE = examples(("a", 0, 20), ("b", 10, 22)), examples(("a", 0, 20))


def read(tasks: Sequence[FewShotTask]) -> list[Prompts]:
    return prompts_of(own_model(d_vocab=D_VOCAB, n_ctx=12), tasks)


def drawn(some: Examples, n: int = 6) -> FewShotTasks:
    return draw_tasks(some, n, 2, 2, SEED)


def test_labels_change_and_inputs_stay() -> None:
    given = Given.of(drawn(TWO), 4, read, SEED)
    assert len(given.tasks) == len(given.asked) == 4
    for task, asked in zip(given.tasks, given.asked, strict=True):
        prompts = [demo.input for demo in task.demos]
        for labels, own in asked.given.items():
            assert [demo.prompt for demo in own.demos] == prompts, labels
            assert Counter(demo.label for demo in own.demos) == Counter(demo.output[0] for demo in task.demos)
        true, swapped, shuffled = ([demo.label for demo in asked.given[name].demos] for name in asked.given)
        assert true == [demo.output[0] for demo in task.demos]
        assert all(one != other for one, other in zip(true, swapped, strict=True))
        assert sum(one != other for one, other in zip(true, shuffled, strict=True)) == 2


def test_other_is_another_rule_with_its_own_labels() -> None:
    for task, asked in zip((given := Given.of(drawn(TWO), 4, read, SEED)).tasks, given.asked, strict=True):
        firsts = {demo.prompt[0] // 10 for demo in asked.other["true"]}
        assert firsts == {1 - task.demos[0].input[0] // 10}
        labels = [[demo.label for demo in asked.other[name]] for name in ("true", "swapped")]
        assert all(one != other for one, other in zip(*labels, strict=True))
        assert set(asked.other) == {"true", "swapped"}


def test_tasks_of_one_rule_have_no_other() -> None:
    assert all(not asked.other for asked in Given.of(drawn(ONE), 4, read, SEED).asked)


@pytest.mark.parametrize("source", ["file", "generated"])
def test_tuning_tasks_come_after_those_that_are_measured(source: str) -> None:
    def of(n: int) -> FewShotTasks:
        return drawn(TWO, n) if source == "file" else generated_tasks("recall", range(D_VOCAB), n, 2, 2, SEED, None)

    given, alone = Given.of(of(7), 5, read, SEED), Given.of(of(6), 5, read, SEED)
    assert given.asked == alone.asked
    assert given.recipes["evaluation"] == alone.recipes["evaluation"]
    assert len(given.tuning) == 2
    assert [asked.zero_shot for asked in given.tuning] == [prompts.zero_shot for prompts in read(of(7).tasks[5:])]
    assert given.recipes["tuning"].sha256 != given.recipes["evaluation"].sha256
    assert (given.recipes["tuning"].n, given.recipes["tuning"].settings["first"]) == (2, 5)
