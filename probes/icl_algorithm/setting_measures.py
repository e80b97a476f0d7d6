"""The fitted settings of every family, and how many there are."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..comparing.by_candidate import CANDIDATE
from ..comparing.settings import NO_NULLS, fitted_setting
from ..measure import Measure, along, without_interval
from .search import Entry

AS_GOOD = "from the fewest to the most that do as well on the tuning tasks"


def setting_measures(entries: Mapping[str, Entry]) -> dict[str, Measure]:
    """`fitted_settings`, `steps`, and one measure for each kind of setting, by family."""
    counts = {name: _plain(float(entry.fits[0].n), "number") for name, entry in entries.items()}
    steps = {name: _steps(entry) for name, entry in entries.items() if entry.family.tried}
    found = {"fitted_settings": along(CANDIDATE, counts), "steps": along(CANDIDATE, steps)}
    kinds = dict.fromkeys(kind for entry in entries.values() for kind in entry.fits[0].values)
    for kind in kinds:
        held = {name: entry.fits for name, entry in entries.items() if kind in entry.fits[0].values}
        parts = {name: fitted_setting(kind, [fitted.values[kind] for fitted in fits]) for name, fits in held.items()}
        found[kind.replace(" ", "_")] = along(CANDIDATE, parts)
    return found


def _plain(value: float, unit: str) -> Measure:
    return without_interval(np.array(value), unit, message="counted, not measured", no_nulls=NO_NULLS)


def _steps(entry: Entry) -> Measure:
    steps, fewest, most = entry.steps
    return Measure(
        np.array(float(steps)),
        entry.family.noun,
        (np.array(float(fewest)), np.array(float(most))),
        replicate="none",
        n=1,
        no_nulls=NO_NULLS,
        message=AS_GOOD,
    )
