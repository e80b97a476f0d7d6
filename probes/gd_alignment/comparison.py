"""The model, its twins and its rivals on the same tasks: settings fitted fold by fold, behaviours task by task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.own.regression_transformer import RegressionTransformer
from ...models.subject import Regressor
from .constructed import TwinShape, fit_gdpp, fit_learning_rate, gd_twin, gdpp_twin
from .rivals import Fit, Spectrum, decompose, rivals
from .sensitivity import Behaviour, behaviour
from .splits import Fold, Splits

Settings = dict[str, tuple[Fit, ...]]
"""Fitted or given settings by measure name; a tuple has one entry a block."""


@dataclass(frozen=True)
class GivenSettings:
    """What the user fixed instead of having it fitted; None: fit."""

    learning_rate: float | None = None
    gdpp_learning_rate: float | None = None
    gdpp_gamma: float | None = None


def given(value: float, blocks: int = 1) -> tuple[Fit, ...]:
    """A setting that the user gave: no interval, no tasks behind it."""
    return (Fit(value, float("nan"), float("nan"), 0),) * blocks


def twin_settings(
    shape: TwinShape, twins: tuple[str, ...], fixed: GivenSettings, fold: Fold, batch_size: int
) -> Settings:
    """Settings of the twins asked for, fitted on the fold's tuning tasks unless they were given."""
    settings: Settings = {}
    if "gd" in twins:
        rate = fixed.learning_rate
        fit = given(rate) if rate is not None else (fit_learning_rate(shape, fold.tuning, batch_size),)
        settings["learning_rate_gd"] = fit
    if "gdpp" in twins:
        rate, gamma = fixed.gdpp_learning_rate, fixed.gdpp_gamma
        if rate is not None and gamma is not None:
            both = given(rate, shape.n_blocks), given(gamma, shape.n_blocks)
        else:
            learned = fit_gdpp(shape, fold.tuning, batch_size)
            both = learned.learning_rates, learned.gammas
        settings["learned_learning_rate"], settings["learned_gamma"] = both
    return settings


def build_twins(shape: TwinShape, settings: Mapping[str, tuple[Fit, ...]]) -> dict[str, RegressionTransformer]:
    """The twins that the settings describe, in float64."""
    twins = {}
    if "learning_rate_gd" in settings:
        twins["gd"] = gd_twin(shape, settings["learning_rate_gd"][0].value)
    if "learned_gamma" in settings:
        rates, gammas = ([fit.value for fit in settings[f"learned_{name}"]] for name in ("learning_rate", "gamma"))
        twins["gdpp"] = gdpp_twin(shape, rates, gammas)
    return twins


@lru_cache(maxsize=8)
def spectrum(tasks: Batch, d_in: int) -> Spectrum:
    """A batch decomposed once for all rivals and all checkpoints of a family."""
    return decompose(tasks.inputs, d_in)


def rival_settings(subject: Regressor, n_layers: int, fold: Fold, batch_size: int) -> Settings:
    """Each rival's setting that brings it closest to the model on the fold's tuning tasks."""
    tasks = spectrum(fold.tuning, subject.d_in)
    answer = model_behaviour(subject, fold.tuning, batch_size).prediction
    fits = {rival.setting: rival.fit(tasks, answer) for rival in rivals(n_layers) if rival.setting}
    return {name: (fit,) for name, fit in fits.items() if fit is not None}


def model_behaviour(subject: Regressor, tasks: Batch, batch_size: int) -> Behaviour:
    """The subject on a batch, at its own device and precision."""
    inputs = tasks.inputs.to(subject.device, subject.dtype)
    return behaviour(subject.predict, inputs, subject.d_in, batch_size)


def other_behaviours(
    subject: Regressor, shape: TwinShape, settings: Settings, tasks: Batch, batch_size: int
) -> dict[str, Behaviour]:
    """Twins (at the subject's precision, as the authors run theirs) and rivals (in float64) on a batch, by name."""
    inputs = tasks.inputs.to(subject.device, subject.dtype)
    found = {}
    for name, twin in build_twins(shape, settings).items():
        twin.to(device=subject.device, dtype=subject.dtype)
        found[name] = behaviour(twin, inputs, subject.d_in, batch_size)
    decomposed = spectrum(tasks, subject.d_in)
    for rival in rivals(shape.n_layers):
        setting = settings[rival.setting][0].value if rival.setting else float("nan")
        found[rival.name] = rival.behaviour(decomposed, setting)
    return found


@dataclass(frozen=True)
class Comparison:
    """Everyone's behaviour on the evaluation tasks, and the settings behind it (over folds: their mean)."""

    model: Behaviour
    others: dict[str, Behaviour]
    targets: Float[Tensor, "task d_out"]
    settings: Settings


def compare(
    subject: Regressor,
    shape: TwinShape,
    twins: tuple[str, ...],
    fixed: GivenSettings,
    splits: Splits,
    batch_size: int,
) -> Comparison:
    """Fit on each fold's tuning tasks, answer its evaluation tasks, put the folds back in the order of the tasks."""
    settings = [
        twin_settings(shape, twins, fixed, fold, batch_size) | rival_settings(subject, shape.n_layers, fold, batch_size)
        for fold in splits.folds
    ]
    models = [model_behaviour(subject, fold.evaluation, batch_size) for fold in splits.folds]
    others = [
        other_behaviours(subject, shape, chosen, fold.evaluation, batch_size)
        for chosen, fold in zip(settings, splits.folds, strict=True)
    ]
    return Comparison(
        _concatenate(models),
        {name: _concatenate([fold[name] for fold in others]) for name in others[0]},
        splits.evaluation.targets,
        _mean_settings(settings),
    )


def _concatenate(parts: list[Behaviour]) -> Behaviour:
    return Behaviour(torch.cat([p.prediction for p in parts]), torch.cat([p.sensitivity for p in parts]))


def _mean_settings(folds: list[Settings]) -> Settings:
    """One setting a name: the mean of the folds', each fitted on its own half of the tasks."""
    if len(folds) == 1:
        return folds[0]
    return {
        name: tuple(_mean_fit([fold[name][i] for fold in folds]) for i in range(len(folds[0][name])))
        for name in folds[0]
    }


def _mean_fit(fits: list[Fit]) -> Fit:
    mean = sum(fit.value for fit in fits) / len(fits)
    # halves are independent, so the squared half-widths of a mean of two add up to a quarter each
    half = sum(((fit.high - fit.low) / 2) ** 2 for fit in fits) ** 0.5 / len(fits)
    return Fit(mean, mean - half, mean + half, sum(fit.n for fit in fits))
