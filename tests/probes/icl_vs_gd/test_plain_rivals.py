"""Rivals without gradients: each answers by its rule, and one that is planted is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.asked import Asked, Labelled
from mesascope.probes.icl_vs_gd.fine_tuned import Setting
from mesascope.probes.icl_vs_gd.plain_rivals import final_states, of_rivals, rivals
from mesascope.probes.icl_vs_gd.runs import Runs, runs_of
from mesascope.probes.icl_vs_gd.seen import Seen

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
NONE: list[Setting] = []
NAMES = ("label frequencies", "last demonstration", "copy", "nearest demonstration")


def state_after(model: Differentiable, prompt: tuple[int, ...]) -> np.ndarray:
    """By the model's own pass."""
    subject: Any = model.subject
    keep: Any = lambda x, layer: x[0, -1].double().numpy()  # noqa: E731
    return subject.run(torch.tensor([prompt]), {"resid_post": keep}).values["resid_post"][-1]


def test_each_rival_answers_by_its_rule(random_model: Model, made_up: Tasks) -> None:
    model = random_model()
    for task in made_up(4, uneven=True):
        found = rivals(model, task)
        assert tuple(found) == NAMES
        demos = task.given["true"].demos
        ends = [state_after(model, demo.prompt) for demo in demos]
        for n, query in enumerate(task.queries):
            own = state_after(model, query.prompt)
            cosines = [own @ end / np.sqrt((own @ own) * (end @ end)) for end in ends]
            assert found["nearest demonstration"][n].argmax() == demos[int(np.argmax(cosines))].label
            assert found["last demonstration"][n, demos[-1].label] == 1
            assert {label: float(found["label frequencies"][n, label]) for label in task.labels} == dict.fromkeys(
                task.labels, 0.5
            )
            np.testing.assert_allclose(found["copy"][n].sum(), 1)


def test_states_do_not_depend_on_what_runs_beside_them(random_model: Model, made_up: Tasks) -> None:
    model, [task] = random_model(), made_up(1, uneven=True)
    prompts = [*task.zero_shot, *(demo.prompt for demo in task.given["true"].demos)]
    assert len({len(prompt) for prompt in prompts}) > 1
    for prompt, state in zip(prompts, final_states(model, prompts), strict=True):
        np.testing.assert_allclose(state.numpy(), state_after(model, prompt), atol=1e-12)


def as_if(some: Runs, answers: list[Any]) -> Runs:
    """As if the model answered so in context."""
    seen = [Seen(p.log(), own.attn_out, own.scores) for p, own in zip(answers, some.zero_shot, strict=True)]
    return replace(some, in_context={**some.in_context, "true": seen})


@pytest.mark.parametrize("planted", NAMES)
def test_a_planted_rival_is_at_no_distance_and_as_right(random_model: Model, made_up: Tasks, planted: str) -> None:
    model, tasks = random_model(), made_up(4)
    some = runs_of(model, tasks, NONE, 0)
    own = [rivals(model, task)[planted] for task in tasks]
    found = of_rivals(model, tasks, as_if(some, own))
    np.testing.assert_allclose(found["rival_distance"][planted], 0, atol=1e-12)
    for other in set(NAMES) - {planted}:
        assert found["rival_distance"][other].mean() > 0.2
    for n, (task, p) in enumerate(zip(tasks, own, strict=True)):
        right = []
        for query, row in zip(task.queries, p, strict=True):
            best = [label for label in task.labels if row[label] == max(row[x] for x in task.labels)]
            right.append((query.label in best) / len(best))
        assert found["rival_accuracy"][planted][n] == pytest.approx(sum(right) / len(right))


def test_distances_are_from_answers_in_context(random_model: Model, made_up: Tasks) -> None:
    model, tasks = random_model(), made_up(2)
    some = runs_of(model, tasks, NONE, 0)
    found = of_rivals(model, tasks, some)["rival_distance"]
    for n, task in enumerate(tasks):
        p = some.in_context["true"][n].logits.softmax(-1)
        for name, q in rivals(model, task).items():
            expected = sum(float((a - b).abs().sum()) / 2 for a, b in zip(p, q, strict=True)) / len(p)
            assert found[name][n] == pytest.approx(expected, abs=1e-12)


def test_the_last_demonstration_is_the_last_of_the_prompt(random_model: Model, made_up: Tasks) -> None:
    [task] = made_up(1)
    given = task.given["true"]
    turned = replace(task, given={"true": Labelled(given.demos[::-1], given.in_context)})
    one, other = (rivals(random_model(), some)["last demonstration"] for some in (task, turned))
    assert one[0].argmax() == given.demos[-1].label
    assert other[0].argmax() == given.demos[0].label
