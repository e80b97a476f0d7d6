"""Models of the same shape with fresh weights, as nulls: each is tuned by itself, and measured on the same tasks.

Of such a model there is what the two measures of attention need: outputs without demonstrations, in context with true
and with swapped labels, and after fine-tuning on either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.errors import TaskError
from ...data.recipe import named_seed
from ...models.differentiable import Differentiable, differentiable
from ...models.subject import NotApplicable
from ..measure import Measure
from .asked import Asked
from .fine_tuned import PAIR, STEPPING
from .inside import PerLayer, by_task
from .inside_measures import Known
from .names import AOU, BETWEEN, CONTRAST, IN_CONTEXT, RULE, UNTRAINED, Labels, Rule
from .runs import at_once
from .seen import Seen, seen
from .similarity import label_swap_contrast, output_similarity
from .tuning import Tuned, tuned

OF = {CONTRAST: IN_CONTEXT, AOU: "tuned"}
"""What is compared, by measure."""


@dataclass(frozen=True, eq=False)
class Null:
    """Of one untrained model.

    numbers:  by rule and measure; of the rules that have a setting
    tuned:    how those came by their settings
    reasons:  why a rule has none
    """

    numbers: Mapping[Rule, Mapping[str, PerLayer]]
    tuned: Mapping[Rule, Tuned]
    reasons: Mapping[Rule, str]


def nulls(model: Differentiable, n: int, seed: int) -> Iterator[Differentiable | NotApplicable]:
    """Untrained models of the same shape, one at a time: each may lie where the one before it lay. After a model that
    cannot be drawn there are no others.
    """
    draw = model.subject.untrained_models()
    for number in range(n):
        subject = draw(named_seed(seed, "untrained", number))
        if isinstance(subject, NotApplicable):
            yield subject
            return
        found = differentiable(subject, model.parameters, model.least)
        yield found if isinstance(found, NotApplicable) else replace(model, subject=subject, places=found.places)


def of_null(
    model: Differentiable,
    tasks: Sequence[Asked],
    tuning: Sequence[Asked],
    rules: Sequence[Rule],
    rates: Sequence[float],
    steps: Sequence[int],
) -> Null:
    """Of an untrained model, on the tasks that the trained one was tuned and measured on."""
    settings: dict[Rule, Tuned] = {}
    reasons: dict[Rule, str] = {}
    for rule in rules:
        try:
            settings[rule] = tuned(model, tuning, rule, rates, steps)
        except TaskError as error:
            reasons[rule] = str(error)
    parts = [_numbers(model, some, settings) for _, some in at_once(model, tasks)]
    numbers: dict[Rule, Mapping[str, PerLayer]] = {
        rule: {name: np.concatenate([part[rule][name] for part in parts]) for name in OF} for rule in settings
    }
    return Null(numbers, settings, reasons)


def _numbers(
    model: Differentiable, tasks: Sequence[Asked], settings: Mapping[Rule, Tuned]
) -> dict[Rule, dict[str, PerLayer]]:
    own, prompts = [task.own for task in tasks], [task.zero_shot for task in tasks]
    zero_shot = seen(model, prompts, own)
    icl = [seen(model, [task.given[labels].in_context for task in tasks], own) for labels in PAIR]
    found: dict[Rule, dict[str, PerLayer]] = {}
    for rule, setting in settings.items():
        ft = [_learned(model, tasks, rule, setting, labels) for labels in PAIR]
        found[rule] = {
            CONTRAST: by_task(label_swap_contrast, *icl, *ft),
            AOU: by_task(output_similarity, icl[0], ft[0], zero_shot),
        }
    return found


def _learned(model: Differentiable, tasks: Sequence[Asked], rule: Rule, setting: Tuned, labels: Labels) -> list[Seen]:
    demos = [task.given[labels].demos for task in tasks]
    learned = STEPPING[rule](model, demos, setting.chosen.rate, setting.chosen.steps)
    parameters = [one.parameters for one in learned]
    return seen(model, [task.zero_shot for task in tasks], [task.own for task in tasks], parameters)


def beside_untrained(measures: Mapping[str, Measure], nulls: Sequence[Null], why: str) -> dict[str, Measure]:
    """The measures of attention, with what untrained models have beside what is compared in context.

    why:  the reason if none could be drawn; empty where a rule's own reasons say it
    """
    found = dict(measures)
    said = why or "; ".join(dict.fromkeys(reason for null in nulls for reason in null.reasons.values()))
    for name, what in OF.items():
        for measured in (name, f"{name}_mean"):
            samples = [_cells(measures[measured], name, what, null) for null in nulls]
            known = [one for one in samples if np.isfinite(one).any()]
            if known:
                found[measured] = replace(measures[measured], nulls={UNTRAINED: np.stack(known)})
            elif said and measures[measured].status == "ok":
                found[measured] = replace(measures[measured], no_nulls=f"no untrained model: {said}")
    return found


def _cells(measure: Measure, name: str, what: str, null: Null) -> np.ndarray:
    """Of one untrained model, shaped as the measure; NaN for everything else that is compared."""
    found = np.full(measure.values.shape, np.nan)
    if RULE not in measure.axes or BETWEEN not in measure.axes:
        return found
    for place, rule in enumerate(measure.labels(RULE)):
        known = Known.of(name, {what: null.numbers[rule][name]}) if rule in null.numbers else None
        if known is None or what not in measure.labels(BETWEEN):
            continue
        own = known.by_layer(what) if measure.values.ndim == 3 else known.mean(what)
        found[place, measure.labels(BETWEEN).index(what)] = own.mean(axis=0)
    return found
