"""Measures of weights: distances to the constructed weights, and those that are read off the trained ones."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from ...models.subject import NotApplicable
from ..algorithms.named import LEARNING_RATE
from ..comparing.by_candidate import CANDIDATE
from ..measure import Measure, Status, along, missing, without_interval
from ..regression.products import Products
from .path_measures import no_path_measures
from .setting_measures import GAMMA
from .weight_comparison import CONTROLS, WeightComparison
from .weights import rates_in_weights, relative_distance, tensor_distance

DISTANCE = "relative Frobenius distance"
CONTROL, PRODUCT, ENTRIES = "control", "product", "entries"
NO_INTERVAL = "a function of the weights alone: nothing was resampled"
COMPARE_CONTROLS = "compare with the controls wrong_rate and rotated"
SEVERAL_HEADS = "this model has several heads: only the tensor summed over heads has a distance"


def weight_measures(weights: WeightComparison, n_context: int) -> dict[str, Measure]:
    """Distances to each constructed model, and the settings that the trained weights themselves amount to."""
    names = list(weights.constructed)
    measures = {
        "weight_distance": along(CANDIDATE, {name: _tensor_distances(weights, name) for name in names}),
        "product_distance": along(CANDIDATE, {name: _product_distances(weights, name) for name in names}),
    }
    if isinstance(weights.aligned, NotApplicable) or not weights.aligned.single_head:
        return measures
    rates = rates_in_weights(weights.aligned, n_context)
    return measures | {
        "weights_learning_rate": _of_weights(rates.learning_rate, LEARNING_RATE, ("layer",)),
        "weights_gamma": _of_weights(rates.gamma, GAMMA, ("layer",)),
    }


def no_weight_measures(names: Collection[str], reason: str) -> dict[str, Measure]:
    """Why the weights are not compared."""
    distances = along(CONTROL, dict.fromkeys(CONTROLS, missing(DISTANCE, "not applicable", reason)))
    return no_path_measures(names, reason) | {"weight_distance": along(CANDIDATE, dict.fromkeys(names, distances))}


def weight_arrays(weights: WeightComparison) -> dict[str, Float[np.ndarray, "block head d_model d_model"]]:
    """The products behind all distances."""
    found = {"": weights.trained, **{f"_{name}": held for name, held in weights.constructed.items()}}
    if not isinstance(weights.aligned, NotApplicable):
        found["_aligned"] = weights.aligned
    matrices = {f"KQ{key}": held.KQ for key, held in found.items()}
    matrices |= {f"PV{key}": held.PV for key, held in found.items()}
    return {name: stack.numpy() for name, stack in matrices.items()}


def _of_weights(values: np.ndarray | float, unit: str, axes: tuple[str, ...] = ()) -> Measure:
    return without_interval(np.asarray(values), unit, axes, message=NO_INTERVAL, no_nulls=COMPARE_CONTROLS)


def _tensor_distances(weights: WeightComparison, candidate: str) -> Measure:
    """Of the summed tensor, which does not depend on the gauge."""
    constructed, live = weights.constructed[candidate], weights.live
    untrained = np.array([tensor_distance(other, constructed, live) for other in weights.untrained])
    return along(
        CONTROL,
        {
            control: without_interval(
                np.array(tensor_distance(start, end, live)),
                DISTANCE,
                message=NO_INTERVAL,
                no_nulls=COMPARE_CONTROLS,
                nulls={"untrained": untrained} if control == CONTROLS[0] and len(untrained) else None,
                higher_is_better=False if control == CONTROLS[0] else None,
            )
            for control, (start, end) in weights.controls(candidate).items()
        },
    )


def _product_distances(weights: WeightComparison, candidate: str) -> Measure:
    """Of aligned KQ and PV, block by block, live and dead entries apart."""
    aligned, constructed = weights.aligned, weights.constructed[candidate]
    if isinstance(aligned, NotApplicable):
        return _no_products("undefined", aligned.reason)
    if not aligned.single_head:
        return _no_products("not applicable", SEVERAL_HEADS)
    pairs = {"KQ": (aligned.KQ, constructed.KQ), "PV": (aligned.PV, constructed.PV)}
    live = {"KQ": weights.live.KQ, "PV": weights.live.PV}
    return along(PRODUCT, {product: _by_entries(*pair, live[product]) for product, pair in pairs.items()})


def _by_entries(trained: Products, constructed: Products, live: Bool[Tensor, "block d_model d_model"]) -> Measure:
    masks = {"live": live, "dead": ~live}
    distances = {entries: relative_distance(trained, constructed, mask) for entries, mask in masks.items()}
    return along(ENTRIES, {entries: _layers(entries, held) for entries, held in distances.items()})


def _layers(entries: str, distances: Float[np.ndarray, " block"]) -> Measure:
    return without_interval(
        distances,
        DISTANCE,
        ("layer",),
        message=NO_INTERVAL,
        no_nulls=COMPARE_CONTROLS,
        higher_is_better=False if entries == "live" else None,
    )


def _no_products(status: Status, reason: str) -> Measure:
    by_entries = along(ENTRIES, dict.fromkeys(("live", "dead"), missing(DISTANCE, status, reason)))
    return along(PRODUCT, dict.fromkeys(("KQ", "PV"), by_entries))
