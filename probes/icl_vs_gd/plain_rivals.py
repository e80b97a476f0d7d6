"""Rivals without gradients: how far their answers are from those in context, and how right they are; one number a task.

The formulas are in `few_shot.rivals`. The nearest demonstration is found by the states after the last layer, of prompts
without demonstrations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.differentiable import Differentiable
from ..few_shot.distributions import total_variation
from ..few_shot.rivals import copied, label_frequencies, last, nearest
from .answers import Numbers, Said, accuracy_of, said
from .asked import Asked, Prompt
from .names import RIVAL_ACCURACY, RIVALS
from .rules import alike
from .runs import Runs


def of_rivals(model: Differentiable, tasks: Sequence[Asked], runs: Runs) -> dict[str, Numbers]:
    """Of the tasks of these runs: total variation from answers in context, and accuracy, by rival."""
    found: dict[str, dict[str, list[float]]] = {RIVALS: defaultdict(list), RIVAL_ACCURACY: defaultdict(list)}
    for task, icl in zip(tasks, runs.in_context["true"], strict=True):
        for rival, p in rivals(model, task).items():
            found[RIVALS][rival].append(float(total_variation(p, said(icl)).mean()))
            found[RIVAL_ACCURACY][rival].append(accuracy_of(p, task))
    return {name: {rival: np.array(own) for rival, own in by.items()} for name, by in found.items()}


def rivals(model: Differentiable, task: Asked) -> dict[str, Said]:
    """What each answers to a task's queries. Of rivals with the same answers the first is named: it asks for less."""
    demos, n, d_vocab = task.given["true"].demos, len(task.queries), model.subject.shape.d_vocab
    answers = torch.tensor([demo.label for demo in demos])
    states = final_states(model, [*task.zero_shot, *(demo.prompt for demo in demos)])
    return {
        "label frequencies": label_frequencies(answers, n, d_vocab),
        "last demonstration": last(answers, n, d_vocab),
        "copy": copied(task.given["true"].in_context, d_vocab),
        "nearest demonstration": nearest(states[:n], states[n:], answers, d_vocab),
    }


def final_states(model: Differentiable, prompts: Sequence[Prompt]) -> Float[Tensor, "prompt d_model"]:
    """At the last position of each, after the last layer."""
    found: dict[int, Tensor] = {}
    for numbers in alike([len(prompt) for prompt in prompts]):
        states = model.run({}, torch.tensor([prompts[n] for n in numbers]), watch=("resid_post",)).resid_post
        assert states is not None
        found |= zip(numbers, states[-1, :, 0].detach().cpu(), strict=True)
    return torch.stack([found[n] for n in range(len(prompts))])
