"""Which measures describe one attention head: the columns of a report's table of heads.

A probe says so in the module `heads` of its package, as `COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NO_VERDICT = ("", "none")
"""What a probe calls a head of which it has nothing to say."""


@dataclass(frozen=True)
class HeadColumn:
    """One number a head.

    name:     of the column in `report.heads_frame()`
    measure:  of what; its axes are (layer, head) once the labels are selected
    labels:   one label along each other axis: {"replacement": "zero"}
    words:    the heading in tables for people; by default the name
    null:     the null model whose mean stands beside the number; by default the measure's first
    """

    name: str
    measure: str
    labels: Mapping[str, Any] = field(default_factory=dict)
    words: str = ""
    null: str = ""

    @property
    def heading(self) -> str:
        return self.words or self.name.replace("_", " ").capitalize()
