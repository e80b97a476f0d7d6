"""What queries show: the same as in one pass each, in any company."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import differentiable as passes
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.rules import gd
from mesascope.probes.icl_vs_gd.seen import seen
from torch import Tensor

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("lent", [False, True])
@pytest.mark.parametrize("in_context", [False, True])
def test_each_query_is_as_in_a_pass_of_its_own(
    random_model: Model, made_up: Tasks, in_context: bool, lent: bool
) -> None:
    model, tasks = random_model(), made_up(3, uneven=True) + made_up(2, seed=5)
    prompts = [task.given["true"].in_context if in_context else task.zero_shot for task in tasks]
    learned = [one.parameters for one in gd(model, [task.given["true"].demos for task in tasks], 0.3, 2)]
    found = seen(model, prompts, [task.own for task in tasks], learned if lent else None)
    for task, some, own, parameters in zip(tasks, prompts, found, learned, strict=True):
        for query, prompt in enumerate(some):
            answers: Any = model.run(parameters if lent else {}, torch.tensor([prompt]), watch=("attn_out", "scores"))
            close(own.logits[query], answers.logits[0, 0])
            close(own.attn_out[:, query], answers.attn_out[:, 0, 0])
            close(own.scores[query], answers.scores[:, 0, :, 0, -task.own[query] :].float())
            assert own.scores[query].shape == (2, 2, task.own[query])
    assert {task.own for task in tasks} == {(1, 3, 1), (1, 1, 1)}


def test_no_gradient_and_no_memory_of_the_pass_stays(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    model.subject.module.requires_grad_(True)  # type: ignore[attr-defined]
    own = seen(model, [task.given["true"].in_context for task in tasks], [task.own for task in tasks])[0]
    assert not any(x.requires_grad for x in (own.logits, own.attn_out, *own.scores))
    assert own.scores[0].untyped_storage().nbytes() == own.scores[0].nbytes


def test_how_many_run_together_changes_nothing(
    random_model: Model, made_up: Tasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tasks = random_model(), made_up(4)
    prompts, own = [task.zero_shot for task in tasks], [task.own for task in tasks]
    expected = seen(model, prompts, own)
    monkeypatch.setattr(passes, "HELD", 5000)
    assert 1 <= model.at_once(2) < 5
    for a, b in zip(seen(model, prompts, own), expected, strict=True):
        close(a.attn_out, b.attn_out)


def test_a_query_without_tokens_of_its_own_has_no_scores(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(1)
    assert seen(model, [tasks[0].zero_shot], [(0, 1, 1)])[0].scores[0].shape == (2, 2, 0)
