"""Findings: what a probe leaves, as plain data. NumPy and text, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ..data.recipe import Recipe
from .measure import Measure


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
