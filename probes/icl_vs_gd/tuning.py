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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from ...data.errors import TaskError
from ...models.differentiable import Differentiable
from .asked import Asked
from .fine_tuned import Stepped
from .names import TITLES, Rule
from .rules import KINDS, Demo, Kind, Learned, alike, courses, grouped, losses_of, stacked

RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
STEPS = (1, 4, 16, 64)
ADAM_RATES = (0.001, 0.003, 0.01, 0.03)
ADAM_STEPS = (8, 32)
"""Adam moves every number of a matrix by about its rate, whatever the gradient's size."""


def adam_steps(most: int) -> tuple[int, ...]:
    """The numbers of Adam's steps that are tried beside rules of at most so many steps."""
    return tuple(steps for steps in ADAM_STEPS if steps <= most) or (most,)


EDGE = "it may not have converged"
"""Said of a choice at an end of the grid."""


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
            found += f": {EDGE}"
        out = sum(cell.out is not None for cell in self.cells.values())
        return f"{found}; {out} of {len(self.cells)} settings went too far" if out else found


def tuned(
    model: Differentiable,
    tasks: Sequence[Asked],
    rule: Rule,
    rates: Sequence[float] = RATES,
    steps: Sequence[int] = STEPS,
) -> Tuned:
    """The best rate and number of steps for a rule. TaskError where all of them go too far."""
    return chosen(TITLES[rule], _cells(model, tasks, KINDS[rule], rates, steps), len(tasks))


def tuned_adam(
    model: Differentiable,
    tasks: Sequence[Asked],
    rule: Rule,
    rates: Sequence[float] = ADAM_RATES,
    steps: Sequence[int] = ADAM_STEPS,
) -> Tuned:
    """The same for Adam's steps by a rule's gradients."""
    kind = Kind(cut=KINDS[rule].cut, adam=True)
    return chosen(f"{TITLES[rule]} by Adam", _cells(model, tasks, kind, rates, steps), len(tasks))


def _cells(
    model: Differentiable, tasks: Sequence[Asked], kind: Kind, rates: Sequence[float], steps: Sequence[int]
) -> dict[Stepped, Cell]:
    """Of the whole grid, as many rates and tasks together as memory holds. A run of more steps goes on where that of
    fewer ended.
    """
    runs = [(rate, task) for rate in rates for task in tasks]
    size = model.at_once(max(sum(len(demo.prompt) for demo in task.given["true"].demos) for task in tasks))
    ends: dict[Stepped, list[tuple[str | None, float]]] = defaultdict(list)
    for first in range(0, len(runs), size):
        some = runs[first : first + size]
        demos, own = [task.given["true"].demos for _, task in some], [rate for rate, _ in some]
        for number, learned in zip(sorted(steps), courses(model, demos, kind, own, sorted(steps)), strict=True):
            losses = query_losses(model, [task.queries for _, task in some], learned)
            for rate, one, loss in zip(own, learned, losses, strict=True):
                ends[Stepped(rate, number)].append((one.too_far, loss))
    return {stepped: _cell(of_tasks) for stepped, of_tasks in ends.items()}


def _cell(of_tasks: Sequence[tuple[str | None, float]]) -> Cell:
    """Of each task, why it went too far, and the loss of its queries."""
    if too_far := [why for why, _ in of_tasks if why]:
        return Cell(math.nan, f"{too_far[0]} ({len(too_far)} of {len(of_tasks)} tasks)")
    loss = math.fsum(loss for _, loss in of_tasks) / len(of_tasks)
    return Cell(loss, None if math.isfinite(loss) else "the loss of queries is no longer finite")


def query_losses(model: Differentiable, queries: Sequence[Sequence[Demo]], learned: Sequence[Learned]) -> list[float]:
    """The mean over each task's queries of -log p(label | prompt)."""
    found: dict[int, float] = {}
    for numbers in alike([len(some) for some in queries]):
        group = stacked([grouped(queries[n]) for n in numbers])
        parameters = {name: torch.stack([learned[n].parameters[name] for n in numbers]) for name in model.start}
        found |= zip(numbers, losses_of(model, parameters, group).tolist(), strict=True)
    return [found[n] for n in range(len(queries))]


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
