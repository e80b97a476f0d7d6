"""A task's parameters after descent on its demonstrations, in every way that measures compare.

Ways come one after the other, and nobody keeps the parameters of those before: memory is that of one way, and of the
tasks that are given together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...data.recipe import named_seed
from ...models.differentiable import Differentiable
from .asked import Asked, halves
from .names import Labels, Rule, Way
from .rules import KINDS, Demo, Learned, adam, courses, gd, lcgd, sgd

Parameters = Sequence[Mapping[str, Tensor]]
"""Of each task."""
STEPPING: Mapping[Rule, Callable[..., list[Learned]]] = {"gd": gd, "lcgd": lcgd, "sgd": sgd}
PAIR: tuple[Labels, ...] = ("true", "swapped")


@dataclass(frozen=True)
class Stepped:
    """A rate, and how many steps of it."""

    rate: float
    steps: int


@dataclass(frozen=True)
class Setting:
    """A rule as it was tuned, and Adam's steps by the same gradients; None: all that were tried went too far."""

    rule: Rule
    tuned: Stepped
    adam: Stepped | None


def fine_tuned(
    model: Differentiable, tasks: Sequence[Asked], setting: Setting, seed: int, first: int = 0
) -> Iterator[tuple[Way, Labels, Parameters]]:
    """Every way of one rule, with the labels of demonstrations from which it learned.

    first:  the number of the first of these tasks among all: random directions are drawn by it
    """
    step, rate, steps = STEPPING[setting.rule], setting.tuned.rate, setting.tuned.steps
    for labels in PAIR:
        demos = [task.given[labels].demos for task in tasks]
        half, tuned = halfway_and_whole(model, demos, setting.rule, setting.tuned)
        yield "half run", labels, half
        del half
        yield "tuned", labels, tuned
        yield "random weights", labels, as_far(model, tuned, seed, (setting.rule, labels), first)
        del tuned
        yield "third rate", labels, _parameters(step(model, demos, rate / 3, steps))
        if setting.adam is not None:
            by_adam = adam(model, demos, setting.adam.rate, setting.adam.steps, cut=setting.rule == "lcgd")
            yield "adam", labels, _parameters(by_adam)
        if all(task.other for task in tasks):
            yield "other", labels, _parameters(step(model, [task.other[labels] for task in tasks], rate, steps))
    shuffled = [task.given["shuffled"].demos for task in tasks]
    yield "tuned", "shuffled", _parameters(step(model, shuffled, rate, steps))
    for half, some in _halves(tasks):
        if all(some):
            yield half, "true", _parameters(step(model, some, rate, steps))


def halfway_and_whole(
    model: Differentiable, demos: Sequence[Sequence[Demo]], rule: Rule, stepped: Stepped
) -> tuple[Parameters, Parameters]:
    """After half of the steps, and after all of them. Of one step the half has half the rate."""
    rate, steps = stepped.rate, stepped.steps
    if steps == 1:
        step = STEPPING[rule]
        return _parameters(step(model, demos, rate / 2, 1)), _parameters(step(model, demos, rate, 1))
    half, whole = courses(model, demos, KINDS[rule], [rate] * len(demos), [steps // 2, steps])
    return _parameters(half), _parameters(whole)


def _parameters(learned: Sequence[Learned]) -> Parameters:
    return [one.parameters for one in learned]


def _halves(tasks: Sequence[Asked]) -> Iterator[tuple[Way, list[list[Demo]]]]:
    """One half of each task's demonstrations, then the other."""
    places = [halves([demo.label for demo in task.given["true"].demos]) for task in tasks]
    ways: tuple[Way, ...] = ("first demonstrations", "second demonstrations")
    for number, way in enumerate(ways):
        yield (
            way,
            [[task.given["true"].demos[n] for n in some[number]] for task, some in zip(tasks, places, strict=True)],
        )


def as_far(model: Differentiable, tuned: Parameters, seed: int, names: tuple[str, ...], first: int) -> Parameters:
    """From the checkpoint's own, in a random direction of every matrix, as far as the tuned ones are."""
    start = model.start
    found = []
    for task, parameters in enumerate(tuned, start=first):
        rng = torch.Generator().manual_seed(named_seed(seed, "random weights", *names, task))
        moved = {}
        for name, own in start.items():
            direction = torch.randn(own.shape, generator=rng, dtype=torch.float64).to(own)
            moved[name] = own + direction * ((parameters[name] - own).norm() / direction.norm())
        found.append(moved)
    return found
