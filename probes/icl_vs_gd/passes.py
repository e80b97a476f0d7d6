"""The passes of a comparison: how many tasks they have together, and how many prompts were passed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils import _pytree as pytree

from ...models.differentiable import Answers, Differentiable, Positions, Shown
from ...models.subject import NotApplicable


@dataclass
class Passes:
    """Prompts passed through a model, and tokens of them.

    forward:   all of them
    backward:  those from whose answers gradients came back
    """

    forward: int = 0
    backward: int = 0
    forward_tokens: int = 0
    backward_tokens: int = 0

    def add(self, prompts: int, length: int, back: bool) -> None:
        self.forward += prompts
        self.forward_tokens += prompts * length
        if back:
            self.backward += prompts
            self.backward_tokens += prompts * length

    def __add__(self, other: Passes) -> Passes:
        return Passes(*(getattr(self, own.name) + getattr(other, own.name) for own in fields(self)))

    def __sub__(self, other: Passes) -> Passes:
        return Passes(*(getattr(self, own.name) - getattr(other, own.name) for own in fields(self)))

    def become(self, other: Passes) -> None:
        """Count as many as another."""
        vars(self).update(vars(other))

    def said(self, n_tasks: int) -> str:
        """In all, and for each of the tasks that are measured."""
        each = f"{self.forward / n_tasks:,.0f} and {self.backward / n_tasks:,.0f} for each task that is measured"
        return f"{self.forward:,} prompts pass forward, and gradients come back from {self.backward:,} of them ({each})"


@dataclass
class _Now:
    """What is being computed: how many tasks together, whether gradients come back, and whether it counts."""

    tasks: int = 1
    back: bool = False
    counts: bool = True


@dataclass(frozen=True, eq=False)
class Counted(Differentiable):
    """A model whose passes are counted, and have only so many tasks or prompts together."""

    most: int = 2**30
    passes: Passes = field(default_factory=Passes)
    _now: _Now = field(default_factory=_Now)

    @cached_property
    def together(self) -> bool:
        with self._during(counts=False):
            return super().together

    @cached_property
    def no_cut(self) -> NotApplicable | None:
        with self._during(counts=False):
            return super().no_cut

    def at_once(self, n_tokens: int, n_answers: int = 1) -> int:
        return min(self.most, super().at_once(n_tokens, n_answers))

    @torch.enable_grad()
    def inside(
        self,
        replaced: Mapping[str, Tensor],
        tokens: Int[Tensor, "batch pos"],
        positions: Positions = (-1,),
        watch: Collection[Shown] = (),
        cut: bool = False,
    ) -> Answers:
        prompts, length = tokens.shape
        if self._now.counts:
            self.passes.add(self._now.tasks * prompts, length, self._now.back)
        return super().inside(replaced, tokens, positions, watch, cut)

    def gradient(
        self, loss: Callable[[Mapping[str, Tensor]], Tensor], parameters: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        with self._during(back=True):
            return super().gradient(loss, parameters)

    def of_tasks(self, function: Callable[..., Any], n_tokens: int, *by_task: Any, n_answers: int = 1) -> Any:
        if not self.together:
            return super().of_tasks(function, n_tokens, *by_task)
        tasks, size = len(pytree.tree_leaves(by_task)[0]), self.at_once(n_tokens, n_answers)
        parts = iter([min(size, tasks - first) for first in range(0, tasks, size)])

        def some(*own: Any) -> Any:
            with self._during(tasks=next(parts)):
                return function(*own)

        return super().of_tasks(some, n_tokens, *by_task, n_answers=n_answers)

    @contextmanager
    def _during(self, **now: Any) -> Iterator[None]:
        before = {name: getattr(self._now, name) for name in now}
        for name, value in now.items():
            setattr(self._now, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self._now, name, value)


def counted(model: Differentiable, most: int, passes: Passes) -> Counted:
    """A model whose passes are added to those counted before."""
    return Counted(**{own.name: getattr(model, own.name) for own in fields(model)}, most=most, passes=passes)
