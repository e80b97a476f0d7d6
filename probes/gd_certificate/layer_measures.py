"""Measures of each layer's weights: its step, its curvature, and how far it is from each form of gradient descent."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from ...models.subject import NotApplicable
from ..algorithms.named import LEARNING_RATE
from ..measure import Measure, along, missing, without_interval
from .examined import Examined, Stack
from .law import NO_N
from .layer import Layer, Parts, curvature, heads_of, parts, step_matrix, step_sizes
from .names import BLOCK, BLOCKS, FORM, FORMS, GD, GDPP, HEAD, LAYER, PRECONDITIONED, PRECONDITIONED_GDPP, UNTRAINED
from .optimum import Law, identity_distance

NO_INTERVAL = "a function of the weights: nothing was resampled"
SHARE = "share of the norm"
DISTANCE = "relative distance"
DIRECTIONS = "directions"
STEP_SIZE = "learning rate / N"
UNITS = {
    "step_size": STEP_SIZE,
    "least_step_size": STEP_SIZE,
    "largest_step_size": STEP_SIZE,
    "gamma": "1 / squared input",
    "identity_distance": DISTANCE,
    "curvature_distance": DISTANCE,
}
OF_CURVATURE = ("gamma", "curvature_distance")
OF_THE_LAW = "a number of the tasks, not of the model"
NO_CURVATURE = "nothing reads what the last layer does to x"
EMPTY = "no number where all of these weights are 0 or reach no prediction"
Numbers = dict[str, Float[np.ndarray, " layer"]]


def layer_measures(examined: Examined, n_context: int | None) -> dict[str, Measure]:
    """Of every layer, beside the same of untrained weights."""
    ours, nulls = _numbers(examined.layers), [_numbers(other) for other in examined.untrained]

    def measure(name: str, unit: str) -> Measure:
        return of_layers(ours[name], unit, np.stack([one[name] for one in nulls]))

    curves = any(layer.curves for layer in examined.layers)
    found = {name: measure(name, unit) for name, unit in UNITS.items()}
    if not curves:
        found |= {name: missing(UNITS[name], "not applicable", NO_CURVATURE) for name in OF_CURVATURE}
    found["learning_rate"] = _learning_rate(found["step_size"], n_context)
    found["block_share"] = along(BLOCK, {name: measure(name, SHARE) for name in BLOCKS})
    forms = [form.name for form in (FORMS if curves else FORMS[:2])]
    found["form_distance"] = along(FORM, {name: measure(name, DISTANCE) for name in forms})
    found["input_rank"] = _rank(examined.law)
    found["whitened_identity_distance"] = _whitened(examined)
    found["head_step_size"] = _heads(examined)
    return found


def of_layers(values: np.ndarray, unit: str, untrained: np.ndarray, axes: tuple[str, ...] = (LAYER,)) -> Measure:
    """A measure of weights, of which nothing was resampled; a distance is better where it is less."""
    return without_interval(
        values,
        unit,
        axes,
        message=NO_INTERVAL if np.isfinite(values).all() else f"{NO_INTERVAL}; {EMPTY}",
        nulls={UNTRAINED: untrained},
        higher_is_better=False if unit == DISTANCE else None,
    )


def _numbers(layers: Stack) -> Numbers:
    """All that has one number a layer, by name."""
    rows = [_of_layer(layer) for layer in layers]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _of_layer(layer: Layer) -> dict[str, float]:
    M, held = step_matrix(layer), parts(layer)
    sizes = step_sizes(M)
    return {
        "step_size": float(M.diagonal().mean()),
        "least_step_size": float(sizes[0]),
        "largest_step_size": float(sizes[-1]),
        "gamma": curvature(layer) if layer.curves else np.nan,
        "identity_distance": identity_distance(M),
        "curvature_distance": _ratio(held.curvature_rest, held.curvature + held.curvature_rest),
        **_shares(held),
    }


def _shares(held: Parts) -> dict[str, float]:
    """By block, and by form: what is left of a layer without its nearest member of the form."""
    whole = sum(vars(held).values())
    left = {
        GD: held.step_rest + held.curvature + held.curvature_rest + held.other,
        PRECONDITIONED: held.curvature + held.curvature_rest + held.other,
        GDPP: held.step_rest + held.curvature_rest + held.other,
        PRECONDITIONED_GDPP: held.curvature_rest + held.other,
    }
    blocks = (held.step + held.step_rest, held.curvature + held.curvature_rest, held.other)
    by_form = {form.name: _ratio(rest, whole) for form, rest in left.items()}
    return by_form | {name: _ratio(part, whole) for name, part in zip(BLOCKS, blocks, strict=True)}


def _ratio(part: float, whole: float) -> float:
    """Of norms, from squared ones; NaN of nothing."""
    return float(np.sqrt(part / whole)) if whole > 0 else np.nan


def _learning_rate(step_size: Measure, n_context: int | None) -> Measure:
    if n_context is None or not step_size.has_number:
        return missing(LEARNING_RATE, "not applicable", NO_N)
    return of_layers(n_context * step_size.values, LEARNING_RATE, n_context * step_size.nulls[UNTRAINED])


def _rank(law: Law | NotApplicable) -> Measure:
    if isinstance(law, NotApplicable):
        return missing(DIRECTIONS, "not applicable", law.reason)
    return without_interval(np.array(len(law.covariance)), DIRECTIONS, message=OF_THE_LAW, no_nulls=OF_THE_LAW)


def _whitened(examined: Examined) -> Measure:
    law = examined.law
    if isinstance(law, NotApplicable):
        return missing(DISTANCE, "not applicable", law.reason)

    def distances(stack: Stack) -> np.ndarray:
        return np.array([identity_distance(step_matrix(layer), law) for layer in stack])

    return of_layers(distances(examined.layers), DISTANCE, np.stack([distances(other) for other in examined.untrained]))


def _heads(examined: Examined) -> Measure:
    """What each head adds to the step size of its layer."""

    def sizes(stack: Stack) -> np.ndarray:
        return np.array([[float(step_matrix(head).diagonal().mean()) for head in heads_of(layer)] for layer in stack])

    nulls = np.stack([sizes(other) for other in examined.untrained])
    return of_layers(sizes(examined.layers), STEP_SIZE, nulls, (LAYER, HEAD))
