"""The order of work: rates and steps on tasks apart, then all passes of the other tasks, some tasks at a time, then
untrained models, then means over tasks. What a pass shows is dropped as soon as the numbers of its tasks are formed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from ...models.subject import NotApplicable
from ..findings import Findings
from ..measure import Measure, without_interval
from ..parts import Parts
from ..probe import Progress
from .answered import Answered, answered
from .answers import compared_tokens
from .asked import Asked
from .behaviour_measures import measures_of
from .choosing import Chosen, choose
from .facts import chance_measure
from .given import Given
from .how import How
from .inside import Numbers, of_runs
from .inside_measures import inside_measures
from .names import PASSES, Rule
from .numbers import flat_arrays, together
from .orders import Orders
from .passes import Counted, Passes
from .patch_measures import patch_measures
from .patches import Numbers as PatchNumbers
from .patches import patch_numbers, patching_untrained
from .runs import at_once, runs_of
from .untrained import Null, beside_untrained, nulls, of_null

Made = TypeVar("Made")
TUNED, RAN, COMPARED = 0.15, 0.65, 0.95
"""How much of the whole is finished after each stage, about."""


@dataclass(frozen=True)
class Work:
    """A model, its tasks, and what is asked of them.

    patching:  passes with other matrices of its MLPs, or why there are none
    orders:    the demonstrations of each task in other orders
    kept:      parts of the measurement that are finished
    """

    model: Counted
    patching: Counted | NotApplicable
    given: Given
    orders: Sequence[Orders]
    how: How
    facts: Sequence[str]
    seed: int
    kept: Parts

    def part(self, name: str, make: Callable[[], Made]) -> Made:
        """A part of the measurement, found or made. What was passed for it counts either way."""
        passes = self.model.passes
        before = replace(passes)

        def counted() -> tuple[Made, Passes]:
            made = make()
            return made, passes - before

        made, spent = self.kept.made(name, counted)
        passes.become(before + spent)
        return made


@dataclass(frozen=True)
class Untrained:
    """Models of the same shape with fresh weights.

    nulls:    each tuned by itself
    patches:  of those whose context is one
    why:      the reason where there are none
    """

    nulls: Sequence[Null]
    patches: Sequence[PatchNumbers]
    why: str


def findings(work: Work, progress: Progress) -> Findings:
    """Of one model."""
    given, seed = work.given, work.seed
    top = compared_tokens(work.how.top, work.model.subject.shape.d_vocab)
    progress("learning rates", 0.0)
    chosen = work.part("settings", lambda: choose(work.model, given.tuning, work.how, given.asked))
    answers, inside = _passed(work, chosen, top, progress)
    patches = work.patching if isinstance(work.patching, NotApplicable) else patch_numbers(work.patching, given.asked)
    progress("untrained models", RAN)
    untrained = _untrained(work, chosen)
    progress("statistics", COMPARED)
    measures = measures_of(answers, seed)
    measures |= beside_untrained(inside_measures(inside, seed), untrained.nulls, untrained.why)
    measures |= patch_measures(patches, seed, untrained.patches) | chosen.measures()
    measures |= chance_measure([len(task.labels) for task in given.asked], work.facts, seed)
    measures[PASSES] = _passes_measure(work.model.passes, len(given.asked))
    arrays = answers.arrays() | flat_arrays(_by_measure(inside))
    arrays |= {} if isinstance(patches, NotApplicable) else flat_arrays(patches)
    progress("done", 1.0)
    return Findings(measures, arrays, given.recipes)


def _passed(work: Work, chosen: Chosen, top: int | None, progress: Progress) -> tuple[Answered, dict[Rule, Numbers]]:
    """What is read off all passes of the tasks that are measured, some tasks at a time."""
    tasks = work.given.asked
    answers: list[Answered] = []
    inside: list[dict[Rule, Numbers]] = []
    for first, some in at_once(work.model, tasks):
        of_some = work.part(f"tasks-{first}", partial(_of_some, work, chosen, top, first, some))
        answers.append(of_some[0])
        inside.append(of_some[1])
        progress("fine-tuning", TUNED + (RAN - TUNED) * (first + len(some)) / len(tasks))
    return Answered.joined(answers), together(inside)


def _of_some(
    work: Work, chosen: Chosen, top: int | None, first: int, some: Sequence[Asked]
) -> tuple[Answered, dict[Rule, Numbers]]:
    """Of consecutive tasks, of which `first` is the number of the first."""
    settings = chosen.settings
    passed = runs_of(work.model, some, settings, work.seed, chosen.matched, first)
    answers = answered(work.model, passed, work.given.asked, work.orders, settings, top)
    return answers, {setting.rule: of_runs(passed, setting.rule, work.seed) for setting in settings}


def _untrained(work: Work, chosen: Chosen) -> Untrained:
    """One model after the other: each may lie where the one before it lay."""
    given, how = work.given, work.how
    rules: list[Rule] = [setting.rule for setting in chosen.settings]
    found: list[Null] = []
    patches: list[PatchNumbers] = []
    for number, null in enumerate(nulls(work.model, how.untrained, work.seed)):
        if isinstance(null, NotApplicable):
            return Untrained(found, patches, null.reason)
        of_one = partial(of_null, null, given.asked, given.tuning, rules, how.rates, how.steps)
        found.append(work.part(f"untrained-{number}", of_one))
        if not isinstance(work.patching, NotApplicable):
            patches.append(patch_numbers(patching_untrained(work.patching, null.subject), given.asked))
    return Untrained(found, patches, "" if how.untrained else "untrained = 0")


def _by_measure(inside: Mapping[Rule, Numbers]) -> dict[str, dict[str, Mapping[str, np.ndarray]]]:
    """As measures are ordered: names, then rules."""
    names = dict.fromkeys(name for own in inside.values() for name in own)
    return {name: {rule: own[name] for rule, own in inside.items()} for name in names}


def _passes_measure(passes: Passes, n_tasks: int) -> Measure:
    counts = np.array([passes.forward, passes.backward], dtype=np.float64)
    coords = {"kind": ("forward", "backward")}
    return without_interval(counts, "prompt", ("kind",), coords, message=passes.said(n_tasks), no_nulls="a count")
