"""The output weights of one layer's attention, without a copy of every layer's weights."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from ..language_model import LanguageModel
from ..norms import Norm, norm_of
from ..subject import NotApplicable
from .subject import HuggingFaceModel


class AttentionOutput(NamedTuple):
    """The map from the heads' z to attention's write to the residual stream.

    W_O, b_O:  the write is the sum over heads of z W_O, plus b_O
    own_norm:  norm of the write before it is added to the stream (Gemma 2); None: no norm
    norm:      norm of the sum of stream and write, in models that normalise after attention (BERT); None: no norm
    """

    W_O: Float[Tensor, "head d_head d_model"]
    b_O: Float[Tensor, "d_model"] | None
    own_norm: Norm | None = None
    norm: Norm | None = None


def attention_output(subject: LanguageModel, layer: int) -> AttentionOutput | NotApplicable:
    """The output weights of one layer's attention; the tensors are views of the model's own."""
    if isinstance(subject, HuggingFaceModel):
        traits = subject.traits
        for reason in (traits.no_heads, traits.no_stream, traits.no_write):
            if reason is not None:
                return NotApplicable(reason)
        block = subject.blocks[layer]
        anatomy = block.anatomy
        if anatomy.out is None or anatomy.attn_out is None:
            return NotApplicable("what this model's heads give is not multiplied by one output matrix")
        after = None if anatomy.resid_mid is None else norm_of(block.part(anatomy.resid_mid), anatomy.d_model)
        own = (
            None if anatomy.out.startswith(anatomy.attn_out) else norm_of(block.part(anatomy.attn_out), anatomy.d_model)
        )
        return AttentionOutput(*block.output(), own, after)
    weights = subject.weights()
    if isinstance(weights, NotApplicable):
        return weights
    return AttentionOutput(weights.W_O[layer], None if weights.b_O is None else weights.b_O[layer])
