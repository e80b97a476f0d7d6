"""The linear model that a regression model holds after each layer: y_l = W_l x_q, a matrix for each context.

Where attention is linear and only context tokens are keys, causal or not, every layer multiplies the query's token by
a matrix that the context decides, so W_l is in the weights (Vladymyrov et al. 2024, arXiv 2402.14180). Row convention,
C_l the context tokens before layer l, KQ = W_Q W_K^T and PV = W_V W_O of each head:

    T_0 = I,   T_{l+1} = T_l (I + dampening Σ_heads KQ_l C_l^T C_l PV_l),   W_l = -T_l[x, y]^T

Elsewhere (softmax, layer norm, clip, a query that is its own key) W_l is the Jacobian of the layer's read-out at the
query: the model's answer is linear only as far as other queries say so. A wrapped predictor has one read-out.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor
from torch.func import jvp, vmap

from ...data.batch import Batch
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from .examined import Examined
from .nulls import Untrained
from .products import module_products

Weights = Float[Tensor, "layer task d_out d_in"]


@dataclass(frozen=True)
class LayerWeights:
    """Of a model turned by its sign; float64 on the CPU.

    weights:  W after each layer; of a wrapped predictor, of its answer alone
    exact:    whether they are in the weights; otherwise they are Jacobians at the query
    missing:  why they are NaN, where a predictor's cannot be had
    """

    weights: Weights
    exact: bool
    missing: str = ""


def layer_weights(examined: Examined, tasks: Batch, model: Untrained | None = None) -> LayerWeights:
    """Of the subject on these tasks, or of another model of its shape in its place."""
    subject = examined.subject
    if model is None and not isinstance(subject, TransformerRegressor):
        behaviour = examined.subject_behaviour(tasks)
        return LayerWeights(behaviour.sensitivity[None], exact=False, missing=behaviour.missing)
    if model is not None:
        module, sign = model.module, model.sign
    else:
        assert isinstance(subject, TransformerRegressor)  # a predictor has been answered above
        module, sign = subject.module, examined.sign
    exact = has_closed_form(module.config)
    found = closed_form if exact else jacobian
    return LayerWeights(sign * found(module, examined.inputs(tasks), examined.batch_size), exact)


def has_closed_form(config: RegressionConfig) -> bool:
    """Whether the query's token is multiplied by a matrix of the context in every layer."""
    return config.merges and config.activation_clip is None


def closed_form(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"], batch_size: int = 2048
) -> Weights:
    """W after each layer of a transformer that `has_closed_form`; where the tasks set the query's y slot, the slope."""
    double = in_double(module)
    parts = inputs.detach().cpu().double().split(batch_size)
    return torch.cat([_closed_form(double, part) for part in parts], dim=1)


def in_double(module: RegressionTransformer) -> RegressionTransformer:
    """The same transformer in float64 on the CPU."""
    weights = {name: held.detach().cpu().double() for name, held in module.named_parameters()}
    return RegressionTransformer(module.config, weights)


def _closed_form(module: RegressionTransformer, inputs: Float[Tensor, "task token feature"]) -> Weights:
    config, products = module.config, module_products(module)
    PV = config.dampening * products.PV
    if config.target_only:
        PV[..., : config.d_in] = 0
    T = torch.eye(config.d_model, dtype=torch.float64)[: config.d_in].expand(len(inputs), -1, -1)  # rows of x
    found = []
    for layer, moments in enumerate(module.run(inputs, watch={"resid_pre": _moments}).values["resid_pre"]):
        block = 0 if config.tied else layer
        asked = einsum(T, products.KQ[block], "task x i, head i j -> task head x j")
        T = T + (asked @ moments[:, None] @ PV[block]).sum(dim=1)
        found.append(-T[..., config.d_in :].mT)
    return torch.stack(found)


def _moments(tokens: Float[Tensor, "task token d_model"], layer: int) -> Float[Tensor, "task d_model d_model"]:
    """C^T C: all that the query reads of a context."""
    context = tokens[:, :-1]
    return context.mT @ context


def jacobian(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"], batch_size: int = 2048
) -> Weights:
    """Derivatives of each layer's read-out with respect to the query's x, in forward mode: one pass for all layers, as
    wide as the query has entries.
    """
    parts = inputs.detach().split(max(1, batch_size // module.config.d_in))
    with warnings.catch_warnings():  # torch compiles rules of forward mode, once, in a way that it has deprecated
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.cat([_jacobian(module, part).cpu().double() for part in parts], dim=1)


def _jacobian(module: RegressionTransformer, inputs: Float[Tensor, "task token feature"]) -> Weights:
    d_in = module.config.d_in
    query, rest = inputs[:, -1:, :d_in], inputs[:, -1:, d_in:]

    def read_outs(x: Tensor) -> Tensor:
        return module.predict_layers(torch.cat([inputs[:, :-1], torch.cat([x, rest], dim=-1)], dim=1))

    def along(direction: Float[Tensor, " d_in"]) -> Float[Tensor, "layer task d_out"]:
        return jvp(read_outs, (query,), (direction.expand_as(query).clone(),))[1]

    directions = torch.eye(d_in, dtype=inputs.dtype, device=inputs.device)
    return vmap(along, out_dims=-1)(directions)
