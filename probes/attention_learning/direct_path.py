"""Beta of a head by the direct path: what a source says about the next token if the head attends to it alone.

    beta_ts = v_s W_O u_y,    u_y = scale * (W_U[:, y] - mean over words o of W_U[:, o])

v_s is the head's value at source s, W_O its output matrix, y the token after t and scale that of the final norm; where
the norm subtracts the mean of a state, so does u_y. It is the log-odds of y up to their first order: what the head adds
to the logit of y beyond the mean over all words, not through later layers, with the final norm's division held fixed.
That division, and that of a norm of the head's own write, is the same for all sources of t, and is left out.

In one layer without norms this is the OV circuit, W_E W_V W_O W_U.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.norms import Norm
from ...models.subject import NotApplicable
from ...models.weights import AttentionOutput

_AFTER = (
    "this model normalises the residual stream after each layer's attention: what a head writes does not reach the"
    " logits by a direct path"
)


@dataclass(frozen=True, eq=False)
class DirectPath:
    """From the values of a model's heads to its logits.

    mean:  of the columns of W_U
    """

    subject: LanguageModel
    W_U: Float[Tensor, "d_model d_vocab"]
    mean: Float64[Tensor, " d_model"]
    final_norm: Norm

    @classmethod
    def of(cls, subject: LanguageModel) -> DirectPath | NotApplicable:
        """Or why there is none."""
        W_U = subject.unembedding()
        if isinstance(W_U, NotApplicable):
            return W_U
        for layer in range(subject.shape.n_layers):
            output = subject.attention_output(layer)
            if isinstance(output, NotApplicable):
                return output
            if output.norm is not None:
                return NotApplicable(_AFTER)
        wide = torch.promote_types(W_U.dtype, torch.float32)
        return cls(subject, W_U, W_U.mean(dim=1, dtype=wide).cpu().double(), subject.final_norm)

    def directions(self, words: Int[Tensor, "batch query"]) -> Float64[Tensor, "batch query d_model"]:
        """u_y of these words, on the CPU."""
        columns = self.W_U.mT[words.to(self.W_U.device)].cpu().double()
        return through(self.final_norm, columns - self.mean)

    def beta(
        self,
        layer: int,
        v: Float[Tensor, "batch kv_head key d_head"],
        directions: Float64[Tensor, "batch query d_model"],
    ) -> Float64[Tensor, "batch head query key"]:
        """Of every key, whether the query attends to it or not."""
        output = self.subject.attention_output(layer)
        assert not isinstance(output, NotApplicable), "asked in `of`"
        return head_beta(v.cpu().double(), output, directions)


def head_beta(
    v: Float64[Tensor, "batch kv_head key d_head"],
    output: AttentionOutput,
    directions: Float64[Tensor, "batch query d_model"],
) -> Float64[Tensor, "batch head query key"]:
    """v W_O u. Query head h uses key-value head h // (heads / key-value heads). Keys with the same v have the same
    beta, to the last bit.
    """
    if output.own_norm is not None:
        directions = through(output.own_norm, directions)
    W_O = output.W_O.detach().cpu().double()
    read = einsum(W_O, directions, "head d_head d_model, batch query d_model -> batch head query d_head")
    grouped = rearrange(
        read, "batch (kv_head group) query d_head -> batch kv_head group query d_head", kv_head=v.shape[1]
    )
    first = v[:, :, :1]  # products of equal rows may differ in their last bit; those of rows of zeros do not
    beta = grouped @ (v - first)[:, :, None].mT + grouped @ first[:, :, None].mT
    return rearrange(beta, "batch kv_head group query key -> batch (kv_head group) query key")


def through(norm: Norm, directions: Float64[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch d_model"]:
    """What reads a state as these directions read the normalised one, the norm's division and offset apart."""
    if norm.scale is not None:
        directions = directions * norm.scale.detach().cpu().double()
    return directions - directions.mean(dim=-1, keepdim=True) if norm.kind == "layer" else directions
