"""Limits that a report of any regression model has under the same condition."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source
from ..measure import Measure
from .sign import turned_seeds


def notes(sources: tuple[Source, ...]) -> tuple[str, ...]:
    """What reading the checkpoints left to say, each once."""
    return tuple(dict.fromkeys(note for source in sources for note in source.notes))


def turned(measures: Mapping[str, Measure], sign: int | None) -> list[str]:
    """That the model was examined with its sign turned. sign: that of the read-out, where the user gave it."""
    seeds, _ = turned_seeds(measures["readout_sign"])
    if not seeds:
        return []
    found = "By the labels of the tuning tasks the output is the negative of a prediction."
    return [f"{found if sign is None else 'You gave the sign -1.'} Every number is that of the turned model."]
