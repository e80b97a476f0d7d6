"""Passes are counted, whether tasks run together or one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.passes import Counted, Passes, counted
from mesascope.probes.icl_vs_gd.rules import gd, lcgd, sgd
from mesascope.probes.icl_vs_gd.seen import seen

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]


def one_by_one(model: Counted) -> Counted:
    model.__dict__["together"] = False
    return model


@pytest.mark.parametrize("rule", [gd, lcgd, sgd])
def test_a_run_passes_its_demonstrations_once_a_step_and_twice_for_losses(
    random_model: Model, made_up: Tasks, rule: Callable[..., object]
) -> None:
    demos = [task.given["true"].demos for task in made_up(5)]
    found = []
    for most in (100, 2):
        for prepare in (lambda model: model, one_by_one):
            model = prepare(counted(random_model(), most, Passes()))
            rule(model, demos, 0.1, 3)
            found.append(model.passes)
    n = 5 * 4  # tasks, demonstrations
    assert found == [Passes(n * (3 + 2), n * 3, 2 * n * (3 + 2), 2 * n * 3)] * 4


def test_queries_count_with_the_length_to_which_they_are_padded(random_model: Model, made_up: Tasks) -> None:
    model = counted(random_model(), 100, Passes())
    tasks = made_up(3, uneven=True)
    seen(model, [task.zero_shot for task in tasks], [task.own for task in tasks], [model.start] * 3)
    longest = max(len(prompt) for task in tasks for prompt in task.zero_shot)
    assert model.passes == Passes(9, 0, 9 * longest, 0)


def test_what_is_looked_at_beside_counts_nothing_and_copies_count_together(random_model: Model) -> None:
    model = counted(random_model(), 100, Passes())
    assert model.together
    assert model.no_cut is None
    assert model.passes == Passes()
    other = replace(model, parameters="all")
    other.run({}, other._two_tokens)
    assert model.passes == Passes(1, 0, 2, 0)


def test_no_more_run_together_than_are_allowed(random_model: Model) -> None:
    plain = random_model()
    assert counted(plain, 7, Passes()).at_once(10) == 7
    assert counted(plain, 10**9, Passes()).at_once(10) == plain.at_once(10)


def test_a_failed_pass_leaves_the_count_in_order(random_model: Model, made_up: Tasks) -> None:
    model = counted(random_model(), 100, Passes())

    def fails(*own: object) -> object:
        raise ValueError("a mistake of the caller")

    with pytest.raises(ValueError, match="mistake"):
        model.of_tasks(fails, 3, {name: x[None] for name, x in model.start.items()})
    with pytest.raises(ValueError, match="mistake"):
        model.gradient(fails, model.start)  # type: ignore[arg-type]
    model.run({}, model._two_tokens)
    assert model.passes == Passes(1, 0, 2, 0)


def test_passes_are_told_in_all_and_by_task() -> None:
    said = Passes(12000, 3000, 0, 0).said(4)
    assert said == (
        "12,000 prompts pass forward, and gradients come back from 3,000 of them (3,000 and 750 for each task that is"
        " measured)"
    )
