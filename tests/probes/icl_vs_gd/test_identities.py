"""Identities of what is compared, on own and pretrained models in both precisions; and the same numbers from full
copies of the model that learn one demonstration at a time.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models.differentiable import Differentiable
from mesascope.probes.few_shot.distributions import divergence, overlap, overlap_cosine, total_variation
from mesascope.probes.icl_vs_gd.answers import said
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import STEPPING
from mesascope.probes.icl_vs_gd.seen import Seen, seen
from mesascope.probes.icl_vs_gd.similarity import (
    label_swap_contrast,
    output_similarity,
    score_shift_similarity,
    score_similarity,
)
from mesascope.probes.icl_vs_gd.untrained import of_null
from torch import Tensor

from .copies import attended, slowly
from .subjects import FLOAT32, IN_BOTH, NAMES, exact, model_of

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
RULES = ("gd", "lcgd", "sgd")
TOP = 6


def reading(name: str, random_model: Model) -> Differentiable:
    """One that has the tokens of made-up tasks."""
    if name.startswith("own"):
        return random_model(dtype=torch.float32 if name.endswith(FLOAT32) else torch.float64)
    return model_of(name)


def after(model: Differentiable, task: Asked, labels: str, steps: int) -> Seen:
    learned = STEPPING["gd"](model, [task.given[labels].demos], 0.3, steps)  # type: ignore[index]
    return seen(model, [task.zero_shot], [task.own], [one.parameters for one in learned])[0]


def is_one(found: Tensor, name: str) -> None:
    np.testing.assert_allclose(found.numpy(), 1, rtol=0, atol=exact(name))


@pytest.mark.parametrize("name", IN_BOTH)
def test_a_thing_is_like_itself(random_model: Model, made_up: Tasks, name: str) -> None:
    model, [task] = reading(name, random_model), made_up(1, uneven=True)
    [zero_shot] = seen(model, [task.zero_shot], [task.own])
    tuned, swapped = (after(model, task, labels, 2) for labels in ("true", "swapped"))
    states = tuned.attn_out
    is_one(output_similarity(states, states, zero_shot.attn_out), name)
    is_one(output_similarity(states, states, zero_shot.attn_out, normed=False), name)
    is_one(label_swap_contrast(states, swapped.attn_out, states, swapped.attn_out), name)
    [long] = [n for n, own in enumerate(task.own) if own == 3]
    scores = tuned.scores[long]
    is_one(score_similarity(scores, scores), name)
    is_one(score_shift_similarity(scores[1:], scores[1:], zero_shot.scores[long][1:]), name)
    p = said(tuned)
    for alike in (overlap(p, p, TOP), overlap_cosine(p, p, TOP), overlap_cosine(p, p, TOP, inside=True)):
        is_one(alike, name)
    for apart in (total_variation(p, p), divergence(p, p)):
        assert apart.abs().max() < exact(name)
    assert total_variation(p, said(zero_shot)).min() > 1e-3


@pytest.mark.parametrize("name", IN_BOTH)
def test_without_steps_fine_tuned_is_zero_shot_and_has_no_direction(
    random_model: Model, made_up: Tasks, name: str
) -> None:
    model, [task] = reading(name, random_model), made_up(1)
    [zero_shot] = seen(model, [task.zero_shot], [task.own])
    [icl] = seen(model, [task.given["true"].in_context], [task.own])
    tuned, swapped = (after(model, task, labels, 0) for labels in ("true", "swapped"))
    assert total_variation(said(tuned), said(zero_shot)).max() < exact(name)
    for normed in (True, False):
        assert output_similarity(icl.attn_out, tuned.attn_out, zero_shot.attn_out, normed).isnan().all()
    assert label_swap_contrast(icl.attn_out, zero_shot.attn_out, tuned.attn_out, swapped.attn_out).isnan().all()
    assert output_similarity(icl.attn_out, icl.attn_out, zero_shot.attn_out).isfinite().all()


# --- full copies of the model, one demonstration and one prompt at a time


def unit(a: np.ndarray) -> np.ndarray:
    return a / math.sqrt(a @ a)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def by_copies(model: Differentiable, task: Asked, rule: str, lr: float) -> dict[str, np.ndarray]:
    """SimAOU and the label-swap contrast, by layer."""
    subject = model.subject
    own = copy.deepcopy(subject.module)  # type: ignore[attr-defined]
    learned = [slowly(subject, task.given[labels].demos, lr, 2, rule) for labels in ("true", "swapped")]
    found: dict[str, list[list[float]]] = {"output_similarity": [], "contrast": []}
    for n, prompt in enumerate(task.zero_shot):
        ft = [attended(subject, module, prompt) for module in learned]
        icl = [attended(subject, own, task.given[labels].in_context[n]) for labels in ("true", "swapped")]
        layers = list(zip(*icl, *ft, attended(subject, own, prompt), strict=True))
        units = [[unit(h) for h in layer] for layer in layers]
        found["output_similarity"].append([cosine(i - z, f - z) for i, _, f, _, z in units])
        found["contrast"].append([cosine(i - j, f - g) for i, j, f, g, _ in units])
    return {name: np.mean(by_query, axis=0) for name, by_query in found.items()}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [*NAMES, "llama"])
def test_similarities_by_full_copies(random_model: Model, made_up: Tasks, name: str, rule: str) -> None:
    model, tasks = reading(name, random_model), made_up(2, uneven=True, n_queries=2)
    lr, least = 0.3, 1e-6
    if (
        name == "stories260k"
    ):  # its norms and softmax are in float32; beside that, labels of one of the tasks change little
        lr, least, tasks = 0.05, 1e-5, tasks[:1]
    found = of_null(model, tasks, tasks, [rule], (lr,), (2,)).numbers[rule]  # type: ignore[list-item,index]
    for n, task in enumerate(tasks):
        for measure, expected in by_copies(model, task, rule, lr).items():
            np.testing.assert_allclose(found[measure][n], expected, rtol=0, atol=least, err_msg=measure)
            assert np.abs(expected).max() > 100 * least
