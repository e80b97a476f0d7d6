"""Measures of the candidates' settings, with the interval in which they would move on other tuning tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..algorithms.fitting import Fit
from ..algorithms.named import LEARNING_RATE, PENALTY, RIDGE
from ..comparing.by_candidate import CANDIDATE
from ..comparing.settings import AT_END
from ..measure import Measure, along, missing
from .names import GD
from .settings import Settings
from .setup import Setup

GAMMA = "1 / squared input"
UNITS = {"learned_learning_rate": LEARNING_RATE, "learned_gamma": GAMMA}
RATES_BY_LAYER = "one learning rate was given for each layer: see given_learning_rate"
NO_NULLS = "a setting of a candidate, not a property of the model"
NOT_FINITE = "no setting is closest: the model's predictions are not finite"
LAST_GAMMA = "the last layer's γ moves no prediction: it stays where the fit starts, and has no interval"
ONE_LAYER = "with one layer GD++ is gradient descent: its γ does not change any prediction"


def setting_measures(setup: Setup, settings: Settings) -> dict[str, Measure]:
    """`learning_rate` of every candidate that has one, `ridge_penalty`, and GD++'s settings block by block."""
    fits = {a.name: settings.algorithms[a.name] for a in setup.algorithms if a.setting == LEARNING_RATE}
    rates = {name: _setting(fit, LEARNING_RATE) for name, fit in fits.items()}
    measures: dict[str, Measure] = {}
    if settings.gd is not None:
        first, *others = settings.gd
        of_gd = missing(LEARNING_RATE, "not applicable", RATES_BY_LAYER) if others else _setting(first, LEARNING_RATE)
        rates = {GD.name: of_gd, **rates}
        measures |= {"given_learning_rate": _by_layer(settings.gd, LEARNING_RATE)} if others else {}
    measures |= {
        "learning_rate": along(CANDIDATE, rates),
        "ridge_penalty": _setting(settings.algorithms[RIDGE.name], PENALTY),
    }
    if settings.gdpp is not None:
        return measures | {
            "learned_learning_rate": _by_layer(settings.gdpp.learning_rates, LEARNING_RATE),
            "learned_gamma": _gammas(settings.gdpp.gammas),
        }
    if setup.shape.n_layers > 1:
        return measures
    return measures | {name: missing(unit, "not applicable", ONE_LAYER) for name, unit in UNITS.items()}


def _setting(fit: Fit, unit: str) -> Measure:
    layers = _by_layer((fit,), unit)
    return layers if layers.status != "ok" else layers.at(layer=0)


def _gammas(fits: Sequence[Fit]) -> Measure:
    measure = _by_layer(fits, GAMMA)
    several = len(fits) > 1 and measure.status == "ok" and not fits[0].given
    return replace(measure, message="; ".join(filter(None, (measure.message, LAST_GAMMA)))) if several else measure


def _by_layer(fits: Sequence[Fit], unit: str) -> Measure:
    values, low, high = (np.array([getattr(fit, end) for fit in fits]) for end in ("value", "low", "high"))
    if np.isnan(values).any():
        return missing(unit, "undefined", NOT_FINITE)
    was_given = fits[0].given
    return Measure(
        values,
        unit,
        (low, high),
        replicate="none" if was_given else "task",
        n=fits[0].n,
        axes=("layer",),
        no_nulls=NO_NULLS,
        message="given, not fitted" if was_given else AT_END * any(fit.at_end for fit in fits),
    )
