"""Measures of the named filters: what each leaves unexplained, its settings, and its curve."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...data.regression import LinearRegression
from ..algorithms.filtered import GRADIENT_DESCENT, RIDGE
from ..algorithms.fitting import Fit, mean_fit
from ..comparing.by_candidate import CANDIDATE
from ..comparing.settings import AT_END
from ..measure import Measure, along, missing, without_interval
from ..statistics.bootstrap import percentile_interval
from .curve import Binned, mean_of_bins
from .filter_measures import NO_WEIGHTS, RESPONSE, SHARE
from .fits import RuleFit
from .learned import Learned
from .names import BIN, LAYER
from .shares import Samples, Shares

AS_GOOD = "from the fewest to the most that are as close to the weights on the tuning tasks"
NO_NULLS = "a setting of a filter, not a property of the model"
ABOVE = "no filter leaves less than off_filter_share, whose nulls are those of untrained models"
NO_LAW = "the law of the tasks is not known"
Fits = Sequence[Sequence[RuleFit]]
"""By rule and layer."""


def rule_measures(learned: Learned, shares: Shares, fits: Fits, law: LinearRegression | None) -> dict[str, Measure]:
    """By rule (the axis `candidate`) and layer."""
    names = [of_layers[0].family.name for of_layers in fits]
    closest = _further(shares.rules)
    kinds = dict.fromkeys(kind for of_layers in fits for kind in of_layers[0].fits[0].values)
    found = {
        "unexplained_share": _by_rule(names, shares.rules, shares.n),
        "further_share": _by_rule(names, closest, shares.n),
        "steps": along(CANDIDATE, {f[0].family.name: _steps(f) for f in fits if f[0].family.tried}),
        "fitted_response": along(CANDIDATE, {f[0].family.name: _curve(f, learned, shares) for f in fits}),
    }
    for kind in kinds:
        held = {f[0].family.name: _setting(f, kind) for f in fits if kind in f[0].fits[0].values}
        found[kind.replace(" ", "_")] = along(CANDIDATE, held)
    return found | _derived(learned, {of_layers[0].family.name: of_layers for of_layers in fits}, law)


def _further(rules: Samples) -> Samples:
    """How much more each leaves than the closest of them, which is the same in every resample."""
    nearest = np.nan_to_num(rules.share, nan=np.inf).argmin(axis=0)[None]
    least = np.take_along_axis(rules.share, nearest, axis=0)
    again = np.take_along_axis(rules.resampled, nearest[None], axis=1)
    return Samples(rules.share - least, rules.resampled - again)


def _by_rule(names: Sequence[str], held: Samples, n: int) -> Measure:
    low, high = percentile_interval(held.resampled)
    parts = {}
    for place, name in enumerate(names):
        value = held.share[place]
        if not np.isfinite(value).any():
            parts[name] = missing(SHARE, "undefined", NO_WEIGHTS)
            continue
        parts[name] = Measure(
            value,
            SHARE,
            (low[place], high[place]),
            replicate="task",
            n=n,
            axes=(LAYER,),
            no_nulls=ABOVE,
            higher_is_better=False,
            message=NO_WEIGHTS if np.isnan(value).any() else "",
        )
    return along(CANDIDATE, parts)


def _steps(of_layers: Sequence[RuleFit]) -> Measure:
    best, fewest, most = np.array([fit.steps for fit in of_layers], dtype=np.float64).T
    return Measure(
        best,
        of_layers[0].family.noun,
        (fewest, most),
        replicate="none",
        n=1,
        axes=(LAYER,),
        no_nulls=NO_NULLS,
        message=AS_GOOD,
    )


def _setting(of_layers: Sequence[RuleFit], kind: str) -> Measure:
    """One setting of a rule, with its interval over tuning tasks."""
    return _of_fits([mean_fit([fitted.values[kind] for fitted in fit.fits]) for fit in of_layers], kind)


def _of_fits(fits: Sequence[Fit], unit: str, factor: Callable[[int], float] = lambda layer: 1.0) -> Measure:
    """factor:  by which the setting of a layer is multiplied"""
    values, low, high = (
        np.array([factor(layer) * getattr(fit, end) for layer, fit in enumerate(fits)])
        for end in ("value", "low", "high")
    )
    if not np.isfinite(values).any():
        return missing(unit, "undefined", NO_WEIGHTS)
    ends = [str(layer + 1) for layer, fit in enumerate(fits) if fit.at_end]
    wide = np.isfinite(low) & np.isfinite(high)
    messages = [f"{AT_END} in layer {', '.join(ends)}"] if ends else []
    messages += [] if wide.all() else ["no curvature in some layers, so no interval"]
    return Measure(
        values,
        unit,
        (np.where(wide, low, np.nan), np.where(wide, high, np.nan)),
        replicate="task",
        n=fits[0].n,
        axes=(LAYER,),
        no_nulls=NO_NULLS,
        message="; ".join(messages + ([NO_WEIGHTS] if np.isnan(values).any() else [])),
    )


def _curve(of_layers: Sequence[RuleFit], learned: Learned, shares: Shares) -> Measure:
    """The filter in the same bins as the model's response, and weighed in the same way."""
    held = [Binned(fold.judged, shares.edges) for fold in learned.folds]
    rows = []
    for fit in of_layers:
        curves = [one.modes.spectrum.s2 * fit.filter(number, one.modes) for number, one in enumerate(held)]
        rows.append(mean_of_bins(held, curves))
    values = np.stack(rows)
    return without_interval(
        np.where(np.isfinite(values), values, np.nan), RESPONSE, (LAYER, BIN),
        message="a function of the fitted settings", no_nulls=NO_NULLS,
    )  # fmt: skip


def _derived(learned: Learned, fits: dict[str, Sequence[RuleFit]], law: LinearRegression | None) -> dict[str, Measure]:
    """What settings come to: η T of gradient descent; ridge's penalty over N times the mean eigenvalue, and the noise
    of labels at which it is Bayes' rule.
    """
    descent, ridge = fits[GRADIENT_DESCENT.name], fits[RIDGE.name]
    rates = [mean_fit([fitted.values["learning rate"] for fitted in fit.fits]) for fit in descent]
    penalties = [mean_fit([fitted.values["penalty"] for fitted in fit.fits]) for fit in ridge]
    unit = float(np.mean([float(fold.tuning.spectrum.s2.mean()) for fold in learned.folds]))
    noise = missing("squared label", "not applicable", NO_LAW)
    if law is not None:
        noise = _of_fits(penalties, "squared label", lambda layer: law.weight_scale**2)
    return {
        "gradient_time": _of_fits(rates, "learning rate × steps", lambda layer: float(descent[layer].steps[0])),
        "relative_penalty": _of_fits(penalties, "N × mean eigenvalue", lambda layer: 1 / unit),
        "noise_variance": noise,
    }
