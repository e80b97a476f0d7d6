"""The rate and the number of steps, chosen on tasks that nothing else is measured on.

Each rule is tuned by the mean loss of queries, whose labels it has not seen: a rate that only fits demonstrations is
not chosen for it. Rates are .03 to 3, steps 1 to 64. On models of 110,545 parameters that learn in context, a rate of
at most 1 with 64 steps leaves a query loss of .01 to .07, and a rate of 10 with 16 steps one of .17 to .29, and larger
rates are chaotic: runs in float32 and in float64 end with other parameters.

A cell is out where some task's steps were too large: numbers are no longer finite, or the loss of its demonstrations
ends above that of the checkpoint. A choice at the edge of the grid is said: there may be a better one beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...data.errors import TaskError
from ...models.differentiable import Differentiable
from .asked import Asked
from .fine_tuned import STEPPING, Stepped
from .names import TITLES, Rule
from .rules import Demo, Learned, adam, demo_loss, grouped

RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
STEPS = (1, 4, 16, 64)
ADAM_RATES = (0.001, 0.003, 0.01, 0.03)
ADAM_STEPS = (8, 32)
"""Adam moves every number of a matrix by about its rate, whatever the gradient's size."""


@dataclass(frozen=True)
class Cell:
    """One rate with one number of steps.

    loss:  the mean over queries and tasks
    out:   why it cannot be chosen; None where it can
    """

    loss: float
    out: str | None


@dataclass(frozen=True)
class Tuned:
    """What was chosen, and what else there was.

    called:  the rule
    of:      what its loss is
    """

    called: str
    chosen: Stepped
    cells: Mapping[Stepped, Cell]
    n_tasks: int
    of: str = "loss of queries"

    @property
    def edges(self) -> tuple[str, ...]:
        """Which ends of the grid were chosen, in words."""
        found = []
        for name, own, unit in (("rate", self.chosen.rate, "rates"), ("steps", self.chosen.steps, "numbers of steps")):
            tried = sorted({getattr(stepped, name) for stepped in self.cells})
            if len(tried) > 1 and own in (tried[0], tried[-1]):
                end = "largest" if own == tried[-1] else "smallest"
                found.append(f"{own:g} is the {end} of the {unit} tried")
        return tuple(found)

    def __str__(self) -> str:
        rate, steps = self.chosen.rate, self.chosen.steps
        loss = self.cells[self.chosen].loss
        found = f"{self.called}: rate {rate:g}, {steps} steps ({self.of} in {self.n_tasks} tasks {loss:.3g})"
        for edge in self.edges:
            found += f"; {edge}"
        if self.edges:
            found += ": it may not have converged"
        out = sum(cell.out is not None for cell in self.cells.values())
        return f"{found}; {out} of {len(self.cells)} settings went too far" if out else found


def tuned(
    model: Differentiable,
    tasks: Sequence[Asked],
    rule: Rule,
    rates: Sequence[float] = RATES,
    steps: Sequence[int] = STEPS,
) -> Tuned:
    """The best rate and number of steps for a rule. TaskError where all of them go too far.

    A run of more steps goes on where that of fewer ended.
    """
    demos = [task.given["true"].demos for task in tasks]
    cells: dict[Stepped, Cell] = {}
    for rate in rates:
        start, done, before = None, 0, None
        for number in sorted(steps):
            learned = STEPPING[rule](model, demos, rate, number - done, start)
            before = [one.before for one in learned] if before is None else before
            cells[Stepped(rate, number)] = _cell(model, tasks, learned, before)
            start, done = [one.parameters for one in learned], number
    return chosen(TITLES[rule], cells, len(tasks))


def tuned_adam(
    model: Differentiable,
    tasks: Sequence[Asked],
    rule: Rule,
    rates: Sequence[float] = ADAM_RATES,
    steps: Sequence[int] = ADAM_STEPS,
) -> Tuned:
    """The same for Adam's steps by a rule's gradients."""
    demos = [task.given["true"].demos for task in tasks]
    cells: dict[Stepped, Cell] = {}
    for rate in rates:
        for number in steps:
            learned = adam(model, demos, rate, number, cut=rule == "lcgd")
            cells[Stepped(rate, number)] = _cell(model, tasks, learned, [one.before for one in learned])
    return chosen(f"{TITLES[rule]} by Adam", cells, len(tasks))


def _cell(model: Differentiable, tasks: Sequence[Asked], learned: Sequence[Learned], before: Sequence[float]) -> Cell:
    since = [Learned(one.parameters, own, one.after) for one, own in zip(learned, before, strict=True)]
    if too_far := [one.too_far for one in since if one.too_far]:
        return Cell(math.nan, f"{too_far[0]} ({len(too_far)} of {len(tasks)} tasks)")
    losses = [query_loss(model, task.queries, one) for task, one in zip(tasks, learned, strict=True)]
    loss = math.fsum(losses) / len(losses)
    return Cell(loss, None if math.isfinite(loss) else "the loss of queries is no longer finite")


def query_loss(model: Differentiable, queries: Sequence[Demo], learned: Learned) -> float:
    """The mean over queries of -log p(label | prompt)."""
    return float(demo_loss(model, learned.parameters, grouped(queries)))


def chosen(called: str, cells: Mapping[Stepped, Cell], n_tasks: int, of: str = "loss of queries") -> Tuned:
    """The setting with the lowest loss among those that may be chosen."""
    fit = {stepped: cell.loss for stepped, cell in cells.items() if cell.out is None}
    if not fit:
        rates = sorted({stepped.rate for stepped in cells})
        why = next(iter(cells.values())).out
        raise TaskError(
            f"{called}: no rate from {rates[0]:g} to {rates[-1]:g} can be chosen: {why}; expected one after which the"
            " loss is lower. Try smaller rates"
        )
    return Tuned(called, min(fit, key=lambda stepped: fit[stepped]), cells, n_tasks, of)
