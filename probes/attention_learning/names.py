"""What is compared, in which order, and what the arrays behind it are called."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

PAIR, QUANTITY, ORDER, OUTCOME = "pair", "quantity", "order", "outcome"
"""Axes."""
SHUFFLED, OTHER_TARGETS, CHANCE = "shuffled", "other targets", "chance"
"""Nulls of an agreement, and of an accuracy."""


@dataclass(frozen=True)
class Pair:
    """Two numbers for each source of a target, u and v. Their agreement is how often v is among the largest where u is
    largest.

    name:   in measures
    first, second:  u and v, in sentences
    label:  in figures
    """

    name: str
    first: str
    second: str
    label: str

    @property
    def title(self) -> str:
        return f"{self.first} and {self.second}"


_TWIN = "the twin's beta"
BETA = Pair("beta", "attention", "beta", r"attention $\to$ β")
UNIFORM = Pair("uniform", "attention", _TWIN, r"attention $\to$ twin's β")
TWIN_PROXY = Pair("proxy", _TWIN, "co-occurrence", r"twin's β $\to$ co-occurrence")
OWN_PROXY = Pair("own_proxy", "beta", "co-occurrence", r"β $\to$ co-occurrence")
SALIENCY = Pair("saliency", "saliency", _TWIN, r"saliency $\to$ twin's β")
OWN_SALIENCY = Pair("own_saliency", "saliency", "beta", r"saliency $\to$ β")
PAIRS: Mapping[str, Pair] = {pair.name: pair for pair in (BETA, UNIFORM, TWIN_PROXY, OWN_PROXY, SALIENCY, OWN_SALIENCY)}
"""In the order of figures."""

TASK, ATTENTION, KTIW = "task", "attention", "ktiw"
QUANTITIES: Mapping[str, str] = {KTIW: "KTIW", ATTENTION: "attention", TASK: "task"}
"""What is right or wrong of each target: `ktiw_accuracy`, `attention_accuracy`, `task_accuracy`."""

KTIW_FIRST, ATTENTION_FIRST, TOGETHER, NEITHER = "ktiw first", "attention first", "same checkpoint", "neither"
ORDERS = (KTIW_FIRST, ATTENTION_FIRST, TOGETHER, NEITHER)

BY_ATTENTION, ANTI_ATTENTION, OTHERWISE, NOT_LEARNED = "by attention", "anti-attention", "otherwise", "not learned"
OUTCOMES = (BY_ATTENTION, ANTI_ATTENTION, OTHERWISE, NOT_LEARNED)

FOLLOWS, AGAINST = "follows beta", "against beta"
"""Verdicts of heads."""

ATTENTION_ARRAY, PUSH_ARRAY = "attention", "push"
"""Arrays that checkpoints are compared by: [sequence, target, source] of a copy model, [sequence, layer, head, query,
key] of a language model; NaN where a query does not attend to a key."""
ONE_CHECKPOINT = {
    "agreement_push": "one step: the push is compared with how attention changes until a later one",
    "first_crossing": "one step: when an accuracy passes one half takes several steps of a training",
    "ktiw_lead": "one step: which accuracy passes one half first takes several steps of a training",
}
"""Why checkpoints of a single step have none of these measures."""
INPUTS = "evaluation"
"""The split whose digest says whether two checkpoints read the same inputs."""
HALF = 0.5
"""An accuracy that passes it has crossed."""


def map_name(seed: int | None, step: int) -> str:
    """The array [target, source] of a checkpoint's mean attention, in a report over several steps."""
    return f"map_step{step}" if seed is None else f"map_seed{seed}_step{step}"


def mapped(
    arrays: Mapping[str, np.ndarray],
) -> dict[tuple[int | None, int], Float[np.ndarray, "target source"]]:
    """Every such array, by seed and step, in this order."""
    found = {name: re.fullmatch(r"map_(?:seed(\d+)_)?step(\d+)", name) for name in arrays}
    maps = {
        (None if held[1] is None else int(held[1]), int(held[2])): arrays[name]
        for name, held in found.items()
        if held is not None
    }
    return {place: maps[place] for place in sorted(maps, key=lambda at: (-1 if at[0] is None else at[0], at[1]))}
