"""What a user asks of the comparison, beside the tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .names import Rule

Parameters = Literal["attention", "all"]


@dataclass(frozen=True)
class How:
    """As the settings of the probe say it."""

    rules: tuple[Rule, ...]
    parameters: Parameters
    rates: tuple[float, ...]
    steps: tuple[int, ...]
    orders: int
    top: int | None
    untrained: int
    matching: bool
