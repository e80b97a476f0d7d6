"""Measures of the linear model after each layer: how near to every rule, how large, how linear, and its own step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..measure import Measure, along, missing, without_interval
from ..statistics.bootstrap import bootstrap_means, percentile_interval
from .held import Squares
from .judging import Judged
from .names import BY_NAME, EXAMPLES, LAYER, OUTPUT, RULE, UNTRAINED

DISTANCE = "relative distance"
LOSS = "half squared label"
NO_NULLS = "a wrapped predictor has no untrained model"
UNDEFINED = "no number where the model's weights are all 0, or not finite"
IN_WEIGHTS = "in closed form from the weights"
AT_QUERY = "as the derivative of the answer at the query"
NOT_FITTED = "with one layer GD++ is gradient descent"
ONE_READ_OUT = "mesascope sees one read-out of a wrapped predictor, and no layers"
GAMMA = "1 / squared input"
CHOSEN = "a setting of what layers are compared with"
Value = Callable[[Any], Any]
"""Means [..., layer, column] -> [..., layer]; of NumPy arrays and tensors alike."""


@dataclass(frozen=True)
class Statistic:
    """A function of means over tasks."""

    value: Value
    unit: str
    higher_is_better: bool | None = None


def relative(means: Any) -> Any:
    return (means[..., 0] / means[..., 1]) ** 0.5


def explained(means: Any) -> Any:
    return 1 - means[..., 0] / means[..., 1]


def ratio(means: Any) -> Any:
    return means[..., 0] / means[..., 1]


def first(means: Any) -> Any:
    return means[..., 0]


AWAY = Statistic(relative, DISTANCE, False)
NORM = Statistic(relative, "relative norm")
LINEARITY = Statistic(explained, "share of the answer", True)
LOSSES = Statistic(first, LOSS, False)
RATES = Statistic(ratio, "learning rate")


@dataclass(frozen=True)
class Layers:
    """What all measures of one report share.

    labels:  along the axis of layers; none: from 0
    seed:    of resamples
    """

    labels: tuple[Any, ...]
    seed: int
    nulls: Sequence[Judged] = field(default=())

    def measure(
        self,
        samples: Squares,
        of: Statistic,
        own: Callable[[Judged], Squares | None],
        labels: Sequence[Any] | None = None,
    ) -> Measure:
        """A statistic of every layer with its bootstrap interval, beside that of untrained models.

        own:     the same samples of another model
        labels:  where they are not those of all layers
        """
        with np.errstate(all="ignore"):
            held = samples.numpy()
            values = np.asarray(of.value(held.mean(axis=0)))
            low, high = percentile_interval(of.value(bootstrap_means(held, self.seed)))
            drawn = [of.value(other.numpy().mean(axis=0)) for null in self.nulls if (other := own(null)) is not None]
        finite = np.isfinite(values)
        if not finite.any():
            return missing(of.unit, "undefined", UNDEFINED)
        low, high, values = (np.where(finite, array, np.nan) for array in (low, high, values))
        if len(held) < 2:
            low = high = np.full_like(values, np.nan)
        message = "one task has no interval" if len(held) < 2 else "" if finite.all() else UNDEFINED
        return Measure(
            values,
            of.unit,
            (low, high),
            replicate="task",
            n=len(held),
            axes=(LAYER,),
            coords={LAYER: tuple(self.labels if labels is None else labels)},
            nulls={UNTRAINED: _finite(np.stack(drawn))} if drawn else {},
            no_nulls="" if drawn else NO_NULLS,
            higher_is_better=of.higher_is_better,
            message=message,
        )


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def layer_labels(judged: Judged, layered: bool) -> tuple[Any, ...]:
    return tuple(range(len(judged.weights))) if layered else (OUTPUT,)


def weight_measures(judged: Judged, layers: Layers, layered: bool, exact: bool) -> dict[str, Measure]:
    """All but the exchange and the settings of rules. exact: whether W is in the weights."""
    how = IN_WEIGHTS if exact else AT_QUERY
    found = {
        "weight_distance": along(RULE, {name: _distance(judged, layers, name) for name in BY_NAME}),
        "weight_norm": layers.measure(judged.norms, NORM, lambda one: one.norms),
        "linearity": replace(layers.measure(judged.linearity, LINEARITY, lambda one: one.linearity), message=how),
        "loss": layers.measure(judged.losses, LOSSES, lambda one: one.losses),
        "layer_step_distance": layers.measure(judged.steps, AWAY, lambda one: one.steps),
        "layer_learning_rate": layers.measure(judged.fitted_steps, RATES, lambda one: one.fitted_steps),
    }
    found["descent_gamma"] = without_interval(
        np.array(judged.gamma), GAMMA, message="0: gradient descent; otherwise GD++", no_nulls=CHOSEN
    )
    if layered:
        return found
    no_steps = {name: missing(found[name].unit, "not applicable", ONE_READ_OUT) for name in STEPS}
    return found | no_steps


STEPS = ("layer_step_distance", "layer_learning_rate", "descent_gamma")


def _distance(judged: Judged, layers: Layers, name: str) -> Measure:
    if not any(name in entries for entries in judged.entries.values()):
        return missing(DISTANCE, "not applicable", NOT_FITTED)
    return layers.measure(judged.distances[name], AWAY, lambda one: one.distances[name])


def arrays_of(judged: Judged, n: int) -> dict[str, np.ndarray]:
    """W after each layer of the first tasks, of some beside the rules'; and every task's squared distances."""
    by_task = judged.weights[:, :n].transpose(0, 1).numpy()
    found = {"weights": by_task, "weights_model": by_task[:EXAMPLES]}
    found |= {f"weights_{name}": rule.transpose(0, 1).numpy() for name, rule in judged.rules.items()}
    found |= {f"squared_distance_{name}": squares[..., 0].numpy() for name, squares in judged.distances.items()}
    return found | {"squared_norm": judged.norms[..., 0].numpy()}


def not_measured(reason: str) -> dict[str, Measure]:
    """Everything about weights of a model that has none that can be had."""
    units = {"weight_norm": NORM.unit, "linearity": LINEARITY.unit, **dict.fromkeys(STEPS, DISTANCE)}
    found = {name: missing(unit, "not applicable", reason) for name, unit in units.items()}
    absent = missing(DISTANCE, "not applicable", reason)
    return found | {"weight_distance": along(RULE, dict.fromkeys(BY_NAME, absent))}
