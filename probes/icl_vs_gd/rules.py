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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

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


def gd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int) -> list[Learned]:
    """Each task by itself. The order of demonstrations changes nothing, to the last digit: they are sorted first."""
    return _learned(model, [[sorted(task)] for task in tasks], lr, steps, cut=False)


def lcgd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int) -> list[Learned]:
    """The same with gradients that stay in their layer."""
    return _learned(model, [[sorted(task)] for task in tasks], lr, steps, cut=True)


def sgd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, epochs: int) -> list[Learned]:
    """One demonstration a step, in the order of each task."""
    return _learned(model, [[[demo] for demo in task] for task in tasks], lr, epochs, cut=False)


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


def _learned(
    model: Differentiable, tasks: Sequence[Sequence[Sequence[Demo]]], lr: float, rounds: int, cut: bool
) -> list[Learned]:
    """Of each task a round of steps, again and again; tasks whose prompts are as long run together."""
    alike: dict[tuple[tuple[int, ...], ...], list[int]] = defaultdict(list)
    for number, task in enumerate(tasks):
        _check(model, [demo for batch in task for demo in batch])
        alike[tuple(tuple(sorted(len(demo.prompt) for demo in batch)) for batch in task)].append(number)
    found: dict[int, Learned] = {}
    for numbers in alike.values():
        found |= zip(numbers, _together(model, [tasks[number] for number in numbers], lr, rounds, cut), strict=True)
    return [found[number] for number in range(len(tasks))]


def _together(
    model: Differentiable, tasks: Sequence[Sequence[Sequence[Demo]]], lr: float, rounds: int, cut: bool
) -> list[Learned]:
    """Of tasks whose prompts are as long as each other's."""
    batches = [_stacked([grouped(batch) for batch in step]) for step in zip(*tasks, strict=True)]
    whole = _stacked([grouped(sorted(demo for batch in task for demo in batch)) for task in tasks])
    parameters = {name: tensor.expand(len(tasks), *tensor.shape) for name, tensor in model.start.items()}
    measured, moved = partial(demo_loss, model), partial(_step, model, lr, cut)
    before = model.of_tasks(measured, _size(whole), parameters, whole)
    for batch in batches * rounds:
        parameters = model.of_tasks(moved, _size(batch), parameters, batch)
    after = model.of_tasks(measured, _size(whole), parameters, whole)
    return [
        Learned({name: stack[task] for name, stack in parameters.items()}, float(before[task]), float(after[task]))
        for task in range(len(tasks))
    ]


def _step(
    model: Differentiable, lr: float, cut: bool, parameters: Mapping[str, Tensor], groups: Sequence[Group]
) -> dict[str, Tensor]:
    """One step of one task. A cut one moves the parameters of layers alone."""
    moving = {name: tensor for name, tensor in parameters.items() if not cut or name in model.in_layers}

    def loss(moving: Mapping[str, Tensor]) -> Tensor:
        return demo_loss(model, {**parameters, **moving}, groups, cut)

    gradients = model.gradient(loss, moving)
    return {**parameters, **{name: moving[name] - lr * gradients[name] for name in moving}}


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
