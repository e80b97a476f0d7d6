"""Gradient descent on demonstrations, each of them alone in its prompt, from a checkpoint's own parameters.

    loss = mean over demonstrations of -log p(label | prompt)

    gd     parameters <- parameters - lr * gradient of the loss, T times
    sgd    the same with one demonstration a step, in the order that is given, T epochs
    lcgd   layer-causal: every layer's input is detached, and the loss is the sum over layers l of the loss of
           unembed(final_norm(h_l)); embeddings, final norm and unembedding stay as they are

The layer-causal rule is that of Deutch et al. 2023 (arXiv 2311.07772).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.errors import TaskError
from ...models.attention import in_float32
from ...models.differentiable import Differentiable


@dataclass(frozen=True, order=True)
class Demo:
    """A demonstration: the tokens before its label, the first one included, and the label's first token."""

    prompt: tuple[int, ...]
    label: int


@dataclass(frozen=True, eq=False)
class Learned:
    """The parameters after some steps on one task, and the loss of its demonstrations before and after them."""

    parameters: Mapping[str, Tensor]
    before: float
    after: float

    @property
    def too_far(self) -> str | None:
        """Why the steps were too large; None where they were not."""
        if not math.isfinite(self.after) or not all(bool(x.isfinite().all()) for x in self.parameters.values()):
            return "numbers are no longer finite"
        if self.after > self.before:
            return f"the loss rose from {self.before:.3g} to {self.after:.3g}"
        return None


Group = tuple[Int[Tensor, "..."], Int[Tensor, "..."]]
"""Prompts of one length [demo, pos], with their labels [demo]; of many tasks, with a first axis of tasks."""
State = Mapping[str, Mapping[str, Tensor]]
"""What steps change: the parameters, and the averages of Adam."""
Start = Sequence[Mapping[str, Tensor]] | None
"""The parameters from which the steps of each task go on; None: all from the checkpoint's own."""


def gd(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int, start: Start = None
) -> list[Learned]:
    """Each task by itself. The order of demonstrations changes nothing, to the last digit: they are sorted first."""
    step = partial(plain_step, partial(_gradients, model, False), lr)
    return _learned(model, [[sorted(task)] for task in tasks], step, steps, start)


def lcgd(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int, start: Start = None
) -> list[Learned]:
    """The same with gradients that stay in their layer."""
    step = partial(plain_step, partial(_gradients, model, True), lr)
    return _learned(model, [[sorted(task)] for task in tasks], step, steps, start)


def sgd(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, epochs: int, start: Start = None
) -> list[Learned]:
    """One demonstration a step, in the order of each task."""
    step = partial(plain_step, partial(_gradients, model, False), lr)
    return _learned(model, [[[demo] for demo in task] for task in tasks], step, epochs, start)


def adam(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int, cut: bool = False
) -> list[Learned]:
    """The gradients of `gd`, or, cut, of `lcgd`, with the steps of Adam (Kingma & Ba 2015, arXiv 1412.6980)."""
    step = partial(adam_step, partial(_gradients, model, cut), lr)
    return _learned(model, [[sorted(task)] for task in tasks], step, steps, None)


def demo_loss(
    model: Differentiable, parameters: Mapping[str, Tensor], groups: Sequence[Group], cut: bool = False
) -> Float[Tensor, ""]:
    """The mean over demonstrations; of a cut pass, summed over layers. Differentiable in the parameters."""
    losses = []
    for tokens, labels in groups:
        answers = model.inside(parameters, tokens, watch=("resid_post",) if cut else (), cut=cut)
        logits = answers.logits if answers.resid_post is None else model.layer_logits(answers.resid_post)
        said = in_float32(logits[..., 0, :]).log_softmax(dim=-1)
        losses.append(-said.gather(-1, labels.to(said.device).expand(said.shape[:-1])[..., None]).flatten())
    n_demos = sum(labels.shape[-1] for _, labels in groups)
    return torch.cat(losses).sum() / n_demos


def grouped(demos: Sequence[Demo]) -> list[Group]:
    """Demonstrations by the length of their prompts, in the order in which they come."""
    by_length: dict[int, list[Demo]] = defaultdict(list)
    for demo in demos:
        by_length[len(demo.prompt)].append(demo)
    return [
        (torch.tensor([demo.prompt for demo in alike]), torch.tensor([demo.label for demo in alike]))
        for _, alike in sorted(by_length.items())
    ]


Gradients = Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]
"""Of one task's parameters and batch: those of the parameters that move."""
_Step = Callable[[int, State, Sequence[Group]], dict[str, dict[str, Tensor]]]
"""What of the state and a batch of one task makes the next state, with the number of the step from 1 on."""
_MOMENTS = (0.9, 0.999)
_LEAST = 1e-8


def alike(marks: Sequence[Hashable]) -> list[list[int]]:
    """The numbers of those with the same mark, in the order in which marks first come."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, mark in enumerate(marks):
        found[mark].append(number)
    return list(found.values())


def _learned(
    model: Differentiable, tasks: Sequence[Sequence[Sequence[Demo]]], step: _Step, rounds: int, start: Start
) -> list[Learned]:
    """Of each task a round of steps, again and again; tasks whose prompts are as long run together."""
    for task in tasks:
        _check(model, [demo for batch in task for demo in batch])
    lengths = [tuple(tuple(sorted(len(demo.prompt) for demo in batch)) for batch in task) for task in tasks]
    own = [model.start] * len(tasks) if start is None else start
    found: dict[int, Learned] = {}
    for numbers in alike(lengths):
        some = _together(model, [tasks[n] for n in numbers], step, rounds, [own[n] for n in numbers])
        found |= zip(numbers, some, strict=True)
    return [found[number] for number in range(len(tasks))]


def _together(
    model: Differentiable,
    tasks: Sequence[Sequence[Sequence[Demo]]],
    step: _Step,
    rounds: int,
    start: Sequence[Mapping[str, Tensor]],
) -> list[Learned]:
    """Of tasks whose prompts are as long as each other's."""
    batches = [_stacked([grouped(batch) for batch in some]) for some in zip(*tasks, strict=True)]
    whole = _stacked([grouped(sorted(demo for batch in task for demo in batch)) for task in tasks])
    state: State = {"parameters": {name: torch.stack([own[name] for own in start]) for name in start[0]}}
    measured = partial(demo_loss, model)
    before = model.of_tasks(measured, _size(whole), state["parameters"], whole)
    for number, batch in enumerate(batches * rounds, start=1):
        state = model.of_tasks(partial(step, number), _size(batch), state, batch)
    parameters = state["parameters"]
    after = model.of_tasks(measured, _size(whole), parameters, whole)
    return [
        Learned({name: stack[task] for name, stack in parameters.items()}, float(before[task]), float(after[task]))
        for task in range(len(tasks))
    ]


def plain_step(gradients: Gradients, lr: float, number: int, state: State, batch: Any) -> dict[str, dict[str, Tensor]]:
    """One step of one task down the gradient; like `adam_step`, it is told its number."""
    parameters = state["parameters"]
    moved = {name: parameters[name] - lr * x for name, x in gradients(parameters, batch).items()}
    return {"parameters": {**parameters, **moved}}


def adam_step(gradients: Gradients, lr: float, number: int, state: State, batch: Any) -> dict[str, dict[str, Tensor]]:
    """One step of one task by averages of the gradient and of its square, both from 0 at the first step."""
    parameters = state["parameters"]
    slope = gradients(parameters, batch)
    new = {"mean": slope, "square": {name: x.square() for name, x in slope.items()}}
    held, unbiased = {}, {}
    for kind, kept in zip(new, _MOMENTS, strict=True):
        own = state.get(kind, {name: torch.zeros_like(x) for name, x in slope.items()})
        held[kind] = {name: kept * own[name] + (1 - kept) * x for name, x in new[kind].items()}
        unbiased[kind] = {name: x / (1 - kept**number) for name, x in held[kind].items()}
    moved = {
        name: parameters[name] - lr * unbiased["mean"][name] / (unbiased["square"][name].sqrt() + _LEAST)
        for name in slope
    }
    return {"parameters": {**parameters, **moved}, **held}


def _gradients(
    model: Differentiable, cut: bool, parameters: Mapping[str, Tensor], groups: Sequence[Group]
) -> dict[str, Tensor]:
    """Of the parameters that move: cut, those of layers alone."""
    moving = {name: tensor for name, tensor in parameters.items() if not cut or name in model.in_layers}

    def loss(moving: Mapping[str, Tensor]) -> Tensor:
        return demo_loss(model, {**parameters, **moving}, groups, cut)

    return model.gradient(loss, moving)


def _stacked(tasks: Sequence[Sequence[Group]]) -> list[Group]:
    """Groups of many tasks, with a first axis of tasks."""
    return [
        (torch.stack([tokens for tokens, _ in group]), torch.stack([labels for _, labels in group]))
        for group in zip(*tasks, strict=True)
    ]


def _size(groups: Sequence[Group]) -> int:
    """Tokens of one task."""
    return sum(tokens[0].numel() for tokens, _ in groups)


def _check(model: Differentiable, demos: Sequence[Demo]) -> None:
    """TaskError for a task without demonstrations, and for tokens that the model has not."""
    if not demos:
        raise TaskError("a task without demonstrations; expected at least one")
    for tokens, labels in grouped(demos):
        model.check(tokens)
        model.check(labels[:, None])
