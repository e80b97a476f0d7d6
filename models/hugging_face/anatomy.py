"""Module paths of the attention, MLPs and norms in families of Hugging Face models."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from ...data.errors import CheckpointRefused


@dataclass(frozen=True)
class Anatomy:
    """A family's module paths: from the base model (embed, blocks, final_norm), or from a block.

    norm:       the norm before the projections; None: they read the residual stream (norms after attention)
    attention:  the module that calls the attention function
    q, k, v:    the projections, or
    fused:      one for all three; `by_head`: its output is [head, (q k v), d_head], otherwise [(q k v), head, d_head]
    out:        the projection from heads back to the residual stream
    attn_out, mlp_out:  modules whose output is added to the residual stream
    resid_mid:  the module whose output is the stream between attention and MLP; None: the stream plus attn_out
    embed_norm: the norm that follows the sum of embeddings and positions, from the base model; None: no norm
    """

    embed: str
    blocks: str
    final_norm: str | None
    norm: str | None
    attention: str
    out: str
    attn_out: str
    mlp_out: str
    q: str = ""
    k: str = ""
    v: str = ""
    fused: str = ""
    by_head: bool = False
    resid_mid: str | None = None
    embed_norm: str | None = None

    def fits(self, base: nn.Module) -> bool:
        """Whether a model has modules at these paths."""
        try:
            blocks = base.get_submodule(self.blocks)
            for path in (self.embed, self.final_norm, self.embed_norm):
                base.get_submodule(path or "")
            block = next(blocks.children())
            for path in (self.norm, self.attention, self.out, self.attn_out, self.mlp_out, self.resid_mid):
                block.get_submodule(path or "")
            for path in (self.fused,) if self.fused else (self.q, self.k, self.v):
                block.get_submodule(path)
        except (AttributeError, StopIteration):
            return False
        return True


_LLAMA = Anatomy(
    embed="embed_tokens",
    blocks="layers",
    final_norm="norm",
    norm="input_layernorm",
    attention="self_attn",
    out="self_attn.o_proj",
    attn_out="self_attn",
    mlp_out="mlp",
    q="self_attn.q_proj",
    k="self_attn.k_proj",
    v="self_attn.v_proj",
)
_GEMMA = replace(_LLAMA, attn_out="post_attention_layernorm", mlp_out="post_feedforward_layernorm")
_OLMO2 = replace(_GEMMA, norm=None)
_GLM4 = replace(_LLAMA, attn_out="post_self_attn_layernorm", mlp_out="post_mlp_layernorm")
_PHI = replace(_LLAMA, out="self_attn.dense", final_norm="final_layernorm")
_BIOGPT = replace(_LLAMA, norm="self_attn_layer_norm", out="self_attn.out_proj", mlp_out="fc2", final_norm="layer_norm")
_OPT = replace(_BIOGPT, embed="decoder.embed_tokens", blocks="decoder.layers", final_norm="decoder.final_layer_norm")
FAMILIES = {
    "gpt2": Anatomy(
        embed="wte",
        blocks="h",
        final_norm="ln_f",
        norm="ln_1",
        attention="attn",
        out="attn.c_proj",
        attn_out="attn",
        mlp_out="mlp",
        fused="attn.c_attn",
    ),
    "gpt_neox": Anatomy(
        embed="embed_in",
        blocks="layers",
        final_norm="final_layer_norm",
        norm="input_layernorm",
        attention="attention",
        out="attention.dense",
        attn_out="attention",
        mlp_out="mlp",
        fused="attention.query_key_value",
        by_head=True,
    ),
    "llama": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "bert": Anatomy(
        embed="embeddings.word_embeddings",
        blocks="encoder.layer",
        final_norm=None,
        norm=None,
        attention="attention.self",
        out="attention.output.dense",
        attn_out="attention.output.dense",
        mlp_out="output.dense",
        q="attention.self.query",
        k="attention.self.key",
        v="attention.self.value",
        resid_mid="attention.output",
        embed_norm="embeddings.LayerNorm",
    ),
}
"""The families that the tests open, by `model_type`."""
_OTHERS = (_GEMMA, _GLM4, _OLMO2, _PHI, _BIOGPT, _OPT)
"""Parts under other names. A family takes the first description that fits; the check says whether it is right."""


_HEAD_NORMS = (("q_norm", "k_norm"), ("q_layernorm", "k_layernorm"), ("query_layernorm", "key_layernorm"))
"""Names that families give to the norms of q and k."""


def find_anatomy(model_type: str, base: nn.Module) -> Anatomy:
    """The anatomy of a tested family; for other families the first whose module paths fit."""
    candidates = [FAMILIES[model_type]] if model_type in FAMILIES else [*_OTHERS, *FAMILIES.values()]
    for anatomy in candidates:
        if anatomy.fits(base):
            return anatomy
    raise CheckpointRefused(
        f"model_type {model_type!r} is not supported: mesascope does not find its attention modules; tested families:"
        f" {', '.join(FAMILIES)}"
    )


@dataclass(frozen=True)
class Block:
    """One layer of a model, with access to its modules."""

    module: nn.Module
    anatomy: Anatomy
    n_heads: int
    n_kv_heads: int
    parallel: bool = False  # attention and MLP read the same state, side by side
    residual_factor: float = 1.0  # multiplies what attention and MLP write (Granite)

    def part(self, path: str) -> nn.Module:
        """The module at a path of the anatomy."""
        return self.module.get_submodule(path)

    @property
    def dtype(self) -> torch.dtype:
        return next(self.part(self.anatomy.out).parameters()).dtype

    @property
    def d_head(self) -> int:
        W_Q, _ = next(self.projections())
        return W_Q.shape[-1]

    @property
    def norm(self) -> nn.Module | None:
        return None if self.anatomy.norm is None else self.part(self.anatomy.norm)

    def projections(self) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"] | None]]:
        """Weight and bias of q, k and v, for activations as rows: x @ weight + bias."""
        anatomy = self.anatomy
        if anatomy.fused:
            weight, bias = _linear(self.part(anatomy.fused))
            biases = (None,) * 3 if bias is None else self.split(bias)
            yield from zip((rearrange(w, "m h d -> h m d") for w in self.split(weight)), biases, strict=True)
            return
        for path, heads in ((anatomy.q, self.n_heads), (anatomy.k, self.n_kv_heads), (anatomy.v, self.n_kv_heads)):
            weight, bias = _linear(self.part(path))
            split = None if bias is None else rearrange(bias, "(h d) -> h d", h=heads)
            yield rearrange(weight, "m (h d) -> h m d", h=heads), split

    def output(self) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, "d_model"] | None]:
        """W_O and b_O as they write to the stream; views of the model's own tensors where nothing multiplies them."""
        weight, bias = _linear(self.part(self.anatomy.out))
        if self.residual_factor != 1:
            weight, bias = self.residual_factor * weight, None if bias is None else self.residual_factor * bias
        return rearrange(weight, "(h d) m -> h d m", h=self.n_heads), bias

    def head_norms(self) -> tuple[nn.Module, nn.Module] | None:
        """The norms of q and k between the projections and the scores; None if there are none."""
        children = dict(self.part(self.anatomy.attention).named_children())
        for q, k in _HEAD_NORMS:
            if q in children and k in children:
                return children[q], children[k]
        return None

    def split(self, fused: Float[Tensor, "*batch width"]) -> list[Float[Tensor, "*batch head d_head"]]:
        """q, k and v of a fused projection."""
        pattern = "... (h three d) -> three ... h d" if self.anatomy.by_head else "... (three h d) -> three ... h d"
        return list(rearrange(fused, pattern, three=3, h=self.n_heads))

    def fuse(self, parts: list[Float[Tensor, "*batch head d_head"]]) -> Float[Tensor, "*batch width"]:
        """The inverse of `split`."""
        pattern = "three ... h d -> ... (h three d)" if self.anatomy.by_head else "three ... h d -> ... (three h d)"
        return rearrange(torch.stack(parts), pattern)


def _linear(module: Any) -> tuple[Tensor, Tensor | None]:
    """Weight [in, out] and bias of a linear layer; GPT-2's Conv1D already stores [in, out]."""
    weight = module.weight.detach()
    bias = None if module.bias is None else module.bias.detach()
    return (weight.mT if isinstance(module, nn.Linear) else weight), bias
