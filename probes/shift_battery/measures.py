"""Measures of the battery: those of every strength, and one number a rule and shift, or a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..comparing.by_candidate import CANDIDATE, MODEL, OTHER_CANDIDATE
from ..measure import Measure, along, missing
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .battery import Battery
from .names import RULES, SHIFT, SHIFTS
from .ratios import Means, exponent
from .strength_measures import NO_ARCHITECTURE, NO_MODEL, NO_VARIATION, SHARE, Shown, as_nulls, no_shift, of_shift

NO_LAW = "the law of these tasks is not known"
SAME = "on other lengths alone the mean over pairs is another rule than gd"


def battery_measures(battery: Battery, nulls: Sequence[Battery], seed: int) -> dict[str, Measure]:
    """All of them."""
    shown = {name: Shown.of(name, held, nulls, seed) for name, held in battery.along.items()}
    measures: dict[str, Measure] = {}
    for shift in SHIFTS:
        found = of_shift(shift, shown[shift.name]) if shift.name in shown else no_shift(NO_LAW)
        measures |= {f"{metric}_{shift.name}": measure for metric, measure in found.items()}
    measures["worst_unexplained"] = _by_shift(shown)
    measures["rule_distance"] = _rule_distance(shown)
    measures["scale_exponent"] = _exponents(shown["scale"])
    measures["order_sensitivity"] = _order_sensitivity(battery, nulls, seed)
    return measures


# -- shift by shift ----------------------------------------------------------------------------------------------------


def _by_shift(shown: Mapping[str, Shown]) -> Measure:
    """`worst_unexplained`: of a rule under a shift, at the strength where it is furthest from the model."""
    names = tuple(name for name in RULES if any(name in one.along.rules for one in shown.values()))
    return along(CANDIDATE, {name: _worst_of(name, shown) for name in names})


def _worst_of(rule: str, shown: Mapping[str, Shown]) -> Measure:
    n_nulls = max(len(one.nulls) for one in shown.values())
    columns = {shift.name: _worst(rule, shown.get(shift.name), n_nulls) for shift in SHIFTS}
    values = np.array([found[0] for found in columns.values()])
    if not np.isfinite(values).any():
        return missing(SHARE, "undefined", NO_VARIATION)
    low, high = np.array([found[1] for found in columns.values()]).T
    nulls = [np.array(draw) for draw in zip(*(found[2] for found in columns.values()), strict=True)]
    held = as_nulls(nulls)
    return Measure(
        values,
        SHARE,
        (low, high),
        replicate="task",
        n=max(len(one.along.model) for one in shown.values()),
        axes=(SHIFT,),
        coords={SHIFT: tuple(columns)},
        nulls=held,
        no_nulls="" if held else NO_ARCHITECTURE,
        higher_is_better=False,
        message=_why_none(rule, shown) if np.isnan(values).any() else "",
    )


Worst = tuple[float, tuple[float, float], list[float]]
"""The value, its interval, and the values of null models."""


def _worst(rule: str, shown: Shown | None, n_nulls: int) -> Worst:
    nothing = float("nan"), (float("nan"), float("nan"))
    if shown is None or rule not in shown.along.rules:
        return (*nothing, [float("nan")] * n_nulls)
    nulls = [_largest(one.unexplained(rule)[shown.shifted & one.answered]) for one in shown.nulls]
    judged = shown.shifted & shown.own.answered
    value = _largest(shown.own.unexplained(rule)[judged])
    if np.isnan(value):
        return (*nothing, nulls)
    ends = percentile_interval(shown.resampled.unexplained(rule)[:, judged].max(axis=1))
    return value, (float(ends[0]), float(ends[1])), nulls


def _largest(values: Means) -> float:
    """NaN where one is no number: nothing is known of the largest then."""
    return float(values.max()) if len(values) and np.isfinite(values).all() else float("nan")


def _why_none(rule: str, shown: Mapping[str, Shown]) -> str:
    absent = len(shown) < len(SHIFTS)
    return "; ".join([NO_LAW] * absent + [SAME] * (rule == "gd_mean") + [NO_VARIATION])


def _rule_distance(shown: Mapping[str, Shown]) -> Measure:
    """How far rules are from each other under each shift, where they are furthest apart, training included."""
    names = tuple(name for name in RULES if any(name in one.along.rules for one in shown.values()))
    shape = (len(names), len(names), len(SHIFTS))
    values, low, high = (np.full(shape, np.nan) for _ in range(3))
    pairs = [(i, j) for j in range(len(names)) for i in range(j + 1)]
    for k, shift in enumerate(SHIFTS):
        one = shown.get(shift.name)
        for i, j in pairs:
            if one is None or not {names[i], names[j]} <= set(one.along.rules):
                continue
            largest = _largest(one.own.distance(names[i], names[j])[one.own.answered])
            if np.isfinite(largest):
                distances = one.resampled.distance(names[i], names[j])[:, one.own.answered]
                ends = percentile_interval(distances.max(axis=1))
                for found, number in zip((values, low, high), (largest, *ends), strict=True):
                    found[i, j, k] = found[j, i, k] = number
    if not np.isfinite(values).any():
        return missing(SHARE, "undefined", NO_VARIATION)
    return Measure(
        values,
        SHARE,
        (low, high),
        replicate="task",
        n=max(len(one.along.model) for one in shown.values()),
        axes=(CANDIDATE, OTHER_CANDIDATE, SHIFT),
        coords={CANDIDATE: names, OTHER_CANDIDATE: names, SHIFT: tuple(shift.name for shift in SHIFTS)},
        no_nulls=NO_MODEL,
        message=f"{NO_VARIATION}, or a shift has no such rule" if np.isnan(values).any() else "",
    )


# -- one number --------------------------------------------------------------------------------------------------------

NO_EXPONENT = "a response is not above 0, or not finite"


def _exponents(shown: Shown) -> Measure:
    """`scale_exponent` of the model and of every rule."""
    everyone = (MODEL, *(name for name in RULES if name in shown.along.rules))
    return along(CANDIDATE, {name: _exponent(name, shown) for name in everyone})


def _exponent(name: str, shown: Shown) -> Measure:
    strengths = shown.along.strengths
    value = float(exponent(shown.own.response(name), strengths))
    if not np.isfinite(value):
        return missing("exponent", "undefined", NO_EXPONENT)
    resampled = exponent(shown.resampled.response(name), strengths)
    drawn = as_nulls([exponent(one.response(name), strengths) for one in shown.nulls])
    nulls = {null: np.where(np.isfinite(held), held, np.nan) for null, held in drawn.items()} if name == MODEL else {}
    some = any(np.isfinite(held).any() for held in nulls.values())
    return Measure(
        np.array(value),
        "exponent",
        _ends(resampled),
        replicate="task",
        n=len(shown.along.model),
        nulls=nulls if some else {},
        no_nulls="" if some else NO_MODEL if name != MODEL else NO_ARCHITECTURE if not nulls else NO_EXPONENT,
    )


def _ends(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of resamples, some of which may have no number."""
    finite = resampled[np.isfinite(resampled)]
    return percentile_interval(finite) if len(finite) == len(resampled) else (np.array(np.nan), np.array(np.nan))


def _order_sensitivity(battery: Battery, nulls: Sequence[Battery], seed: int) -> Measure:
    """`order_sensitivity` of the model. Every rule of the battery has 0."""
    columns = _order_columns(battery.orders)
    value = float(_share(columns.mean(axis=0)))
    if not np.isfinite(value):
        return missing(SHARE, "undefined", NO_VARIATION)
    drawn = as_nulls([np.asarray(_share(_order_columns(null.orders).mean(axis=0))) for null in nulls])
    return Measure(
        np.array(value),
        SHARE,
        percentile_interval(_share(bootstrap_means(columns, seed))),
        replicate="task",
        n=len(columns),
        nulls=drawn,
        no_nulls="" if drawn else NO_ARCHITECTURE,
        higher_is_better=None,
        message="0 for every rule: they read a context through sums over its pairs",
    )


def _order_columns(orders: Float[Tensor, "order task d_out"]) -> Float[np.ndarray, "task two"]:
    """The variance over orders, and the squared distance of the first answer from the mean over tasks."""
    first = orders[0]
    apart = (first - first.mean(dim=0)).square().sum(dim=1)
    return np.stack([orders.var(dim=0).sum(dim=1).numpy(), apart.numpy()], axis=1)


def _share(means: Float[np.ndarray, "*resample two"]) -> Float[np.ndarray, "*resample"]:
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        return np.asarray(means[..., 0] / means[..., 1])
