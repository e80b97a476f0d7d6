"""The fitted settings of every rule at every layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..algorithms.fitting import Fit, mean_fit
from ..comparing.settings import AT_END, NO_NULLS
from ..measure import Measure, along, missing, without_interval
from .fits import Entry
from .judging import Entries
from .names import BY_NAME, LAYER, RULE

NOT_FINITE = "no setting is nearest: a weight is not finite"
AS_GOOD = "from the fewest to the most that do as well on the tuning tasks"
KINDS = ("learning rate", "penalty", "gamma", "initial scale")
SETTINGS = tuple(kind.replace(" ", "_") for kind in KINDS)
Numbers = tuple[float, float, float]
"""A value and the ends of its interval."""
NOTHING = (float("nan"),) * 3


def setting_measures(entries: Entries, labels: tuple[Any, ...]) -> dict[str, Measure]:
    """`fitted_settings`, `steps`, and one measure for each kind of setting, by rule and layer."""

    held = {name: [fitted[name] for fitted in entries.values() if name in fitted] for name in BY_NAME}
    stepping = [name for name, family in BY_NAME.items() if family.tried]
    measures = {
        "fitted_settings": along(RULE, {name: _count(found[0] if found else None) for name, found in held.items()}),
        "steps": along(
            RULE, {name: _by_layer(entries, name, BY_NAME[name].noun, _steps, labels, AS_GOOD) for name in stepping}
        ),
    }
    for kind in KINDS:
        names = [name for name, found in held.items() if found and kind in found[0].fits[0].values]
        of = partial(_setting, kind)
        if names:
            parts = {name: _by_layer(entries, name, kind, of, labels, "") for name in names}
            measures[kind.replace(" ", "_")] = along(RULE, parts)
    return measures


def _count(entry: Entry | None) -> Measure:
    if entry is None:
        return missing("number", "not applicable", "this rule has no member of its own at one layer")
    return without_interval(np.array(float(entry.fits[0].n)), "number", message="counted", no_nulls=NO_NULLS)


def _steps(entry: Entry) -> Numbers:
    return entry.steps


def _setting(kind: str, entry: Entry) -> Numbers:
    fit: Fit = mean_fit([one.values[kind] for one in entry.fits])
    return (fit.value, fit.low, fit.high)


def _by_layer(
    entries: Entries, name: str, unit: str, of: Callable[[Entry], Numbers], labels: tuple[Any, ...], message: str
) -> Measure:
    found = [of(fitted[name]) if name in fitted else NOTHING for fitted in entries.values()]
    value, low, high = np.array(found, dtype=np.float64).T
    if not np.isfinite(value).any():
        return missing(unit, "undefined", NOT_FINITE)
    at_end = [entry.fits[0].at_end for fitted in entries.values() if (entry := fitted.get(name)) is not None]
    words = [message, AT_END * any(at_end), "no number where the rule was not fitted" * bool(np.isnan(value).any())]
    words += [
        "no interval where the fit is flat" * bool(np.isnan(low).any() and np.isfinite(value[np.isnan(low)]).any())
    ]
    return Measure(
        value,
        unit,
        (low, high),
        replicate="task",
        n=next(
            (one.n for fitted in entries.values() if name in fitted for one in fitted[name].fits[0].values.values()), 1
        ),
        axes=(LAYER,),
        coords={LAYER: labels},
        no_nulls=NO_NULLS,
        message="; ".join(word for word in words if word),
    )
