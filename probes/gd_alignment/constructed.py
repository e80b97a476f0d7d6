"""Transformers constructed to take gradient steps (von Oswald et al. 2023, proposition 1 and appendix A.10).

A constructed model takes the number of context tokens from the tasks, and dampening and activation clip from the model
that it is compared with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...models.constructed.gradient_descent import gd_transformer, gdpp_transformer
from ...models.own.regression_transformer import RegressionTransformer


@dataclass(frozen=True)
class ConstructedShape:
    """What a constructed model shares with the model that it is compared with."""

    n_context: int
    d_in: int
    d_out: int
    n_layers: int
    tied: bool = True
    dampening: float = 1.0
    activation_clip: float | None = None

    @property
    def n_blocks(self) -> int:
        return 1 if self.tied else self.n_layers


def constructed_gd(shape: ConstructedShape, rates: Sequence[float]) -> RegressionTransformer:
    """`n_layers` steps of gradient descent, at one learning rate or at one for each layer; float64."""
    if len(rates) > 1:
        return constructed_gdpp(replace(shape, tied=False), rates, [0.0] * len(rates))
    return gd_transformer(
        shape.n_context,
        rates[0],
        shape.d_in,
        shape.d_out,
        shape.n_layers,
        dampening=shape.dampening,
        activation_clip=shape.activation_clip,
    )


def constructed_gdpp(shape: ConstructedShape, rates: Sequence[float], gammas: Sequence[float]) -> RegressionTransformer:
    """`n_layers` steps of GD++; float64."""
    return gdpp_transformer(
        shape.n_context,
        rates,
        gammas,
        shape.d_in,
        shape.d_out,
        shape.n_layers,
        tied=shape.tied,
        dampening=shape.dampening,
        activation_clip=shape.activation_clip,
    )
