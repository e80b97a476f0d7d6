"""Activation matching: its loss by loops, held-out queries, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.activation_matching import (
    batch_of,
    fit,
    left_over,
    matched,
    matching_loss,
    tuned_matching,
)
from mesascope.probes.icl_vs_gd.asked import Asked, halves
from mesascope.probes.icl_vs_gd.fine_tuned import Stepped
from mesascope.probes.icl_vs_gd.seen import Seen, seen

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
STEPS = Stepped(0.03, 12)


def ends(model: Differentiable, tasks: list[Asked]) -> tuple[list[Seen], list[Seen]]:
    """In context, and without demonstrations."""
    own = [task.own for task in tasks]
    return seen(model, [task.given["true"].in_context for task in tasks], own), seen(
        model, [task.zero_shot for task in tasks], own
    )


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def by_loops(model: Differentiable, task: Asked, fitted: list[int], stepped: Stepped) -> dict[str, torch.Tensor]:
    """Parameters after Adam of torch, of a loss that is written out."""
    parameters = {name: x.requires_grad_() for name, x in model.start.items()}
    optimizer = torch.optim.Adam(list(parameters.values()), lr=stepped.rate)

    def attention(own: Any, prompt: tuple[int, ...]) -> Any:
        answers = model.run(own, torch.tensor([prompt]), watch=("attn_out",)).attn_out
        assert answers is not None
        return answers[:, 0, 0]

    for _ in range(stepped.steps):
        optimizer.zero_grad()
        away, changed = [0.0, 0.0], [0.0, 0.0]
        for query in fitted:
            icl = attention({}, task.given["true"].in_context[query]).detach()
            zero_shot = attention({}, task.zero_shot[query]).detach()
            new = attention(parameters, task.zero_shot[query])
            for layer in range(2):
                away[layer] = away[layer] + ((new - icl)[layer] ** 2).sum()
                changed[layer] = changed[layer] + ((zero_shot - icl)[layer] ** 2).sum()
        (away[0] / changed[0] / 2 + away[1] / changed[1] / 2).backward()  # type: ignore[union-attr]
        optimizer.step()
    return {name: x.detach() for name, x in parameters.items()}


def test_each_half_of_queries_is_answered_by_the_other(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(1, uneven=True, n_queries=5)  # halves 0 1 4 and 2 3
    icl, zero_shot = ends(model, tasks)
    found = matched(model, tasks, icl, zero_shot, STEPS)
    for own, task in zip(found, tasks, strict=True):
        first, second = halves([query.label for query in task.queries])
        for fitted, held in ((first, second), (second, first)):
            parameters = by_loops(model, task, fitted, STEPS)
            expected = seen(model, [task.zero_shot], [task.own], [parameters])[0]
            for query in held:
                close(own.attn_out[:, query], expected.attn_out[:, query])
                close(own.logits[query], expected.logits[query])
                close(own.scores[query], expected.scores[query])
            assert (own.attn_out[:, fitted] - expected.attn_out[:, fitted]).abs().max() > 1e-3


def test_what_is_left_by_loops(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    icl, zero_shot = ends(model, tasks)
    new = matched(model, tasks, icl, zero_shot, STEPS)
    for n in range(2):
        for layer in range(2):
            states = [some[n].attn_out[layer] for some in (new, icl, zero_shot)]
            away, changed = (sum(float(((a[q] - states[1][q]) ** 2).sum()) for q in range(3)) for a in states[::2])
            assert left_over(new, icl, zero_shot)[n, layer] == pytest.approx(away / changed, rel=1e-12)
    assert left_over(icl, icl, zero_shot).tolist() == [[0, 0], [0, 0]]
    assert left_over(zero_shot, icl, zero_shot).tolist() == [[1, 1], [1, 1]]


def test_the_fit_reaches_what_it_is_fitted_to(random_model: Model, made_up: Tasks) -> None:
    """Half of a task's queries, with enough steps; the loss falls from 1 to nearly nothing."""
    model, tasks = random_model(), made_up(2)
    icl, zero_shot = ends(model, tasks)
    batches = [batch_of(task, [0], *some) for task, *some in zip(tasks, icl, zero_shot, strict=True)]
    losses = []
    for steps in (0, 60):
        parameters = fit(model, batches, [0.03] * len(batches), steps)
        losses += [float(matching_loss(model, own, batch)) for own, batch in zip(parameters, batches, strict=True)]
    assert losses[:2] == pytest.approx([1, 1], abs=1e-12)
    assert max(losses[2:]) < 0.05


def test_where_demonstrations_change_nothing_nothing_is_left_to_say(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    _, zero_shot = ends(model, tasks)
    found = matched(model, tasks, zero_shot, zero_shot, STEPS)
    assert np.isnan(left_over(found, zero_shot, zero_shot)).all()
    for own, start in zip(found, zero_shot, strict=True):
        close(own.attn_out, start.attn_out)  # no layer has a weight: the parameters stay where they were
    same = [replace(task, given={"true": replace(task.given["true"], in_context=task.zero_shot)}) for task in tasks]
    with pytest.raises(TaskError, match="demonstrations change nothing in any layer"):
        tuned_matching(model, same, 2)


def test_one_query_has_nothing_to_be_judged_by(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(1, n_queries=1)
    with pytest.raises(TaskError, match="a task of one query; expected two"):
        matched(model, tasks, *ends(model, tasks), STEPS)


def test_the_rate_leaves_least_of_held_out_queries(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    found = tuned_matching(model, tasks, 6, rates=(1e-4, 0.03))
    losses = {
        rate: left_over(matched(model, tasks, *ends(model, tasks), Stepped(rate, 6)), *ends(model, tasks)).mean()
        for rate in (1e-4, 0.03)
    }
    assert {stepped.rate: cell.loss for stepped, cell in found.cells.items()} == pytest.approx(losses, rel=1e-9)
    assert found.chosen == Stepped(min(losses, key=losses.__getitem__), 6)
    assert "share left of held-out queries in 2 tasks" in str(found)
