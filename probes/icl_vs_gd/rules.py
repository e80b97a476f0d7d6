"""Gradient descent on demonstrations, each of them alone in its prompt, from a checkpoint's own parameters.

    loss = mean over demonstrations of -log p(label | prompt)

    gd     parameters <- parameters - lr * gradient of the loss, T times
    sgd    the same with one demonstration a step, in the order that is given, T epochs
    lcgd   layer-causal: every layer's input is detached, and the loss is the sum over layers l of the loss of
           unembed(final_norm(h_l)); embeddings, final norm and unembedding stay as they are

The layer-causal rule is that of Deutch et al. 2023 (arXiv 2311.07772). Many tasks run together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.errors import TaskError
from ...models.attention import in_float32
from ...models.differentiable import Differentiable
from .names import Rule
from .padding import longer, padded


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


class Group(NamedTuple):
    """Demonstrations in one pass, padded on the right; of many tasks, with a first axis of tasks.

    ends:  the place of each prompt's last token
    """

    tokens: Int[Tensor, "*task demo pos"]
    ends: Int[Tensor, "*task demo"]
    labels: Int[Tensor, "*task demo"]


State = Mapping[str, Mapping[str, Tensor]]
"""What steps change: the parameters, and the averages of Adam."""


@dataclass(frozen=True)
class Kind:
    """What a step is.

    cut:     gradients stay in their layer
    single:  a step takes one demonstration, and a round all of them; otherwise a round is one step
    adam:    Adam's steps (Kingma & Ba 2015, arXiv 1412.6980)
    """

    cut: bool = False
    single: bool = False
    adam: bool = False


KINDS: Mapping[Rule, Kind] = {"gd": Kind(), "lcgd": Kind(cut=True), "sgd": Kind(single=True)}


def gd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int) -> list[Learned]:
    """Each task by itself. The order of demonstrations changes nothing, to the last digit: they are sorted first."""
    return after(model, tasks, KINDS["gd"], lr, steps)


def lcgd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int) -> list[Learned]:
    """The same with gradients that stay in their layer."""
    return after(model, tasks, KINDS["lcgd"], lr, steps)


def sgd(model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, epochs: int) -> list[Learned]:
    """One demonstration a step, in the order of each task."""
    return after(model, tasks, KINDS["sgd"], lr, epochs)


def adam(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], lr: float, steps: int, cut: bool = False
) -> list[Learned]:
    """The gradients of `gd`, or, cut, of `lcgd`, with the steps of Adam."""
    return after(model, tasks, Kind(cut=cut, adam=True), lr, steps)


def after(model: Differentiable, tasks: Sequence[Sequence[Demo]], kind: Kind, lr: float, rounds: int) -> list[Learned]:
    """So many rounds at one rate."""
    return next(courses(model, tasks, kind, [lr] * len(tasks), [rounds]))


def courses(
    model: Differentiable, tasks: Sequence[Sequence[Demo]], kind: Kind, rates: Sequence[float], rounds: Sequence[int]
) -> Iterator[list[Learned]]:
    """Each task by itself at a rate of its own, after each of these numbers of rounds, which ascend."""
    for task in tasks:
        _check(model, task)
    together = [
        (numbers, _Course.begin(model, [tasks[n] for n in numbers], kind, [rates[n] for n in numbers]))
        for numbers in alike([len(task) for task in tasks])
    ]
    done = 0
    for number in rounds:
        found: dict[int, Learned] = {}
        for numbers, course in together:
            course.go_on(number - done)
            found |= zip(numbers, course.learned(), strict=True)
        yield [found[number] for number in range(len(tasks))]
        done = number


def demo_loss(
    model: Differentiable, parameters: Mapping[str, Tensor], group: Group, cut: bool = False
) -> Float[Tensor, ""]:
    """The mean over demonstrations; of a cut pass, summed over layers. Differentiable in the parameters."""
    answers = model.inside(parameters, group.tokens, group.ends, watch=("resid_post",) if cut else (), cut=cut)
    logits = answers.logits if answers.resid_post is None else model.layer_logits(answers.resid_post)
    said = in_float32(logits[..., 0, :]).log_softmax(dim=-1)
    losses = -said.gather(-1, group.labels.to(said.device).expand(said.shape[:-1])[..., None])
    return losses.sum() / group.labels.shape[-1]


def losses_of(
    model: Differentiable, parameters: Mapping[str, Float[Tensor, "task ..."]], group: Group
) -> Float[Tensor, "task"]:
    """Of many tasks, each with its own parameters."""
    measured = partial(demo_loss, model)
    return model.of_tasks(measured, n_tokens(group), dict(parameters), group, n_answers=group.labels.shape[1])


def grouped(demos: Sequence[Demo]) -> Group:
    """In the order in which they come."""
    tokens, ends = padded([demo.prompt for demo in demos])
    return Group(tokens, ends, torch.tensor([demo.label for demo in demos]))


def stacked(groups: Sequence[Group]) -> Group:
    """Of many tasks with as many demonstrations."""
    length = max(group.tokens.shape[-1] for group in groups)
    tokens, ends, labels = zip(*groups, strict=True)
    return Group(torch.stack([longer(own, length) for own in tokens]), torch.stack(ends), torch.stack(labels))


def n_tokens(group: Group) -> int:
    """Of one of the tasks."""
    return group.tokens[0].numel()


Gradients = Callable[[Mapping[str, Tensor], Any], dict[str, Tensor]]
"""Of one task's parameters and batch: those of the parameters that move."""
_MOMENTS = (0.9, 0.999)
_LEAST = 1e-8


def alike(marks: Sequence[Hashable]) -> list[list[int]]:
    """The numbers of those with the same mark, in the order in which marks first come."""
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, mark in enumerate(marks):
        found[mark].append(number)
    return list(found.values())


@dataclass(eq=False)
class _Course:
    """Tasks with as many demonstrations, on their way.

    batches:   of each step of a round, those of every task
    whole:     all demonstrations of every task
    before:    the loss of each task at the beginning
    read_out:  how many layers answer
    done:      how many steps were made
    """

    model: Differentiable
    step: Callable[..., dict[str, dict[str, Tensor]]]
    rates: Float[Tensor, "task"]
    batches: list[Group]
    whole: Group
    state: State
    before: Float[Tensor, "task"]
    read_out: int
    done: int = 0

    @classmethod
    def begin(
        cls, model: Differentiable, tasks: Sequence[Sequence[Demo]], kind: Kind, rates: Sequence[float]
    ) -> _Course:
        own = [[[demo] for demo in task] if kind.single else [sorted(task)] for task in tasks]
        batches = [stacked([grouped(batch) for batch in some]) for some in zip(*own, strict=True)]
        whole = stacked([grouped(sorted(task)) for task in tasks])
        parameters = {name: x.expand(len(tasks), *x.shape) for name, x in model.start.items()}
        step = partial(adam_step if kind.adam else plain_step, partial(_gradients, model, kind.cut))
        of_task = torch.tensor(rates, dtype=torch.float64).to(next(iter(parameters.values())))
        before = losses_of(model, parameters, whole)
        layers = model.subject.shape.n_layers if kind.cut else 1
        return cls(model, step, of_task, batches, whole, {"parameters": parameters}, before, layers)

    def go_on(self, rounds: int) -> None:
        for batch in self.batches * rounds:
            self.done += 1
            step = partial(self.step, self.done)
            answers = self.read_out * batch.labels.shape[1]
            self.state = self.model.of_tasks(step, n_tokens(batch), self.state, batch, self.rates, n_answers=answers)

    def learned(self) -> Iterator[Learned]:
        """Of each task, as it is now."""
        parameters = self.state["parameters"]
        after = losses_of(self.model, parameters, self.whole)
        for task, losses in enumerate(zip(self.before.tolist(), after.tolist(), strict=True)):
            yield Learned({name: stack[task] for name, stack in parameters.items()}, *losses)


def plain_step(
    gradients: Gradients, number: int, state: State, batch: Any, lr: Float[Tensor, ""]
) -> dict[str, dict[str, Tensor]]:
    """One step of one task down the gradient; like `adam_step`, it is told its number."""
    parameters = state["parameters"]
    moved = {name: parameters[name] - lr * x for name, x in gradients(parameters, batch).items()}
    return {"parameters": {**parameters, **moved}}


def adam_step(
    gradients: Gradients, number: int, state: State, batch: Any, lr: Float[Tensor, ""]
) -> dict[str, dict[str, Tensor]]:
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


def _gradients(model: Differentiable, cut: bool, parameters: Mapping[str, Tensor], group: Group) -> dict[str, Tensor]:
    """Of the parameters that move: cut, those of layers alone."""
    moving = {name: tensor for name, tensor in parameters.items() if not cut or name in model.in_layers}

    def loss(moving: Mapping[str, Tensor]) -> Tensor:
        return demo_loss(model, {**parameters, **moving}, group, cut)

    return model.gradient(loss, moving)


def _check(model: Differentiable, demos: Sequence[Demo]) -> None:
    """TaskError for a task without demonstrations, and for tokens that the model has not."""
    if not demos:
        raise TaskError("a task without demonstrations; expected at least one")
    group = grouped(demos)
    model.check(group.tokens)
    model.check(group.labels[:, None])
