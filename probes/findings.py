"""Findings: what a probe leaves, as plain data. NumPy and text, without torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..data.recipe import Recipe
from .measure import Measure

Head = tuple[int, int]
"""(layer, head) of an attention head, both counted from 0."""


def head_name(head: Head) -> str:
    """How reports and figures write a head: L3H5 is head 5 of layer 3."""
    return f"L{head[0]}H{head[1]}"


def head_from(name: str) -> Head:
    """The head that a report calls L3H5. ValueError for anything else."""
    found = re.fullmatch(r"L(\d+)H(\d+)", name)
    if found is None:
        raise ValueError(f"{name!r} is no head; expected L<layer>H<head>, such as L3H5")
    return int(found[1]), int(found[2])


@dataclass(frozen=True)
class Findings:
    """What one probe measured on one subject.

    measures:  the numbers, by metric name
    arrays:    raw values behind them, e.g. one a task, by name
    recipes:   the inputs, by the split they served ("tuning", "nulls", "evaluation")
    heads:     a verdict for each head, where the probe gives one: {"L1H0": "induction", …}
    """

    measures: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray]
    recipes: Mapping[str, Recipe]
    heads: Mapping[str, str] = field(default_factory=dict)
