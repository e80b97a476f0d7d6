"""Made-up measures of few-shot-heads: of one checkpoint, of several steps, of seeds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.probes.few_shot_heads.ablating import Ablated
from mesascope.probes.few_shot_heads.effect_measures import behaviour_measures, effect_measures, total_effect
from mesascope.probes.few_shot_heads.given_measures import given_measures
from mesascope.probes.few_shot_heads.group_measures import ablation_measures, set_effect_measures, size_measure
from mesascope.probes.few_shot_heads.names import (
    GIVEN,
    IN_CONTEXT,
    OWN_PROMPT,
    RULES,
    SHUFFLED,
    TASK_MEAN,
    TOP_OWN,
    TOP_TASK,
    ZERO_SHOT,
    Group,
    Patch,
)
from mesascope.probes.few_shot_heads.patching import Effects
from mesascope.probes.few_shot_heads.verdicts import called_sets, head_verdicts
from mesascope.probes.findings import Findings, Head
from mesascope.probes.measure import Measure, along, without_interval

LEVEL = 0.05
N = 24  # tasks, half of which choose
FV, COPY = (1, 0), (1, 2)
"""The head with an effect by the task mean, and one with an effect by the query's own prompt alone."""


def effects_of(
    strong: Mapping[Head, float], shape: tuple[int, int], rng: np.random.Generator, n: int = N // 2
) -> Effects:
    """Of these heads so large; of the others noise around 0."""
    mean = np.zeros(shape)
    for head, effect in strong.items():
        mean[head] = effect
    noise = 0.01 * rng.normal(size=(4, n, *shape))
    return Effects(mean + noise[0], mean + noise[1], noise[2], noise[3])


def _at(effects: Effects, heads: tuple[Head, ...]) -> Effects:
    return Effects(
        *(np.sum([values[:, layer, head] for layer, head in heads], axis=0) for values in vars(effects).values())
    )


def _ablated(heads: tuple[Head, ...], cost: float, rng: np.random.Generator, n_random: int) -> Ablated:
    n = N // 2
    random = 0.02 * rng.normal(size=(2, n_random, n))
    sets = tuple(((0, number % 2),) * len(heads) for number in range(n_random))
    return Ablated(heads, sets, cost + 0.02 * rng.normal(size=n), cost + 0.02 * rng.normal(size=n), *random)


@cache
def made_up(
    learned: bool = True,
    by_labels: bool = True,
    task: float = 0.3,
    own: float = 0.4,
    cost: float = 0.4,
    given: tuple[Head, ...] | None = None,
    shape: tuple[int, int] = (2, 4),
    rules: int = N,
    n_random: int = 20,
    seed: int = 0,
) -> dict[str, Measure]:
    """One checkpoint.

    learned:    demonstrations raise the accuracy
    by_labels:  shuffled labels do not
    task, own:  the effects of FV and COPY
    cost:       of ablating any set that holds one of them
    """
    rng = np.random.default_rng(seed)
    base = {ZERO_SHOT: 0.5, IN_CONTEXT: 0.95 if learned else 0.5, SHUFFLED: 0.5 if by_labels else 0.95}
    answers = [{way: at + 0.05 * rng.normal(size=N) for way, at in base.items()} for _ in range(2)]
    strong: dict[Patch, dict[Head, float]] = {TASK_MEAN: {FV: task}, OWN_PROMPT: {FV: task, COPY: own}}
    effects = {patch: effects_of(heads, shape, rng) for patch, heads in strong.items()}
    measures = behaviour_measures(answers[0], answers[1], seed)  # type: ignore[arg-type]
    measures["total_effect"] = total_effect(0.5 + 0.01 * rng.normal(size=N // 2), np.zeros(N // 2), seed)
    measures |= effect_measures(effects, LEVEL, seed)
    sets: dict[Group, tuple[Head, ...]] = {**called_sets(measures, LEVEL), TOP_TASK: (FV,), TOP_OWN: (COPY,)}
    if given is not None:
        sets[GIVEN] = given
    full = {name: heads for name, heads in sets.items() if heads}
    ablated = {name: _ablated(heads, cost * bool({FV, COPY} & {*heads}), rng, n_random) for name, heads in full.items()}
    together = {patch: {name: _at(one, heads) for name, heads in full.items()} for patch, one in effects.items()}
    measures["group_size"] = size_measure(sets, {GIVEN: "named by the user"} if given else {})
    measures |= set_effect_measures(together, sets, seed) | ablation_measures(ablated, sets, seed)
    measures |= given_measures(effects, sets, shape, seed)
    measures[RULES] = without_interval(np.array(float(rules)), "rule", message="a count", no_nulls="a count")
    return measures


def findings_of(measures: Mapping[str, Measure]) -> Findings:
    single = not any("step" in measure.axes for measure in measures.values())
    last = measures if single else {n: m.at(step=-1) if "step" in m.axes else m for n, m in measures.items()}
    return Findings(measures, {}, {}, head_verdicts(last, LEVEL))


def over_steps(**settings: Any) -> dict[str, Measure]:
    """Three steps: nothing is learned at the first; no head is called before the last."""
    steps = {
        0: made_up(learned=False, task=0.0, own=0.0, cost=0.0, **settings),
        1000: made_up(task=0.0, own=0.2, cost=0.2, **settings),
        4000: made_up(**settings),
    }
    names = steps[4000]
    return {name: along("step", {step: measures[name] for step, measures in steps.items()}) for name in names}


def over_seeds(n: int = 5, **settings: Any) -> dict[str, Measure]:
    """The mean over so many checkpoints."""
    ones = [made_up(seed=seed, **settings) for seed in range(n)]
    return {name: mean_over("seed", [measures[name] for measures in ones]) for name in ones[0]}
