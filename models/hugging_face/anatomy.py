"""Where the parts of a Hugging Face model are, and access to those of one layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from .fused import Fused


@dataclass(frozen=True)
class Anatomy:
    """Paths of modules: from the base model (embed, blocks, final_norm, embed_norm), or from a block. "" is no path.

    n_heads, n_kv_heads:  heads of every layer
    d_head:          the width of a head's values
    norm:            the norm before the projections; None: they read the residual stream (norms after attention)
    attention:       the module that calls the attention function; None: what heads do is not shown
    projections:     of q, k and v, the same path three times where one module holds all, as `fused` says; None: q, k
                     and v are not linear in what attention reads (DeepSeek)
    head_norms:      of q and k between projections and scores; None: there are none
    out:             the projection from heads back to the residual stream; None: it is not one matrix
    attn_out, mlp_out:  modules whose output is added to the residual stream; None: no two modules add up to it
    residual_factor: multiplies what is added (Granite)
    in_place:        what attention or MLP write is changed in place later (Falcon)
    parallel:        attention and MLP read the same state, side by side
    resid_mid:       the module whose output is the stream between attention and MLP; None: the stream plus attn_out
    mlp_norm:        the norm between the stream and the MLP; None: the MLP reads the stream (norms after it)
    mlp_in:          the linear modules that read what the MLP reads; none: there are none
    final_norm:      the norm before the unembedding; None: every block ends with its norm
    embed_norm:      the norm that follows the sum of embeddings and positions; None: no norm
    no_heads:        why there is no `attention`
    """

    embed: str
    blocks: str
    d_model: int
    d_head: int
    n_heads: int
    n_kv_heads: int
    attention: str | None
    out: str | None
    attn_out: str | None
    mlp_out: str | None
    norm: str | None = None
    projections: tuple[str, str, str] | None = None
    fused: Fused | None = None
    head_norms: tuple[str, str] | None = None
    residual_factor: float = 1.0
    in_place: bool = False
    parallel: bool = False
    resid_mid: str | None = None
    mlp_norm: str | None = None
    mlp_in: tuple[str, ...] = ()
    final_norm: str | None = None
    embed_norm: str | None = None
    no_heads: str | None = None


@dataclass(frozen=True)
class Block:
    """One layer of a model, with access to its modules."""

    module: nn.Module
    anatomy: Anatomy

    def part(self, path: str) -> nn.Module:
        """The module at a path of the anatomy."""
        return self.module.get_submodule(path)

    @property
    def norm(self) -> nn.Module | None:
        return None if self.anatomy.norm is None else self.part(self.anatomy.norm)

    def projections(self) -> Iterator[tuple[Float[Tensor, "head d_model d_head"], Float[Tensor, "head d_head"] | None]]:
        """Weight and bias of q, k and v, for activations as rows: x @ weight + bias. There has to be a projection."""
        anatomy = self.anatomy
        assert anatomy.projections is not None
        if anatomy.fused is not None:
            weight, bias = linear(self.part(anatomy.projections[0]))
            biases = (None,) * 3 if bias is None else anatomy.fused.split(bias)
            yield from zip((rearrange(w, "m h d -> h m d") for w in anatomy.fused.split(weight)), biases, strict=True)
            return
        heads = (anatomy.n_heads, anatomy.n_kv_heads, anatomy.n_kv_heads)
        for path, n in zip(anatomy.projections, heads, strict=True):
            weight, bias = linear(self.part(path))
            split = None if bias is None else rearrange(bias, "(h d) -> h d", h=n)
            yield rearrange(weight, "m (h d) -> h m d", h=n), split

    def output(self) -> tuple[Float[Tensor, "head d_head d_model"], Float[Tensor, "d_model"] | None]:
        """W_O and b_O as they write to the stream; views of the model's own tensors where nothing multiplies them.

        There has to be an output matrix.
        """
        assert self.anatomy.out is not None
        weight, bias = linear(self.part(self.anatomy.out))
        if (factor := self.anatomy.residual_factor) != 1:
            weight, bias = factor * weight, None if bias is None else factor * bias
        return rearrange(weight, "(h d) m -> h d m", h=self.anatomy.n_heads), bias

    def head_norms(self) -> tuple[nn.Module, nn.Module] | None:
        """The norms of q and k between the projections and the scores; None if there are none."""
        if self.anatomy.head_norms is None:
            return None
        q, k = self.anatomy.head_norms
        return self.part(q), self.part(k)


def linear(module: Any) -> tuple[Float[Tensor, "d_in d_out"], Float[Tensor, "d_out"] | None]:
    """Weight and bias of a linear layer; GPT-2's Conv1D already stores [in, out]."""
    weight, bias = module.weight.detach(), getattr(module, "bias", None)
    return (weight if isinstance(module, Conv1D) else weight.mT), None if bias is None else bias.detach()


def is_linear(module: nn.Module) -> bool:
    """Whether a module multiplies by one matrix."""
    weight = getattr(module, "weight", None)
    return isinstance(weight, Tensor) and weight.ndim == 2 and not isinstance(module, nn.Embedding)
