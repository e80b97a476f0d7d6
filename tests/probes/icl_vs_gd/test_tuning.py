"""Tuning: the best cell by loops, cells that are out, edges, and words."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data import TaskError
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import STEPPING, Stepped
from mesascope.probes.icl_vs_gd.rules import adam
from mesascope.probes.icl_vs_gd.tuning import Cell, Tuned, adam_steps, tuned, tuned_adam

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]


def loss_by_loops(model: Differentiable, tasks: list[Asked], learned: Any) -> float:
    """Of queries, one prompt at a time."""
    by_task = []
    for task, one in zip(tasks, learned, strict=True):
        said = [model.run(one.parameters, torch.tensor([query.prompt])).logits[0, 0] for query in task.queries]
        by_task.append([float(x.logsumexp(0) - x[query.label]) for x, query in zip(said, task.queries, strict=True)])
    return sum(sum(losses) / len(losses) for losses in by_task) / len(by_task)


def test_adam_takes_no_more_steps_than_rules_may() -> None:
    assert [adam_steps(most) for most in (64, 32, 31, 8, 4, 1)] == [(8, 32), (8, 32), (8,), (8,), (4,), (1,)]


@pytest.mark.parametrize("rule", ["gd", "lcgd"])
def test_cells_are_losses_of_queries(random_model: Model, made_up: Tasks, rule: Any) -> None:
    model, tasks = random_model(), made_up(3, uneven=True)
    demos = [task.given["true"].demos for task in tasks]
    found = tuned(model, tasks, rule, rates=(0.1, 0.5), steps=(6, 2))
    by_adam = tuned_adam(model, tasks, rule, rates=(0.01, 0.05), steps=(3,))
    expected = {Stepped(r, n): STEPPING[rule](model, demos, r, n) for r in (0.1, 0.5) for n in (2, 6)}
    expected_adam = {Stepped(r, 3): adam(model, demos, r, 3, cut=rule == "lcgd") for r in (0.01, 0.05)}
    for own, learned in ((found, expected), (by_adam, expected_adam)):
        losses = {stepped: loss_by_loops(model, tasks, one) for stepped, one in learned.items()}
        assert {stepped: cell.loss for stepped, cell in own.cells.items()} == pytest.approx(losses, rel=1e-9)
        assert own.chosen == min(losses, key=losses.__getitem__)
    assert str(found).startswith(
        f"{found.called}: rate {found.chosen.rate:g}, {found.chosen.steps} steps (loss of queries in 3"
    )


def test_labels_of_queries_decide_not_those_of_demonstrations(random_model: Model, made_up: Tasks) -> None:
    """With the wrong labels in queries, the smallest step is best."""
    from dataclasses import replace

    model, tasks = random_model(), made_up(3)
    wrong = [
        replace(task, queries=tuple(replace(demo, label=sum({d.label for d in task.given["true"].demos}) - demo.label)
                                    for demo in task.given["true"].demos))
        for task in tasks
    ]  # fmt: skip
    right = [replace(task, queries=task.given["true"].demos) for task in tasks]
    chosen = [tuned(model, some, "gd", rates=(0.3,), steps=(1, 4, 16, 64)).chosen.steps for some in (wrong, right)]
    assert chosen[0] < chosen[1] == 64


def test_cells_that_go_too_far_are_out(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(norm="none"), made_up(2)
    found = tuned(model, tasks, "gd", rates=(0.01, 1e3, 1e200), steps=(1, 4))
    out = {stepped: cell.out for stepped, cell in found.cells.items()}
    assert out[Stepped(0.01, 1)] is out[Stepped(0.01, 4)] is None
    assert str(out[Stepped(1e3, 4)]).startswith("the loss rose from ")
    assert str(out[Stepped(1e200, 1)]).startswith("numbers are no longer finite (2 of 2 tasks)")
    assert math.isnan(found.cells[Stepped(1e200, 1)].loss)
    assert found.chosen.rate == 0.01
    assert "settings went too far" in str(found)
    with pytest.raises(TaskError, match="gradient descent: no rate from 1e\\+200 to 1e\\+200 can be chosen"):
        tuned(model, tasks, "gd", rates=(1e200,), steps=(1,))


@pytest.mark.parametrize(
    ("chosen", "edges"),
    [
        (Stepped(1.0, 4), ()),
        (Stepped(3.0, 4), ("3 is the largest of the rates tried",)),
        (
            Stepped(0.3, 1),
            ("0.3 is the smallest of the rates tried", "1 is the smallest of the numbers of steps tried"),
        ),
    ],
)
def test_the_edge_of_the_grid_is_said(chosen: Stepped, edges: tuple[str, ...]) -> None:
    cells = {Stepped(rate, steps): Cell(1.0, None) for rate in (0.3, 1.0, 3.0) for steps in (1, 4, 16)}
    found = Tuned("gradient descent", chosen, cells, 8)
    assert found.edges == edges
    assert all(edge in str(found) for edge in edges)
    assert ("it may not have converged" in str(found)) == bool(edges)
    assert "too far" not in str(found)
