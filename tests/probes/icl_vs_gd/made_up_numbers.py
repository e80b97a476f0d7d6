"""Measures of tasks that nobody measured, around levels: of a model that learns in context, unless others are given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.probes.icl_vs_gd.behaviour_measures import behaviour_measures
from mesascope.probes.icl_vs_gd.facts import chance_measure
from mesascope.probes.icl_vs_gd.inside_measures import inside_measures
from mesascope.probes.measure import Measure, along, missing, without_interval

ACCURACY = {"zero-shot": 0.5, "in context": 0.95, "in context, shuffled labels": 0.6, "gd": 0.9, "lcgd": 0.85}
NONE = {"in context": 0.5, "in context, shuffled labels": 0.5}
"""Of a model that does not learn in context."""
APART = {"in context": 0.15, "half run": 0.1, "third rate": 0.3, "adam": 0.25, "other": 0.9}
CONTRAST = {"in context": 0.1, "in context, half run": 0.1, "other": 0.0, "random weights": 0.01}
CONTRAST |= {"half run": 0.9, "third rate": 0.6, "adam": 0.4}
AOU = {"tuned": 0.7, "shuffled": 0.65, "other": 0.5, "random weights": 0.1, "endpoint": 0.52}
RIVALS = {"label frequencies": 0.5, "copy": 0.8}
ORDER = {"in context": {"clean": 0.01, "conflicting": 0.4}}
RULES = ("gd", "lcgd")
MATCHED = "activation matching"
_KNOWN: dict[str, dict[str, Measure]] = {}
TUNED = "rate 1, 64 steps (loss of queries in 8 tasks 0.02)"


def made(**how: Any) -> dict[str, Measure]:
    """Made once for each set of arguments, which are those of `_made`."""
    key = repr(sorted(how.items()))
    if key not in _KNOWN:
        _KNOWN[key] = _made(**how)
    return dict(_KNOWN[key])


def _made(
    n: int = 40,
    seed: int = 0,
    rules: Sequence[str] = RULES,
    facts: Sequence[str] = (),
    without: Sequence[str] = (),
    tuned: str = TUNED,
    why: str = "no rate can be chosen",
    matching: bool = True,
    **levels: Mapping[str, Any],
) -> dict[str, Measure]:
    """
    rules:    that were compared; of the others `why` says why not
    without:  what was not compared: "other", "adam"
    levels:   other levels of accuracy, apart, contrast, similarity, rivals, order
    """
    rng = np.random.default_rng(seed)

    def tasks(level: float) -> np.ndarray:
        return level + (rng.normal(0, 0.02, n) if level else np.zeros(n))

    def layers(level: float) -> np.ndarray:
        return level + rng.normal(0, 0.03, (n, 2))

    def some(name: str, standard: Mapping[str, Any]) -> dict[str, Any]:
        return {what: level for what, level in (dict(standard) | dict(levels.get(name, {}))).items()
                if what not in without}  # fmt: skip

    accuracy = {
        who: tasks(level) for who, level in some("accuracy", ACCURACY).items() if who not in set(RULES) - {*rules}
    }
    apart = {rule: {what: tasks(level) for what, level in some("apart", APART).items()} for rule in rules}
    rivals = {what: tasks(level) for what, level in some("rivals", RIVALS).items() if level is not None}
    order = {way: {what: tasks(level) for what, level in own.items()} for way, own in some("order", ORDER).items()}
    inside: dict[Any, Any] = {
        rule: {
            "contrast": {what: layers(level) for what, level in some("contrast", CONTRAST).items()},
            "output_similarity": {what: layers(level) for what, level in some("similarity", AOU).items()},
            "activation_distance": {"activation matching": layers(0.05)} if matching else {},
        }
        for rule in rules
    }
    found: dict[str, Measure] = behaviour_measures(accuracy, apart, rivals, order, seed=seed)  # type: ignore[arg-type]
    found |= inside_measures(inside, seed) | chance_measure([2] * n, facts, seed)
    passes = without_interval(np.array([9.0, 4.0]), "prompt", ("kind",), {"kind": ("forward", "backward")},
                              message="9 prompts were passed", no_nulls="a count")  # fmt: skip
    return found | {"learning_rate": _rates(rules, tuned, why, matching), "passes": passes}


def _rates(rules: Sequence[str], tuned: str, why: str, matching: bool) -> Measure:
    """What was chosen, or why nothing was."""
    lines = {rule: f"{rule}: {tuned}" if rule in rules else None for rule in RULES}
    reasons = dict.fromkeys(RULES, why) | {MATCHED: "matching = false"}
    lines[MATCHED] = f"{MATCHED}: rate 0.01" if matching else None
    return along(
        "rule",
        {
            who: missing("learning rate", "undefined", reasons[who])
            if line is None
            else without_interval(np.array(0.01), "learning rate", message=line, no_nulls="a setting")
            for who, line in lines.items()
        },
    )


def over_seeds(*members: Mapping[str, Measure]) -> dict[str, Measure]:
    """As several seeds of one recipe are averaged."""
    return {name: mean_over("seed", [member.get(name) for member in members]) for name in members[0]}


def over_steps(by_step: Mapping[int, Mapping[str, Measure]]) -> dict[str, Measure]:
    """As the steps of one training are put together."""
    steps = tuple(by_step)
    return {name: along_steps(steps, [by_step[step].get(name) for step in steps]) for name in by_step[steps[0]]}
