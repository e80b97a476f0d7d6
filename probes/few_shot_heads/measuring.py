"""The order of work: read the tasks, patch heads on one half of them, ablate sets of heads on the other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from ...data.few_shot.tasks import FewShotTasks
from ...models.language_model import LanguageModel
from ..findings import Examples, Findings, Head
from ..measure import Measure, without_interval
from ..probe import Progress, silent
from .ablating import Ablated, ablated
from .choosing import size_of_sets, strongest
from .effect_measures import behaviour_measures, effect_measures, total_effect
from .effects import mean_output
from .given_measures import given_measures
from .group_measures import ablation_measures, set_effect_measures, size_measure
from .how import How
from .names import (
    CHOOSING,
    DROP,
    DROP_OF_PROBABILITY,
    EFFECT,
    EXCESS,
    GIVEN,
    IN_CONTEXT,
    JUDGING,
    PASSES,
    PURPOSE,
    PURPOSES,
    RULES,
    SHUFFLED,
    SIZE,
    TOP,
    TOTAL,
    WAYS,
    Group,
    Patch,
    Way,
)
from .passes import Passes
from .patching import Effects, ReadHalf, head_effects, set_effects
from .rows import Answers
from .shown import Reader, Shown
from .verdicts import called_sets, head_verdicts


def few_shot_findings(
    subject: LanguageModel,
    tasks: FewShotTasks,
    read: Reader,
    how: How,
    seed: int,
    batch_size: int,
    progress: Progress = silent,
) -> Findings:
    """All that the probe measures.

    read:  how the model reads tasks
    """
    if how.given is not None:
        how.given.check(subject)
    passes, shape = Passes(subject, batch_size), (subject.shape.n_layers, subject.shape.n_heads)
    shown = Shown.of(tasks.tasks, read, seed)
    choosing, judging = (ReadHalf.of(passes, half) for half in (shown.choosing, shown.judging))
    progress("one head replaced", 0.1)
    effects = head_effects(passes, shown.choosing, choosing)
    progress("sets of heads replaced", 0.7)
    behaviour = _behaviour(shown, choosing.answers, judging.answers)
    measures = {
        **behaviour_measures(*behaviour, seed),
        TOTAL: _total(shown, choosing.answers, seed),
        **effect_measures(effects, how.level, seed),
    }
    sets = _sets(measures, effects, how, shape)
    mean = mean_output(choosing.shuffled, shown.choosing.ways[SHUFFLED])
    without = ablated(passes, shown.judging, judging.answers[IN_CONTEXT], mean, sets, how.random_sets, seed)
    together = set_effects(passes, shown.judging, judging, sets)
    measures |= {
        SIZE: size_measure(sets, {} if how.given is None else {GIVEN: how.given.note(subject)}),
        **set_effect_measures(together, sets, seed),
        **ablation_measures(without, sets, seed),
        **given_measures(effects, sets, shape, seed),
        RULES: _rules(tasks),
        PASSES: _passes(passes),
    }
    arrays = _arrays(behaviour, effects, without)
    heads = head_verdicts(measures, how.level)
    return Findings(measures, arrays, {"evaluation": tasks.recipe}, heads, {"halves": _halves(shown, tasks)})


def _behaviour(
    shown: Shown, choosing: Mapping[Way, Answers], judging: Mapping[Way, Answers]
) -> tuple[dict[Way, Float[np.ndarray, " task"]], dict[Way, Float[np.ndarray, " task"]]]:
    """Accuracy, and the probability of the right label, of all tasks in their order."""
    order = np.argsort([*shown.halves.choosing, *shown.halves.judging])
    found: tuple[dict[Way, np.ndarray], dict[Way, np.ndarray]] = ({}, {})
    for way in WAYS:
        halves = ((shown.choosing, choosing[way]), (shown.judging, judging[way]))
        accuracy = [half.ways[way].by_task(answers.accuracy) for half, answers in halves]
        probability = [half.ways[way].by_task(answers.probability) for half, answers in halves]
        found[0][way], found[1][way] = np.concatenate(accuracy)[order], np.concatenate(probability)[order]
    return found


def _total(shown: Shown, answers: Mapping[Way, Answers], seed: int) -> Measure:
    rows = shown.choosing.ways
    clean, shuffled = (rows[way].by_task(answers[way].probability) for way in (IN_CONTEXT, SHUFFLED))
    return total_effect(clean, shuffled, seed)


def _sets(
    measures: Mapping[str, Measure], effects: Mapping[Patch, Effects], how: How, shape: tuple[int, int]
) -> dict[Group, tuple[Head, ...]]:
    """Heads that are called, the strongest, and the given ones."""
    n = size_of_sets(how.n_heads, *shape)
    sets = called_sets(measures, how.level)
    for patch, one in effects.items():
        sets[TOP[patch]] = strongest(one.excess.mean(axis=0), n)
    if how.given is not None:
        sets[GIVEN] = how.given.heads
    return sets


def _rules(tasks: FewShotTasks) -> Measure:
    n = len({task.rule for task in tasks})
    words = f"rules of {len(tasks)} tasks"
    return without_interval(np.array(float(n)), "rule", message=words, no_nulls="a count")


def _passes(passes: Passes) -> Measure:
    counts = np.array([passes.spent[purpose] for purpose in PURPOSES], dtype=np.float64)
    words = f"{counts.sum():,.0f} forward passes of one prompt each"
    return without_interval(counts, "pass", (PURPOSE,), {PURPOSE: PURPOSES}, message=words, no_nulls="a count")


def _arrays(
    behaviour: tuple[Mapping[Way, np.ndarray], Mapping[Way, np.ndarray]],
    effects: Mapping[Patch, Effects],
    without: Mapping[Group, Ablated],
) -> dict[str, np.ndarray]:
    """Task by task, under the names of measures."""
    arrays = {
        f"{name}_{way}": values
        for name, held in zip(("accuracy", "right_probability"), behaviour, strict=True)
        for way, values in held.items()
    }
    for patch, one in effects.items():
        arrays |= {f"{EFFECT}_{patch}": one.probability, f"{EXCESS}_{patch}": one.excess}
    for group, one in without.items():
        arrays |= {f"{DROP}_{group}": one.accuracy, f"{DROP_OF_PROBABILITY}_{group}": one.probability}
    return arrays


def _halves(shown: Shown, tasks: FewShotTasks) -> Examples:
    """Which tasks chose the heads, and which judged them."""
    places = {CHOOSING: shown.halves.choosing, JUDGING: shown.halves.judging}
    rows = [(half, task, tasks.tasks[task].name) for half, of_half in places.items() for task in of_half]
    return Examples(("half", "number", "task"), tuple(rows))
