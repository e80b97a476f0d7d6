"""All numbers of answers, each of one task, by the names of measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...models.differentiable import Differentiable
from .answers import Numbers, of_rule, of_ways, recoveries
from .asked import Asked
from .fine_tuned import Setting
from .names import ANOTHER_ORDER, ORDER, RECOVERED, RECOVERED_NULL
from .numbers import Named, flat_arrays, together
from .orders import Orders, of_orders
from .plain_rivals import of_rivals
from .runs import Runs


@dataclass(frozen=True, eq=False)
class Answered:
    """Of consecutive tasks.

    numbers:  by measure, and by what answers or by rival; distances and likenesses by measure, rule and what is
              compared; of orders by what answers, and by whether demonstrations agree
    """

    numbers: Named

    @classmethod
    def joined(cls, parts: Sequence[Answered]) -> Answered:
        """Of all tasks."""
        return cls(together([part.numbers for part in parts]))

    def arrays(self) -> dict[str, np.ndarray]:
        """Each under a name of its own."""
        return flat_arrays(self.numbers)


def answered(
    model: Differentiable,
    runs: Runs,
    tasks: Sequence[Asked],
    orders: Sequence[Orders],
    settings: Sequence[Setting],
    top: int | None,
) -> Answered:
    """Of the tasks of these runs, among all tasks.

    orders:  of all tasks
    top:     how many most probable tokens are compared
    """
    chosen = slice(runs.first, runs.first + len(runs))
    tasks, orders = tasks[chosen], orders[chosen]
    sensitivities, common = of_orders(model, tasks, orders, runs, settings, top)
    found: dict[str, Any] = {**of_ways(runs, tasks), **of_rivals(model, tasks, runs), ORDER: sensitivities}
    found[RECOVERED], found[RECOVERED_NULL] = recoveries(runs, tasks)
    for rule in runs.fine_tuned:
        for name, numbers in of_rule(runs, rule, top).items():
            own: Numbers = numbers | ({ANOTHER_ORDER: common[name]} if name in common else {})
            found.setdefault(name, {})[rule] = own
    return Answered(found)
