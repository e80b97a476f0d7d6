"""What a figure shows and is judged by, as plain values. Without torch and matplotlib."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .judging import Statistic
from .panels import Panel


@dataclass(frozen=True)
class FigureNumbers:
    """Of one figure.

    statistics:  those that exist, by the names of the figure's conditions
    panels:      what is drawn
    lacking:     of a statistic that does not exist, why
    notes:       what a reader has to know of these numbers beside the claim's own note
    """

    statistics: Mapping[str, Statistic]
    panels: tuple[Panel, ...]
    lacking: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
