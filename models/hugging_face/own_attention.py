"""Families that compute attention in their own code instead of calling the attention function of transformers.

Where a family has a method of its own for the scores, that method is replaced; otherwise the forward pass of its
attention is. What replaces them calls the attention function that the configuration names, and leaves everything to the
family's own code where it names "eager". The opening check compares the two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.bloom.modeling_bloom import BloomAttention
from transformers.models.codegen.modeling_codegen import CodeGenAttention
from transformers.models.falcon.modeling_falcon import FalconAttention, apply_rotary_pos_emb
from transformers.models.gpt_neo.modeling_gpt_neo import GPTNeoSelfAttention
from transformers.models.gptj.modeling_gptj import GPTJAttention
from transformers.models.mpt.modeling_mpt import MptAttention
from transformers.models.openai.modeling_openai import Attention as OpenAIAttention

Attention = Callable[..., Float[Tensor, "batch pos head d_head"]]
"""(q, k, v, mask, ...) -> z, by the attention function that is in use."""


def reroute(module: PreTrainedModel) -> None:
    """Let the attentions of a model call the attention function that its configuration names."""
    for part in module.modules():
        for kind, (name, replacement) in _REPLACED.items():
            if isinstance(part, kind):
                setattr(part, name, _unless_eager(getattr(part, name), replacement, part, module.config))


def attention_mask(*args: Any, config: Any = None, **kwargs: Any) -> Tensor | None:
    """The mask of torch's attention, which is left out where causality says it all; MPT cannot do without one."""
    if getattr(config, "model_type", None) == "mpt":
        kwargs["allow_is_causal_skip"] = False
    return sdpa_mask(*args, config=config, **kwargs)


def _unless_eager(own: Callable[..., Any], replacement: Callable[..., Any], part: nn.Module, config: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        if config._attn_implementation == "eager":
            return own(*args, **kwargs)
        function = ALL_ATTENTION_FUNCTIONS[config._attn_implementation]

        def attend(*inputs: Any, **settings: Any) -> Tensor:
            z, _ = function(part, *inputs, **settings)
            return z

        return replacement(part, attend, *args, **kwargs)

    return call


def _gpt_neo(
    part: GPTNeoSelfAttention, attend: Attention, q: Tensor, k: Tensor, v: Tensor, attention_mask: Tensor | None = None
) -> tuple[Tensor, None]:
    """Scores are not scaled; local layers have a window, which their own buffer holds as a mask."""
    n = q.shape[-2]
    window = int(part.bias[0, 0, -1].sum()) if part.attention_type == "local" else None
    mask = None if window is None else part.bias[:, :, :n, :n]
    return attend(q, k, v, mask, scaling=1.0, sliding_window=window).transpose(1, 2), None


def _gpt_j(
    part: GPTJAttention | CodeGenAttention,
    attend: Attention,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attention_mask: Tensor | None = None,
) -> tuple[Tensor, None]:
    return attend(q, k, v, None, scaling=1 / float(part.scale_attn)).transpose(1, 2), None


def _openai_gpt(
    part: OpenAIAttention,
    attend: Attention,
    q: Tensor,
    k: Float[Tensor, "batch head d_head pos"],
    v: Tensor,
    attention_mask: Tensor | None = None,
    output_attentions: bool = False,
) -> list[Tensor]:
    scale = v.shape[-1] ** -0.5 if part.scale else 1.0
    return [attend(q, k.mT, v, None, scaling=scale).transpose(1, 2)]


def _bloom(
    part: BloomAttention,
    attend: Attention,
    hidden_states: Float[Tensor, "batch pos d_model"],
    residual: Float[Tensor, "batch pos d_model"],
    alibi: Tensor,
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    q, k, v = part._reshape(part.query_key_value(hidden_states))
    slopes = part.beta * _slopes(alibi, part.num_heads)
    z = attend(q, k, v, None, scaling=part.inv_norm_factor, slopes=slopes)
    return part.dense(z.flatten(-2)) + residual, None


def _falcon(
    part: FalconAttention,
    attend: Attention,
    hidden_states: Float[Tensor, "batch pos d_model"],
    alibi: Tensor | None,
    attention_mask: Tensor | None,
    position_embeddings: tuple[Tensor, Tensor],
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """With slopes or rotary positions. Its own code gives every query head a key, too."""
    heads = part._split_heads(part.query_key_value(hidden_states))
    q, k, v = (rearrange(x, "batch pos head d_head -> batch head pos d_head") for x in heads)
    if alibi is None:
        q, k = apply_rotary_pos_emb(q, k, *position_embeddings)
    slopes = None if alibi is None else part.inv_norm_factor * _slopes(alibi, part.num_heads)
    z = attend(q, k, v, None, scaling=part.head_dim**-0.5, slopes=slopes)
    return part.dense(z.flatten(-2)), None


def _mpt(
    part: MptAttention,
    attend: Attention,
    hidden_states: Float[Tensor, "batch pos d_model"],
    position_bias: Tensor,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    qkv = part.Wqkv(hidden_states)
    if part.clip_qkv:
        qkv = qkv.clamp(min=-part.clip_qkv, max=part.clip_qkv)
    q, k, v = rearrange(qkv, "batch pos (three head d_head) -> three batch head pos d_head", three=3, head=part.n_heads)
    z = attend(q, k, v, None, scaling=part.softmax_scale, slopes=_slopes(position_bias, part.n_heads))
    return part.out_proj(z.flatten(-2)), None


def _slopes(bias: Tensor, n_heads: int) -> Float[Tensor, "head"]:
    """ALiBi's slopes from biases of the keys, [..., head, 1, key]. A single key has no slope to see."""
    by_key = bias.reshape(-1, n_heads, bias.shape[-1])[0]
    return by_key[:, 1] - by_key[:, 0] if by_key.shape[-1] > 1 else torch.zeros_like(by_key[:, 0])


_REPLACED: Mapping[type[nn.Module], tuple[str, Callable[..., Any]]] = {
    GPTNeoSelfAttention: ("_attn", _gpt_neo),
    GPTJAttention: ("_attn", _gpt_j),
    CodeGenAttention: ("_attn", _gpt_j),
    OpenAIAttention: ("_attn", _openai_gpt),
    BloomAttention: ("forward", _bloom),
    FalconAttention: ("forward", _falcon),
    MptAttention: ("forward", _mpt),
}
"""The method that is replaced, by class."""
