"""What is examined: the layers of a model, those of untrained ones, and the law of the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable
from ..regression.nulls import untrained_modules
from ..regression.products import WeightProducts, module_products
from .layer import Layer, along, layers_of
from .optimum import Law

SINGULAR = "the covariance is singular, but a layer may move x in directions that no input has"
Stack = Sequence[Layer]
"""The layers of one model."""


@dataclass(frozen=True)
class Examined:
    """law:  of the tasks, or why it is not known. Where inputs do not have all directions, only theirs are examined."""

    layers: Stack
    untrained: Sequence[Stack]
    law: Law | NotApplicable

    @classmethod
    def of(cls, subject: TransformerRegressor, seed: int, law: Law | NotApplicable) -> Examined:
        """A subject beside untrained weights of its shape. Their layers are those that its tasks can tell apart."""
        layers = layers_of(_with_sign(module_products(subject.module), subject))
        untrained = [layers_of(module_products(module)) for module in untrained_modules(subject, seed)]
        if isinstance(law, NotApplicable) or (directions := law.directions).shape[1] == subject.d_in:
            return cls(layers, untrained, law)
        if subject.config.n_layers > 1:
            return cls(layers, untrained, NotApplicable(SINGULAR))
        held, *others = ([along(layer, directions) for layer in stack] for stack in (layers, *untrained))
        return cls(held, others, law.along(directions))


def _with_sign(weights: WeightProducts, subject: TransformerRegressor) -> WeightProducts:
    """The weights of a single layer whose file reads +h off the query's y slot, as they are with mesascope's -h."""
    turned = subject.source.facts.get("readout") == "+" and weights.config.n_layers == 1
    return replace(weights, PV=-weights.PV) if turned else weights
