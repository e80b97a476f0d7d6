"""The first layer of a model that has x and y in tokens of their own, by itself, and the tokens that it is given."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from .sensitivity import Layer


def first_layer(module: RegressionTransformer) -> RegressionTransformer:
    """A model of one layer that shares the weights of the first one."""
    config = replace(module.config, n_layers=1)
    return RegressionTransformer(
        config, {name: module.get_parameter(name)[: shape[0]].detach() for name, shape in config.shapes.items()}
    )


def as_function(layer: RegressionTransformer, inputs: Float[Tensor, "task token feature"]) -> tuple[Layer, Tensor]:
    """The first layer as a function of the tokens that it is given; and these tokens, of tasks [x ; y]."""
    width = layer.config.token_width

    def states(tokens: Float[Tensor, "task token width"]) -> Float[Tensor, "task token d_model"]:
        def put(h: Tensor, number: int) -> Tensor:
            return torch.cat([tokens, h[..., width:]], dim=-1)  # position codes stay as they are

        return layer.run(inputs, watch={"resid_post": _as_it_is}, edit={"resid_pre": put}).values["resid_post"][0]

    return states, layer.config.layout.arrange(inputs)


def label_values(
    layer: RegressionTransformer, inputs: Float[Tensor, "task token feature"]
) -> Float[Tensor, "task head key d_head"]:
    """What labels alone contribute to the first layer's values: these, minus those of the same tasks with labels 0."""
    blank = torch.cat([inputs[..., : layer.config.d_in], torch.zeros_like(inputs[..., layer.config.d_in :])], dim=-1)
    with_labels, without = (layer.run(held, watch={"v": _as_it_is}).values["v"][0] for held in (inputs, blank))
    return with_labels - without


def _as_it_is(activation: Tensor, number: int) -> Tensor:
    return activation
