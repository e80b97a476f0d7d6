"""Language models of Hugging Face's transformers as subjects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import UsageError
from ..language_model import LanguageModel, LanguageModelShape
from ..norms import Norm, norm_of
from ..rotary import Rotary
from ..subject import NotApplicable, Source
from ..taps import Taps
from ..tokenizing import begins_with
from ..weights import AttentionWeights
from .anatomy import FAMILIES, Anatomy, Block, find_anatomy
from .watched import IMPLEMENTATION, watched_pass


class HuggingFaceModel(LanguageModel):
    """A transformers model as a subject. The module is the subject's own; its tensors may be shared with the caller's.

    no_head:  the reason why there are no logits; None: there are logits
    """

    packages = ("transformers", "tokenizers", "huggingface-hub")

    def __init__(
        self, module: PreTrainedModel, source: Source, tokenizer: Any | None = None, no_head: str | None = None
    ) -> None:
        module.eval().requires_grad_(False)
        module.config._attn_implementation = IMPLEMENTATION
        self.module = module
        self.source = source
        self.tokenizer = tokenizer
        self.no_head = no_head or _missing_head(module)
        self.anatomy = find_anatomy(module.config.model_type, module.base_model)
        self.blocks = _blocks(module, self.anatomy)
        self.shape = _shape(module, self.blocks)

    @property
    def _base(self) -> nn.Module:
        return self.module.base_model

    @property
    def dtype(self) -> torch.dtype:
        return next(self._base.parameters()).dtype

    @property
    def device(self) -> torch.device:
        return next(self._base.parameters()).device

    def weights(self, folded: bool = False) -> AttentionWeights | NotApplicable:
        """Copies of the projections' weights, without the norms of q and k (Qwen3) and of attn_out (Gemma 2)."""
        if folded and self.anatomy.norm is None:
            return NotApplicable(
                f"{self.source.name} normalises after attention, so there is no norm before it to fold"
            )
        columns = [(*block.projections(), block.output()) for block in self.blocks]
        stacked: dict[str, Tensor | None] = {}
        for role, column in zip("QKVO", zip(*columns, strict=True), strict=True):
            weights, biases = zip(*column, strict=True)
            stacked[f"W_{role}"] = torch.stack(weights)
            stacked[f"b_{role}"] = None if biases[0] is None else torch.stack(biases)
        found = AttentionWeights(**cast(Any, stacked), rotary=self._rotary())
        if not folded:
            return found
        norms = [norm_of(cast(nn.Module, block.norm)) for block in self.blocks]
        scales, offsets = ([getattr(norm, vector) for norm in norms] for vector in ("scale", "offset"))
        return found.with_norm_folded(
            torch.stack(scales).to(self.dtype), None if offsets[0] is None else torch.stack(offsets)
        )

    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        """The input of a layer's projections: q = attention_input(resid_pre) @ W_Q + b_Q, folded or not."""
        norm = self.blocks[layer].norm
        if norm is None:
            return resid_pre
        return norm_of(norm).without_affine()(resid_pre) if folded else norm(resid_pre)

    @property
    def final_norm(self) -> Norm:
        path = self.anatomy.final_norm
        return Norm() if path is None else norm_of(self._base.get_submodule(path))

    @torch.no_grad()
    def embedding(self) -> Float[Tensor, "d_vocab d_model"]:
        embed = cast(nn.Embedding, self._base.get_submodule(self.anatomy.embed))
        if type(embed) is nn.Embedding:
            return embed.weight
        return embed(torch.arange(embed.num_embeddings, device=self.device))  # a factor of its own (Gemma)

    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        if self.no_head is not None:
            return NotApplicable(f"{self.source.name} has no logits: {self.no_head}")
        head = _head(self.module)
        if not isinstance(head, nn.Linear):
            return NotApplicable(
                f"{self.source.name} has no single unembedding matrix: its head is a {type(head).__name__}"
            )
        return head.weight.detach().mT

    def _states(self, tokens: Int[Tensor, "batch pos"], taps: Taps) -> Float[Tensor, "batch pos d_model"]:
        return watched_pass(self._base, self.blocks, tokens, taps, self.shape.causal)

    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        self._require_head()
        logits = _head(self.module)(state)
        cap = getattr(self.module.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    def _require_head(self) -> None:
        if self.no_head is not None:
            raise UsageError(
                f"{self.source.name} has no logits: {self.no_head}; expected a checkpoint with its language-modelling"
                " head"
            )

    def _rotary(self) -> Rotary | None:
        frequencies = getattr(getattr(self._base, "rotary_emb", None), "inv_freq", None)
        return None if frequencies is None else Rotary(frequencies.detach())


def identifying(module: PreTrainedModel, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors in the digest: each tied tensor once, so that every container gives the same digest."""
    found = dict(state)
    for target, source in (getattr(module, "all_tied_weights_keys", None) or {}).items():
        if target in found and source not in found:
            found[source] = found.pop(target)
        elif target in found and _same(found[target], found[source]):
            del found[target]
    return found


def _same(a: Tensor, b: Tensor) -> bool:
    return a.data_ptr() == b.data_ptr() or torch.equal(a, b)


def untested_family(config: Any) -> tuple[str, ...]:
    """The note on a family that mesascope's tests do not open; empty for tested families."""
    if config.model_type in FAMILIES:
        return ()
    return (f"model_type {config.model_type!r} is not among the tested families ({', '.join(FAMILIES)})",)


def facts_of(module: PreTrainedModel, tokenizer: Any | None, tokenizer_sha256: str | None) -> dict[str, Any]:
    """Facts that the weights do not show. `bos` is the token that begins sequences; None: no token."""
    embedding = cast(nn.Embedding, module.get_input_embeddings())
    return {
        "model_type": module.config.model_type,
        "architecture": type(module).__name__,
        "dtype": str(module.dtype).removeprefix("torch."),
        "bos": begins_with(tokenizer, module.config, embedding.num_embeddings),
        "tokenizer_sha256": tokenizer_sha256,
    }


def _missing_head(module: PreTrainedModel) -> str | None:
    if module.get_output_embeddings() is not None:
        return None
    return f"{type(module).__name__} has no head that predicts tokens"


def _head(module: PreTrainedModel) -> nn.Module:
    """The one child module that is not the base model."""
    (head,) = (child for name, child in module.named_children() if name != module.base_model_prefix)
    return head


def _blocks(module: PreTrainedModel, anatomy: Anatomy) -> list[Block]:
    config = module.config
    n_heads = config.num_attention_heads
    n_kv_heads = getattr(config, "num_key_value_heads", None) or n_heads
    parallel = bool(getattr(config, "use_parallel_residual", False))
    layers = module.base_model.get_submodule(anatomy.blocks).children()
    return [Block(layer, anatomy, n_heads, n_kv_heads, parallel) for layer in layers]


def _shape(module: PreTrainedModel, blocks: list[Block]) -> LanguageModelShape:
    config, block = module.config, blocks[0]
    W_Q, _ = next(block.projections())
    vocabulary = cast(nn.Embedding, module.base_model.get_submodule(block.anatomy.embed)).num_embeddings
    rotary = getattr(module.base_model, "rotary_emb", None) is not None
    return LanguageModelShape(
        n_layers=len(blocks),
        n_heads=block.n_heads,
        n_kv_heads=block.n_kv_heads,
        d_model=config.hidden_size,
        d_head=W_Q.shape[-1],
        d_vocab=vocabulary,
        n_ctx=config.max_position_embeddings,
        causal=bool(getattr(block.part(block.anatomy.attention), "is_causal", True)),
        positions="rotary" if rotary else "learned",
    )
