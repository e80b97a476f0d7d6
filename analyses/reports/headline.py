"""The headline of a report: the verdict in a few words, and which checkpoints and step it covers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from .record import Record

_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")
_FEW = 6
"""Seeds or steps up to which a headline lists them."""


def badge(report: Record) -> str:
    """The verdict in a few words, as the probe gives it; else the first sentence of what was found."""
    return report.claim.badge or first_sentence(report.claim.found)


def first_sentence(text: str) -> str:
    """On one line."""
    return _SENTENCE_ENDS.split(" ".join(text.split()), maxsplit=1)[0]


def covers(report: Record) -> str:
    """One checkpoint, or how many; which seeds of training and which steps."""
    steps, seeds = (_known(report, name) for name in ("step", "seed"))
    n = len(report.sources)
    words = ["one checkpoint" if n == 1 else f"{n} checkpoints"]
    if seeds:
        words.append(f"training seed{'s' * (len(seeds) > 1)} {_listed(seeds)}")
    if len(steps) == 1:
        words.append(f"step {steps[0]}")
    elif steps:
        words.append(f"step {steps[-1]}, the last of {len(steps)}")
    return ", ".join(words)


def _known(report: Record, name: str) -> list[Any]:
    return sorted({source[name] for source in report.sources} - {None})


def _listed(items: Sequence[Any]) -> str:
    return ", ".join(map(str, items)) if len(items) <= _FEW else f"{items[0]} to {items[-1]} ({len(items)})"
