"""Language models of Hugging Face's transformers as subjects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused, UsageError
from ..language_model import LanguageModel, LanguageModelShape, Positions
from ..norms import Norm, norm_of
from ..opening_check import OpeningCheck
from ..subject import NotApplicable, Source
from ..taps import Taps
from ..tokenizing import begins_with
from ..weights import AttentionWeights
from .anatomy import FAMILIES, Anatomy, Block, find_anatomy
from .traits import Traits
from .watched import IMPLEMENTATION, watched_pass


class HuggingFaceModel(LanguageModel):
    """A transformers model as a subject. The module is the subject's own; its tensors may be shared with the caller's.

    no_head:  the reason why there are no logits; None: there are logits
    traits:   what was measured of the model; without it, what its configuration declares, unchecked. `opened` in
              opening_check.py measures and checks
    """

    packages = ("transformers", "tokenizers", "huggingface-hub")

    def __init__(
        self,
        module: PreTrainedModel,
        source: Source,
        tokenizer: Any | None = None,
        no_head: str | None = None,
        traits: Traits | None = None,
    ) -> None:
        module.eval().requires_grad_(False)
        module.config._attn_implementation = IMPLEMENTATION
        module.config.return_dict = True  # how outputs are wrapped says nothing about the model
        self.module = module
        self.source = source
        self.tokenizer = tokenizer
        self.no_head = no_head or _missing_head(module)
        self.anatomy = find_anatomy(module.config.model_type, module.base_model)
        self.blocks = _blocks(module, self.anatomy)
        self.opening_check: OpeningCheck | None = None
        self.adopt(traits or _declared(module, self.blocks))

    def adopt(self, traits: Traits) -> None:
        """Take over what was measured of the model."""
        self.traits = traits
        self.blocks = [replace(block, parallel=p) for block, p in zip(self.blocks, traits.parallel, strict=True)]
        self.shape = _shape(self.module, self.blocks, traits)

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
        """Copies of the projections' weights, without the norms of q and k (Qwen3), which only `qk` contains, and of
        attn_out (Gemma 2). W_O contains the factor of what is written (Granite).
        """
        return self.weights_of(range(len(self.blocks)), folded)

    def weights_of(self, layers: Sequence[int], folded: bool = False) -> AttentionWeights | NotApplicable:
        """The weights of some layers, as if there were no others."""
        if folded and self.anatomy.norm is None:
            return NotApplicable(
                f"{self.source.name} normalises after attention, so there is no norm before it to fold"
            )
        blocks = [self.blocks[layer] for layer in layers]
        columns = [(*block.projections(), block.output()) for block in blocks]
        stacked: dict[str, Tensor | None] = {}
        for role, column in zip("QKVO", zip(*columns, strict=True), strict=True):
            weights, biases = zip(*column, strict=True)
            stacked[f"W_{role}"] = torch.stack(weights)
            stacked[f"b_{role}"] = None if biases[0] is None else torch.stack(biases)
        rotary = tuple(self.traits.rotary[layer] for layer in layers)
        alike = all(one is rotary[0] for one in rotary)
        norms_of_heads = head_norms(blocks, stacked["W_K"].shape[1] if stacked["W_K"] is not None else 0)
        found = AttentionWeights(
            **cast(Any, stacked), rotary=rotary[0] if alike else rotary, **norms_of_heads, no_qk=self.traits.no_qk
        )
        if not folded:
            return found
        norms = [norm_of(cast(nn.Module, block.norm)) for block in blocks]
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
            table = embed.weight
        else:
            table = embed(torch.arange(embed.num_embeddings, device=self.device))  # a factor of its own (Gemma)
        return table if self.traits.embed_factor == 1 else self.traits.embed_factor * table

    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        if self.no_head is not None:
            return NotApplicable(f"{self.source.name} has no logits: {self.no_head}")
        head = _head(self.module)
        if not isinstance(head, nn.Linear):
            return NotApplicable(
                f"{self.source.name} has no single unembedding matrix: its head is a {type(head).__name__}"
            )
        factor = _logit_factor(self.module.config)
        return head.weight.detach().mT if factor == 1 else factor * head.weight.detach().mT

    def _states(self, tokens: Int[Tensor, "batch pos"], taps: Taps) -> Float[Tensor, "batch pos d_model"]:
        traits = self.traits
        return watched_pass(self._base, self.blocks, tokens, taps, traits.causal, traits.embed_factor)

    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        self._require_head()
        logits, factor = _head(self.module)(state), _logit_factor(self.module.config)
        logits = logits if factor == 1 else factor * logits
        cap = getattr(self.module.config, "final_logit_softcapping", None)
        return logits if cap is None else cap * (logits / cap).tanh()

    def _require_head(self) -> None:
        if self.no_head is not None:
            raise UsageError(
                f"{self.source.name} has no logits: {self.no_head}; expected a checkpoint with its language-modelling"
                " head"
            )


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


def _logit_factor(config: Any) -> float:
    """What the model multiplies its logits by, outside its head (Cohere, Granite)."""
    return float(getattr(config, "logit_scale", None) or 1.0) / float(getattr(config, "logits_scaling", None) or 1.0)


def _blocks(module: PreTrainedModel, anatomy: Anatomy) -> list[Block]:
    config = module.config
    n_heads = config.num_attention_heads
    n_kv_heads = getattr(config, "num_key_value_heads", None) or n_heads
    factor = float(getattr(config, "residual_multiplier", 1.0))
    layers = module.base_model.get_submodule(anatomy.blocks).children()
    return [Block(layer, anatomy, n_heads, n_kv_heads, residual_factor=factor) for layer in layers]


def head_norms(blocks: Sequence[Block], kv_heads: int) -> dict[str, Any]:
    """The norms of q and k as `AttentionWeights` holds them; none where a norm is not linear but for its divisor."""
    found: dict[str, Any] = {"scale_Q": [], "scale_K": [], "centred": False}
    for block in blocks:
        modules = block.head_norms()
        if modules is None:
            return {}
        try:
            norms = [norm_of(module) for module in modules]
        except (CheckpointRefused, RuntimeError):  # a norm of another shape: the opening check will see it
            return {}
        for role, norm, heads in zip("QK", norms, (block.n_heads, kv_heads), strict=True):
            scale, d_head = cast(Tensor, norm.scale).to(block.dtype), block.d_head
            found[f"scale_{role}"].append(scale.expand(heads, -1) if len(scale) == d_head else scale.view(heads, -1))
            found["centred"] |= norm.kind == "layer"
    return {name: value if name == "centred" else torch.stack(value) for name, value in found.items()}


def _declared(module: PreTrainedModel, blocks: list[Block]) -> Traits:
    """Traits as far as the configuration and the modules declare them."""
    attention = blocks[0].part(blocks[0].anatomy.attention)
    declared = (getattr(part, "is_causal", None) for part in (module.config, attention))
    causal = next((value for value in declared if value is not None), True)
    return Traits(bool(causal), (False,) * len(blocks), (None,) * len(blocks))


def _positions(traits: Traits) -> Positions:
    if any(rotary is not None for rotary in traits.rotary):
        return "rotary"
    return "learned" if traits.added else "none"


def _n_ctx(module: PreTrainedModel) -> int | None:
    """The longest context. Where positions begin after the padding token's (RoBERTa), there is room for fewer."""
    longest = getattr(module.config, "max_position_embeddings", None)
    for name, table in module.base_model.named_modules():
        if isinstance(table, nn.Embedding) and "position" in name and table.padding_idx is not None:
            return table.num_embeddings - table.padding_idx - 1
    return longest


def _shape(module: PreTrainedModel, blocks: list[Block], traits: Traits) -> LanguageModelShape:
    config, block = module.config, blocks[0]
    vocabulary = cast(nn.Embedding, module.base_model.get_submodule(block.anatomy.embed)).num_embeddings
    return LanguageModelShape(
        n_layers=len(blocks),
        n_heads=block.n_heads,
        n_kv_heads=block.n_kv_heads,
        d_model=config.hidden_size,
        d_head=block.d_head,
        d_vocab=vocabulary,
        n_ctx=_n_ctx(module),
        causal=traits.causal,
        positions=_positions(traits),
    )
