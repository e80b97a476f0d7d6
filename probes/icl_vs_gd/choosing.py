"""Rates and numbers of steps of everything that is fine-tuned, chosen on tasks apart, or why there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from ...data.errors import TaskError
from ...models.differentiable import Differentiable
from ..measure import Measure, Status, along, missing, without_interval
from .activation_matching import may_be_matched, tuned_matching
from .asked import Asked
from .fine_tuned import Setting, Stepped
from .how import How
from .names import MATCHED, RATE, RULE, STEPS, Rule
from .tuning import ADAM_RATES, Tuned, adam_steps, tuned, tuned_adam


class Absent(NamedTuple):
    """Why nothing was chosen."""

    why: str
    status: Status = "undefined"


Settled = Tuned | Absent
_UNITS = {RATE: "learning rate", STEPS: "step"}


@dataclass(frozen=True)
class Chosen:
    """
    rules:     each rule as it was asked for
    adam:      Adam's steps by the gradients of each rule that has a setting
    matching:  of parameters that are fitted to attention
    """

    rules: Mapping[Rule, Settled]
    adam: Mapping[Rule, Settled]
    matching: Settled

    @property
    def settings(self) -> list[Setting]:
        """Of the rules that have one."""
        found = []
        for rule, own in self.rules.items():
            adam = self.adam.get(rule)
            if isinstance(own, Tuned):
                found.append(Setting(rule, own.chosen, adam.chosen if isinstance(adam, Tuned) else None))
        return found

    @property
    def matched(self) -> Stepped | None:
        """Of parameters that are fitted to attention."""
        return self.matching.chosen if isinstance(self.matching, Tuned) else None

    def measures(self) -> dict[str, Measure]:
        """What was chosen, along rules, Adam's steps and matching; the messages say how."""
        every: dict[str, Settled] = {**self.rules}
        every |= {f"{rule} by Adam": own for rule, own in self.adam.items()}
        every[MATCHED] = self.matching
        return {name: along(RULE, {who: _measure(name, own) for who, own in every.items()}) for name in (RATE, STEPS)}


def choose(model: Differentiable, tasks: Sequence[Asked], how: How, measured: Sequence[Asked]) -> Chosen:
    """On tasks of which no other number is taken; `measured` are the others."""
    rules: dict[Rule, Settled] = {rule: _of_rule(model, tasks, rule, how) for rule in how.rules}
    learned: list[Rule] = [rule for rule, own in rules.items() if isinstance(own, Tuned)]
    adam: dict[Rule, Settled] = {
        rule: _or_why(partial(tuned_adam, model, tasks, rule, ADAM_RATES, adam_steps(max(how.steps))))
        for rule in learned
    }
    return Chosen(rules, adam, _matching(model, tasks, how, measured))


def _of_rule(model: Differentiable, tasks: Sequence[Asked], rule: Rule, how: How) -> Settled:
    if rule == "lcgd" and model.no_cut is not None:
        return Absent(model.no_cut.reason, "not applicable")
    return _or_why(partial(tuned, model, tasks, rule, how.rates, how.steps))


def _matching(model: Differentiable, tasks: Sequence[Asked], how: How, measured: Sequence[Asked]) -> Settled:
    if not how.matching:
        return Absent("matching = false", "not applicable")
    if not all(map(may_be_matched, (*tasks, *measured))):
        return Absent("a label has one query; it takes one to fit, and another to judge by", "not applicable")
    return _or_why(partial(tuned_matching, model, tasks, max(how.steps), ADAM_RATES))


def _or_why(choosing: Callable[[], Tuned]) -> Settled:
    try:
        return choosing()
    except TaskError as error:
        return Absent(str(error))


def _measure(name: str, own: Settled) -> Measure:
    if isinstance(own, Absent):
        return missing(_UNITS[name], own.status, own.why)
    value = own.chosen.rate if name == RATE else own.chosen.steps
    return without_interval(np.array(float(value)), _UNITS[name], message=str(own), no_nulls="a setting")
