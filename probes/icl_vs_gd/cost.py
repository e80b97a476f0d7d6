"""About how many prompts a comparison passes, and what that takes; by the settings and the sizes of the tasks."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from ...models.differentiable import COPIES, HELD, KEPT, KEPT_OF_ANSWERS
from ...models.language_model import LanguageModel
from ...models.subject import NotApplicable
from ..few_shot.prompts import Prompts
from ..probe import Cost, weights_of
from .how import How
from .names import LABELS
from .passes import Passes
from .tuning import ADAM_RATES, adam_steps

_PAIR = 2  # demonstrations with true and with swapped labels
_WAYS = 6  # half run, tuned, random weights, a third of the rate, Adam, other
_ONCE = 3  # shuffled labels, and both halves of the demonstrations
_KEYS_AND_VALUES = 2
_WIDE = 8  # bytes of a number in float64
_BACK = 2  # passes that one pass back takes
_SLOWER = 2  # float64 beside float32
_STATISTICS = 100_000_000  # bytes of resamples, tables and libraries, as measured
_OPERATIONS, _OPERATIONS_OF_A_STEP = 100_000, 300  # small tensor operations; the latter of a layer


@dataclass(frozen=True)
class Sizes:
    """Of the tasks of a comparison; of unequal ones the largest.

    demos, queries:  in each task
    short, long:     tokens of a prompt by itself, and after all demonstrations
    conflict:        whether demonstrations may disagree
    other:           whether there are other tasks
    matched:         whether each label has two queries
    """

    tasks: int
    tuning: int
    demos: int
    queries: int
    short: int
    long: int
    conflict: bool
    other: bool
    matched: bool

    @classmethod
    def of(cls, prompts: Sequence[Prompts], tasks: int, tuning: int, conflict: bool, other: bool) -> Sizes:
        """As those of these tasks."""
        demos, queries = max(len(one.alone) for one in prompts), max(len(one.zero_shot) for one in prompts)
        short = max(len(prompt) for one in prompts for prompt in (*one.alone, *one.zero_shot))
        long = max(len(prompt) for one in prompts for prompt in one.in_context)
        matched = all(min(Counter(one.right).values()) > 1 for one in prompts)
        return cls(tasks, tuning, demos, queries, short, long, conflict, other, matched)


def passes_of(how: How, sizes: Sizes, patched: bool) -> Passes:
    """Of all that is measured, with the largest number of steps that is tried.

    patched:  whether MLPs of the model can be patched
    """
    bill = _Bill(how, sizes)
    bill.tuning()
    bill.runs()
    bill.behaviour()
    for _ in range(how.untrained):
        bill.untrained()
    for _ in range((1 + how.untrained) * patched):
        bill.patch()
    return bill.passes


@dataclass
class _Bill:
    """Adds up prompts."""

    how: How
    sizes: Sizes
    passes: Passes = field(default_factory=Passes)

    def tuning(self) -> None:
        """Rules and, beside them, Adam and matching."""
        sizes, n = self.sizes, self.sizes.tuning
        for _ in self.how.rules:
            self._grid(len(self.how.rates), self.how.steps)
            self._grid(len(ADAM_RATES), adam_steps(max(self.how.steps)))
        if self.how.matching and sizes.matched:
            self._forward(n * sizes.queries, sizes.long)
            self._forward(n * sizes.queries)
            for _ in ADAM_RATES:
                self._matching(n)

    def runs(self) -> None:
        """All that `runs` passes."""
        sizes, n, steps = self.sizes, self.sizes.tasks, max(self.how.steps)
        self._forward(n * sizes.queries)
        self._forward(n * sizes.queries * len(LABELS), sizes.long)
        for _ in self.how.rules:
            for _ in range(_PAIR):
                self._descent(n, steps, stops=2 if steps > 1 else 1)
                if steps == 1:
                    self._descent(n, 1)
                self._descent(n, steps)
                self._descent(n, max(adam_steps(steps)))
            for _ in range(1 + 1 + _PAIR * sizes.other):  # shuffled labels, both halves together, another task
                self._descent(n, steps)
            self._forward(n * sizes.queries * (_PAIR * (_WAYS - (not sizes.other)) + _ONCE))
        for _ in range(_PAIR * (self.how.matching and sizes.matched)):
            self._matching(n)

    def behaviour(self) -> None:
        """Orders, and the nearest demonstration."""
        sizes, n = self.sizes, self.sizes.tasks
        different = min(self.how.orders, math.factorial(sizes.demos))
        orders = different - 1 + different * sizes.conflict
        self._forward(n * sizes.queries * orders, sizes.long)
        self._forward(n * (sizes.queries + sizes.demos))
        for _ in range(orders * ("sgd" in self.how.rules)):
            self._descent(n, max(self.how.steps))
            self._forward(n * sizes.queries)

    def untrained(self) -> None:
        """One model."""
        sizes, n = self.sizes, self.sizes.tasks
        self._forward(n * sizes.queries)
        self._forward(n * sizes.queries * _PAIR, sizes.long)
        for _ in self.how.rules:
            self._grid(len(self.how.rates), self.how.steps)
            for _ in range(_PAIR):
                self._descent(n, max(self.how.steps))
                self._forward(n * sizes.queries)

    def patch(self) -> None:
        """Of one model."""
        sizes, n = self.sizes, self.sizes.tasks
        self._forward(n * sizes.queries, sizes.long)
        self._forward(n * sizes.queries)
        self._both(n * sizes.demos * (2 + sizes.other))  # true and shuffled labels, another task's

    def _grid(self, rates: int, steps: Sequence[int]) -> None:
        runs = rates * self.sizes.tuning
        self._descent(runs, max(steps), stops=len(steps))
        self._forward(runs * len(steps) * self.sizes.queries)

    def _descent(self, runs: int, steps: int, stops: int = 1) -> None:
        """So many tasks; losses of all demonstrations are taken before, and at each stop."""
        self._both(runs * self.sizes.demos * steps)
        self._forward(runs * self.sizes.demos * (1 + stops))

    def _matching(self, tasks: int) -> None:
        """Each query is fitted, and held out, once."""
        self._both(tasks * self.sizes.queries * max(self.how.steps))
        self._forward(tasks * self.sizes.queries)

    def _forward(self, prompts: int, length: int | None = None) -> None:
        self.passes.add(prompts, self.sizes.short if length is None else length, False)

    def _both(self, prompts: int) -> None:
        self.passes.add(prompts, self.sizes.short, True)


def cost_of(subject: LanguageModel, how: How, sizes: Sizes, batch_size: int) -> Cost:
    """A pass back counts as two; float64 takes twice as long."""
    passes = passes_of(how, sizes, patched=not isinstance(subject.mlp_reading(), NotApplicable))
    together = min(batch_size, sizes.tasks)
    layers = subject.shape.n_layers
    return Cost(
        tokens=_SLOWER * (passes.forward_tokens + _BACK * passes.backward_tokens),
        read_outs=_SLOWER * (passes.forward + _BACK * passes.backward) * (layers if "lcgd" in how.rules else 1),
        draws=how.untrained * sum(weight.numel() for weight in weights_of(subject)),
        operations=_OPERATIONS + _OPERATIONS_OF_A_STEP * layers * passes.backward / (together * sizes.demos),
        batch=(together * sizes.demos, sizes.short),
        counted=f"at most {passes.said(sizes.tasks)}; fewer where fewer steps are chosen",
    )


def memory_of(subject: LanguageModel, how: How, sizes: Sizes, batch_size: int) -> int:
    """At the peak, beside Python, its libraries and the model: copies of it in float64, of an untrained one, too, and
    what is held of tasks that are computed together: their steps, and their queries' answers in every way.
    """
    shape, numbers = subject.shape, sum(weight.numel() for weight in weights_of(subject))
    wide = 0 if subject.dtype == torch.float64 else _WIDE
    copies = (wide + (how.untrained > 0) * (subject.dtype.itemsize + wide)) * numbers
    keys = shape.n_layers * shape.d_model * shape.n_kv_heads * shape.d_head
    own = numbers if how.parameters == "all" else _KEYS_AND_VALUES * keys
    read_out = sizes.demos * (shape.n_layers if "lcgd" in how.rules else 1)
    a_task = COPIES * own + KEPT * shape.n_layers * shape.d_model * sizes.demos * sizes.short
    a_task += KEPT_OF_ANSWERS * shape.d_vocab * read_out
    ways = len(LABELS) + len(how.rules) * (_PAIR * _WAYS + _ONCE)
    answers = ways * sizes.queries * (shape.d_vocab + shape.n_layers * shape.d_model)
    together = max(1, min(batch_size, sizes.tasks, HELD // max(a_task, answers)))
    return _STATISTICS + copies + _WIDE * together * (a_task + answers)
