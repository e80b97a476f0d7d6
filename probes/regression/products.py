"""The two products of each head that linear attention acts through, and which of their entries can reach the output.

KQ = W_Q W_K^T and PV = W_V W_O (row convention). A change of basis within a head changes neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import RegressionTransformer
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Subject

Products = Float[Tensor, "block head d_model d_model"]


@dataclass(frozen=True)
class WeightProducts:
    """KQ and PV of each distinct block, float64 on the CPU, and the model around them."""

    KQ: Products
    PV: Products
    config: RegressionConfig

    @property
    def single_head(self) -> bool:
        return self.KQ.shape[1] == 1


def linear_attention_of(subject: Subject) -> TransformerRegressor | NotApplicable:
    """A subject whose weights can be set beside constructed ones, or why they cannot."""
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("mesascope cannot read attention weights of this subject")
    if subject.config.softmax:
        return NotApplicable("constructed gradient descent has linear attention, this model softmax attention")
    if subject.config.layer_norm:
        return NotApplicable("constructed gradient descent has no layer norm, but this model has")
    if subject.config.beside_attention is not None:
        return NotApplicable(
            f"constructed gradient descent is attention alone, on tokens [x ; y]; this model has"
            f" {subject.config.beside_attention}"
        )
    if subject.config.order_matters:
        return NotApplicable(
            "constructed gradient descent takes every step on all pairs of a context, but this model has a causal mask:"
            " its context tokens do not attend to later ones"
        )
    return subject


def products(subject: Subject) -> WeightProducts | NotApplicable:
    """A subject's products, or why its weights cannot be set beside constructed ones."""
    readable = linear_attention_of(subject)
    return readable if isinstance(readable, NotApplicable) else module_products(readable.module)


def module_products(module: RegressionTransformer) -> WeightProducts:
    """Products of a linear-attention transformer's distinct blocks."""
    W_Q, W_K, W_V, W_O = (getattr(module, name).detach().cpu().double() for name in ("W_Q", "W_K", "W_V", "W_O"))
    return WeightProducts(W_Q @ W_K.mT, W_V @ W_O, module.config)


@dataclass(frozen=True)
class Live:
    """Entries of KQ and PV that can change a prediction, block by block."""

    KQ: Bool[Tensor, "block d_model d_model"]
    PV: Bool[Tensor, "block d_model d_model"]


def live_entries(config: RegressionConfig, query_label_set: bool = False) -> Live:
    """Which entries can reach the output.

    In the last application only the query's y slot is read: PV's y columns are live. In the first the query's y slot is
    still 0 (unless the tasks set it), so with one layer KQ's y rows are dead; later it holds the running residual, and
    context tokens always carry labels. With `target_only` PV's x columns write nowhere.
    """
    KQ = torch.ones(config.n_blocks, config.d_model, config.d_model, dtype=torch.bool)
    PV = KQ.clone()
    if config.n_layers == 1 and not query_label_set:
        KQ[:, config.d_in :] = False
    if config.n_layers == 1 or not config.tied:
        PV[-1, :, : config.d_in] = False
    if config.target_only:
        PV[:, :, : config.d_in] = False
    return Live(KQ, PV)
