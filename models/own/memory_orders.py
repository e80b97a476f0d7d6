"""Two orders of a batch's numbers in memory, with the operations of a transformer on each.

Weights are matrices as the formulas have them, [read, written], with all heads side by side in one.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from .fast_functions import contract, moments
from .regression_config import RegressionConfig
from .regression_transformer import LAYER_NORM_EPS

WIDE = 16
"""From this width on small matrix products are as quick as sums along rows of tasks."""


class Rows:
    """Each task's tokens together: [task, token, feature], scores [task, token, head, key]."""

    feature, key = 2, 3

    @staticmethod
    def stored(tokens: Float[Tensor, "feature token task"]) -> Float[Tensor, "task token feature"]:
        return tokens.permute(2, 1, 0).contiguous()

    @staticmethod
    def per_feature(vector: Float[Tensor, " feature"]) -> Float[Tensor, " feature"]:
        return vector

    @staticmethod
    def per_pair(mask: Bool[Tensor, "token key"]) -> Bool[Tensor, "token 1 key"]:
        return mask[:, None]

    @staticmethod
    def linear(h: Float[Tensor, "task token read"], W: Float[Tensor, "read written"]) -> Tensor:
        return h @ W

    @staticmethod
    def scores(
        q: Float[Tensor, "task token asked"], c: Float[Tensor, "task key feature"]
    ) -> Float[Tensor, "task token head key"]:
        """Each head's queries against the same keys."""
        asked = rearrange(q, "task token (head feature) -> task (token head) feature", feature=c.shape[2])
        return (asked @ c.mT).unflatten(1, (q.shape[1], -1))

    @staticmethod
    def read(
        scores: Float[Tensor, "task token head key"], c: Float[Tensor, "task key feature"]
    ) -> Float[Tensor, "task token held"]:
        """Each head's sum of keys."""
        return rearrange(scores.flatten(1, 2) @ c, "task (token head) f -> task token (head f)", head=scores.shape[2])

    @staticmethod
    def labels(h: Float[Tensor, "task token feature"], d_out: int) -> Float[Tensor, "d_out task"]:
        """The last token's."""
        return h[:, -1, -d_out:].T

    @staticmethod
    def normed(h: Float[Tensor, "task token feature"], scale: Tensor, offset: Tensor) -> Tensor:
        return nn.functional.layer_norm(h, scale.shape, scale, offset, LAYER_NORM_EPS)


class Columns:
    """Tasks last: [feature, token, task], scores [head, token, key, task]. Sums run along rows of tasks; on the CPU."""

    feature, key = 0, 2

    @staticmethod
    def stored(tokens: Float[Tensor, "feature token task"]) -> Float[Tensor, "feature token task"]:
        return tokens.contiguous()

    @staticmethod
    def per_feature(vector: Float[Tensor, " feature"]) -> Float[Tensor, "feature 1 1"]:
        return vector[:, None, None]

    @staticmethod
    def per_pair(mask: Bool[Tensor, "token key"]) -> Bool[Tensor, "token key 1"]:
        return mask[:, :, None]

    @staticmethod
    def linear(h: Float[Tensor, "read token task"], W: Float[Tensor, "read written"]) -> Tensor:
        return (W.mT @ h.flatten(1)).unflatten(1, h.shape[1:])

    @staticmethod
    def scores(
        q: Float[Tensor, "asked token task"], c: Float[Tensor, "feature key task"]
    ) -> Float[Tensor, "head token key task"]:
        """Each head's queries against the same keys."""
        return contract(q.unflatten(0, (-1, len(c))), c, "hfit,fjt->hijt")

    @staticmethod
    def read(
        scores: Float[Tensor, "head token key task"], c: Float[Tensor, "feature key task"]
    ) -> Float[Tensor, "held token task"]:
        """Each head's sum of keys."""
        return contract(scores, c, "hijt,fjt->hfit").flatten(0, 1)

    @staticmethod
    def read_by_moments(
        x: Float[Tensor, "feature token task"],
        c: Float[Tensor, "feature key task"],
        KQ: Float[Tensor, "feature asked"],
        PV: Float[Tensor, "held feature"],
    ) -> Float[Tensor, "feature token task"]:
        """What linear attention writes: x E with E = Σ_heads KQ M PV, where M = Σ_j c_j c_j^T serves all heads."""
        d_model = len(c)
        asks = rearrange(KQ, "i (head f) -> (i head) f", f=d_model)
        asked = asks @ moments(c).flatten(1)
        held = rearrange(asked, "(i head) (g task) -> i (head g) task", i=d_model, g=d_model)
        return contract(x, PV.mT.expand(d_model, -1, -1) @ held, "fit,fgt->git")

    @staticmethod
    def labels(h: Float[Tensor, "feature token task"], d_out: int) -> Float[Tensor, "d_out task"]:
        """The last token's."""
        return h[-d_out:, -1]

    @staticmethod
    def normed(h: Float[Tensor, "feature token task"], scale: Tensor, offset: Tensor) -> Tensor:
        centred = h - h.mean(dim=0)
        divisor = (centred.square().mean(dim=0) + LAYER_NORM_EPS).rsqrt()
        return centred * divisor * scale[:, None, None] + offset[:, None, None]


Order = type[Rows] | type[Columns]


def quickest_order(config: RegressionConfig, device: torch.device) -> Order:
    return Columns if config.d_model < WIDE and device.type == "cpu" else Rows
