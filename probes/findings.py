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


Cell = str | float | int | None


@dataclass(frozen=True)
class Examples:
    """Rows for people to look at, of what no measure holds: the longest tokens with their context, say. The most
    telling come first.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        if not all(isinstance(name, str) for name in self.columns):
            raise ValueError(f"columns {self.columns}: expected names")
        for row in self.rows:
            if len(row) != len(self.columns) or not all(isinstance(cell, str | float | int | None) for cell in row):
                raise ValueError(f"row {row!r:.80}: expected a text or a number for each of {', '.join(self.columns)}")


@dataclass(frozen=True)
class Findings:
    """What one probe measured on one subject.

    measures:  the numbers, by metric name
    arrays:    raw values behind them, e.g. one a task, by name
    recipes:   the inputs, by the split they served ("tuning", "nulls", "evaluation")
    heads:     a verdict for each head, where the probe gives one: {"L1H0": "induction", …}
    examples:  rows of texts and numbers to look at, by name
    """

    measures: Mapping[str, Measure]
    arrays: Mapping[str, np.ndarray]
    recipes: Mapping[str, Recipe]
    heads: Mapping[str, str] = field(default_factory=dict)
    examples: Mapping[str, Examples] = field(default_factory=dict)
