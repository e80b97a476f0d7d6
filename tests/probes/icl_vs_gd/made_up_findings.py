"""Findings that nobody measured, of models of any number of layers, for the figures."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from mesascope.models.subject import NotApplicable
from mesascope.probes.findings import Findings
from mesascope.probes.icl_vs_gd.inside_measures import inside_measures
from mesascope.probes.icl_vs_gd.patch_measures import patch_measures
from mesascope.probes.icl_vs_gd.untrained import Null, beside_untrained
from mesascope.probes.measure import Measure, without_interval

from .made_up_numbers import AOU, CONTRAST, RULES, made, over_seeds, over_steps

N = 12
STEPS = (0, 500, 1000, 4000)
SIMILARITIES = AOU | {"halves of demonstrations": 0.9, "activation matching": 0.95, "zero-mean direction": 0.0}
CONTRASTS = CONTRAST | {"activation matching": 0.8}
APART = {"another order": 0.01, "activation matching": 0.05}
ORDER = {"in context": {"clean": 0.01, "conflicting": 0.4}, "sgd": {"clean": 0.1, "conflicting": 0.3}}
RIVALS = {"nearest demonstration": 0.02, "last demonstration": 0.5}
KINDS: dict[str, dict[str, Any]] = {
    "two layers": {},
    "one layer": {"layers": 1},
    "12 layers": {"layers": 12},
    "48 layers": {"layers": 48},
    "three rules": {"rules": (*RULES, "sgd")},
    "one rule": {"rules": ("gd",), "without": ("other", "adam", "activation matching"), "untrained": 0},
    "no rule": {"rules": (), "patch": False},
    "seeds": {"seeds": 3},
    "steps": {"steps": STEPS},
    "seeds over steps": {"seeds": 3, "steps": STEPS},
}


@cache
def findings(kind: str) -> Findings:
    return Findings(measures(**KINDS[kind]), {}, {})


def measures(seeds: int = 1, steps: tuple[int, ...] = (), **how: Any) -> dict[str, Measure]:
    """Over steps, contexts help from step 1000 on."""
    if not steps:
        members = [of_one(seed, **how) for seed in range(seeds)]
        return members[0] if seeds == 1 else over_seeds(*members)
    levels = {step: {} if step >= 1000 else {"in context": 0.5} for step in steps}
    by_step = {step: measures(seeds, accuracy=levels[step], **how) for step in steps}
    onset = without_interval(np.array([500.0, 1000.0]), "training step", ("bound",), message="made up", no_nulls="none")
    return over_steps(by_step) | {"in_context_onset": onset}


def of_one(
    seed: int = 0,
    layers: int = 2,
    rules: tuple[str, ...] = RULES,
    without: tuple[str, ...] = (),
    untrained: int = 2,
    patch: bool = True,
    accuracy: dict[str, float] | None = None,
) -> dict[str, Measure]:
    """A model of these layers, with the rules that could be tuned."""
    rng = np.random.default_rng(seed)

    def by_layer(level: float) -> np.ndarray:
        return level + rng.normal(0, 0.05, (N, layers))

    def those(levels: dict[str, float]) -> dict[str, np.ndarray]:
        return {what: by_layer(level) for what, level in levels.items() if what not in without}

    more = {"sgd": 0.9, "activation matching": 0.9} if "sgd" in rules else {"activation matching": 0.9}
    found = made(n=N, seed=seed, rules=rules, without=without, accuracy=more | (accuracy or {}),
                 apart=APART, rivals=RIVALS, order=ORDER if "sgd" in rules else {})  # fmt: skip
    inside: dict[Any, Any] = {
        rule: {"contrast": those(CONTRASTS), "output_similarity": those(SIMILARITIES)} for rule in rules
    }
    nulls = [Null({rule: {"contrast": by_layer(0.0), "output_similarity": by_layer(0.4)} for rule in inside}, {}, {})
             for _ in range(untrained)]  # fmt: skip
    found |= beside_untrained(inside_measures(inside, seed), nulls, "" if untrained else "untrained = 0")
    labels = {"true labels": 0.05, "shuffled labels": 0.04, "other": 0.0}
    patches = {"patch_size": by_layer(0.3), "patch_overlap": by_layer(0.8), "patch_along_gradient": those(labels)}
    return found | patch_measures(patches if patch else NotApplicable("this model has no MLP"), seed)
