"""The free settings of all candidates, fitted once, on tuning tasks of each fold.

A constructed model's settings are fitted to the *loss*, an algorithm's to the model's *predictions*.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...data.batch import Batch
from ...data.errors import UsageError
from ...models.own.regression_transformer import RegressionTransformer
from ..algorithms.fitting import Fit, given, mean_fit
from .constructed import ConstructedShape, constructed_gd, constructed_gdpp
from .constructed_fits import GDPPFit, fit_gdpp, fit_learning_rate
from .names import GD, GDPP
from .setup import Setup


@dataclass(frozen=True)
class Requested:
    """What the user asked for: which constructed models, and settings that are not to be fitted (None: fit)."""

    constructed: tuple[str, ...]
    learning_rate: float | tuple[float, ...] | None = None
    gdpp_learning_rate: float | None = None
    gdpp_gamma: float | None = None


@dataclass(frozen=True)
class Settings:
    """gd: η of constructed gradient descent, one or one a layer; gdpp: of constructed GD++; algorithms: by name, where
    one is free.

    None: that constructed model was not asked for.
    """

    gd: tuple[Fit, ...] | None
    gdpp: GDPPFit | None
    algorithms: Mapping[str, Fit]

    def constructed(self, shape: ConstructedShape) -> dict[str, RegressionTransformer]:
        """The constructed models with these settings, by name, in float64."""
        models = {}
        if self.gd is not None:
            models[GD.name] = constructed_gd(shape, [fit.value for fit in self.gd])
        if self.gdpp is not None:
            rates, gammas = ([fit.value for fit in fits] for fits in (self.gdpp.learning_rates, self.gdpp.gammas))
            models[GDPP.name] = constructed_gdpp(shape, rates, gammas)
        return models


@dataclass(frozen=True)
class FittedSettings:
    """folds: what each fold's evaluation tasks are answered with; mean: over the folds, for everything else."""

    folds: tuple[Settings, ...]
    mean: Settings


def fit_settings(setup: Setup, requested: Requested, fits: Mapping[str, tuple[Fit, ...]]) -> FittedSettings:
    """Fit on each fold's tuning tasks what was not given. `fits`: of algorithms, by name, one a fold."""
    folds = tuple(
        Settings(
            gd=_gd(setup, requested, fold.tuning),
            gdpp=_gdpp(setup, requested, fold.tuning),
            algorithms={a.name: fits[a.name][number] for a in setup.algorithms if a.setting is not None},
        )
        for number, fold in enumerate(setup.splits.folds)
    )
    return FittedSettings(folds, _mean(folds))


def _gd(setup: Setup, requested: Requested, tuning: Batch) -> tuple[Fit, ...] | None:
    if GD.name not in requested.constructed:
        return None
    rates, layers = requested.learning_rate, setup.shape.n_layers
    if rates is None:
        return (fit_learning_rate(tuning, setup.shape, setup.batch_size),)
    if not isinstance(rates, tuple):
        return (given(rates),)
    if len(rates) != layers:
        raise UsageError(
            f"gd-alignment: learning_rate has {len(rates)} values; expected {layers}, one for each step of constructed"
            " gradient descent; one number is the rate of every step"
        )
    return tuple(map(given, rates))


def _gdpp(setup: Setup, requested: Requested, tuning: Batch) -> GDPPFit | None:
    if GDPP.name not in requested.constructed:
        return None
    rate, gamma = requested.gdpp_learning_rate, requested.gdpp_gamma
    if rate is None or gamma is None:
        return fit_gdpp(tuning, setup.shape, setup.batch_size)
    blocks = setup.shape.n_blocks
    return GDPPFit((given(rate),) * blocks, (given(gamma),) * blocks)


def _mean(folds: Sequence[Settings]) -> Settings:
    """The mean of the folds' settings, each fitted on its own half of the tasks."""
    if len(folds) == 1:
        return folds[0]
    gd = [fold.gd for fold in folds if fold.gd is not None]
    gdpp = [fold.gdpp for fold in folds if fold.gdpp is not None]
    return Settings(
        gd=tuple(map(mean_fit, zip(*gd, strict=True))) if gd else None,
        gdpp=_mean_gdpp(gdpp) if gdpp else None,
        algorithms={name: mean_fit([fold.algorithms[name] for fold in folds]) for name in folds[0].algorithms},
    )


def _mean_gdpp(folds: Sequence[GDPPFit]) -> GDPPFit:
    rates = zip(*(fold.learning_rates for fold in folds), strict=True)
    gammas = zip(*(fold.gammas for fold in folds), strict=True)
    return GDPPFit(tuple(map(mean_fit, rates)), tuple(map(mean_fit, gammas)))
