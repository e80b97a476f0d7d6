"""Heads of softmax attention: what each writes into the label, and by which scores (von Oswald et al. 2023, figure 11).

A head with scores β x·x_i and a small β reads the mean of the values, and β times a step of gradient descent on centred
inputs. Two heads at ±β that write with opposite signs lose the mean and add up the step. The scale of softmax scores is
no gauge, so KQ and PV are taken as they are; a basis within a head changes neither. The order of heads and that of the
inputs change nothing but the order of what is reported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from einops import einsum
from jaxtyping import Float

from ...models.own.regression_config import RegressionConfig
from ...models.regressors import TransformerRegressor
from ...models.subject import NotApplicable, Subject
from ..regression.products import WeightProducts

ByHead = Float[np.ndarray, "layer head"]
ByLayer = Float[np.ndarray, " layer"]


@dataclass(frozen=True)
class Heads:
    """Softmax heads, layer by layer.

    head_write:          what the head writes into the label for a unit of label that it reads: PV at (y, y)
    head_diagonal:       mean of the inputs' diagonal of KQ / √d_head, the score of a unit of x·x_i
    heads_cancel:        |Σ write| / Σ |write|: 0 where what heads write adds up to nothing, 1 where it has one sign
    heads_off_identity:  ‖S − its nearest multiple of the identity‖_F / ‖S‖_F of S = Σ write · KQ on the inputs' block
    """

    head_write: ByHead
    head_diagonal: ByHead
    heads_cancel: ByLayer
    heads_off_identity: ByLayer


def softmax_of_several_heads(subject: Subject) -> TransformerRegressor | NotApplicable:
    """A subject whose softmax heads can be set beside each other, or why not."""
    if not isinstance(subject, TransformerRegressor):
        return NotApplicable("mesascope cannot read attention weights of this subject")
    reason = _reason(subject.config)
    return subject if reason is None else NotApplicable(reason)


def _reason(config: RegressionConfig) -> str | None:
    if not config.softmax:
        return "this model has linear attention: its heads need no other one to lose the mean of the labels"
    if config.n_heads == 1:
        return "this model has one softmax head: there is no other one that it could cancel with"
    if config.layer_norm:
        return "this model has layer norm, which mixes x and y before a head reads them"
    if config.beside_attention is not None:
        return f"heads are compared by their entries for [x ; y]; this model has {config.beside_attention}"
    return None


def softmax_heads(weights: WeightProducts) -> Heads:
    """Of all distinct blocks. Several outputs: their mean diagonal."""
    d_in = weights.config.d_in
    scores = weights.KQ[:, :, :d_in, :d_in].numpy() / np.sqrt(weights.config.d_head)
    write = weights.PV[:, :, d_in:, d_in:].diagonal(dim1=2, dim2=3).mean(dim=2).numpy()
    together = einsum(write, scores, "layer head, layer head row column -> layer row column")
    multiple = np.trace(together, axis1=1, axis2=2)[:, None, None] / d_in * np.eye(d_in)
    with np.errstate(invalid="ignore"):  # 0/0 of heads that write nothing: NaN
        return Heads(
            write,
            scores.diagonal(axis1=2, axis2=3).mean(axis=2),
            np.abs(write.sum(axis=1)) / np.abs(write).sum(axis=1),
            np.linalg.norm(together - multiple, axis=(1, 2)) / np.linalg.norm(together, axis=(1, 2)),
        )
