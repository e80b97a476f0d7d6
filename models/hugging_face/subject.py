"""Language models of Hugging Face's transformers as subjects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused, UsageError
from ..language_model import LanguageModel, LanguageModelShape, Positions
from ..norms import Norm, norm_of
from ..opening_check import OpeningCheck
from ..subject import NotApplicable, Site, Source
from ..taps import AllSeen, Halfway, Taps
from ..tokenizing import begins_with
from ..weights import AttentionOutput, AttentionWeights
from .anatomy import Anatomy, Block, linear
from .discovery import find_anatomy
from .head import logits_of
from .key_values import ProjectedKeyValues, places_of
from .mlp_reading import ProjectedReading, reading_of
from .own_attention import reroute
from .shared_layers import unshare
from .sizes import base_of, d_vocab, n_ctx, short_tokens
from .survey import attend_with
from .traits import Traits
from .untrained import initialised
from .watched import IMPLEMENTATION, watched_pass

_NO_SUM = "its residual stream is not the sum of what attention and one more module write"
_NO_MATRICES = "its q, k, v or its write are not products of one matrix each with what attention reads"


class HuggingFaceModel(LanguageModel):
    """A transformers model as a subject. The module is the subject's own; its tensors may be shared with the caller's.

    no_head:  the reason why there are no logits; None: there are logits
    anatomy:  where the parts are; without it, they are looked for
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
        anatomy: Anatomy | None = None,
        traits: Traits | None = None,
    ) -> None:
        module.eval().requires_grad_(False)
        module.config.return_dict = True  # how outputs are wrapped says nothing about the model
        unshare(module)
        reroute(module)
        self.module = module
        self.source = source
        self.tokenizer = tokenizer
        self.no_head = no_head or _missing_head(module)
        self.anatomy = anatomy or find_anatomy(self._base, short_tokens(module))
        attend_with(module, IMPLEMENTATION if self.anatomy.attention is not None else _own_attention(module))
        layers = self._base.get_submodule(self.anatomy.blocks).children()
        self.blocks = [Block(layer, self.anatomy) for layer in layers]
        self.opening_check: OpeningCheck | None = None
        self.adopt(traits or _declared(module, self.blocks))

    def adopt(self, traits: Traits) -> None:
        """Take over what was measured of the model."""
        self.traits = traits
        self.shape = _shape(self.module, self.blocks, traits)

    @property
    def not_shown(self) -> Mapping[Site, str]:
        return self.traits.not_shown

    @property
    def _base(self) -> PreTrainedModel:
        """The model without its head, which the checkpoint may lack."""
        return base_of(self.module)

    @property
    def _stack(self) -> nn.Module:
        """The module that owns the layers."""
        return self._base.get_submodule(self.anatomy.blocks.rpartition(".")[0])

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
        if self.traits.no_heads is not None:
            return NotApplicable(self.traits.no_heads)
        if self.anatomy.projections is None or self.anatomy.out is None:
            return NotApplicable(_NO_MATRICES)
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
        norms_of_heads = head_norms(blocks)
        found = AttentionWeights(
            **cast(Any, stacked), rotary=rotary[0] if alike else rotary, **norms_of_heads, no_qk=self.traits.no_qk
        )
        if not folded:
            return found
        norms = [norm_of(cast(nn.Module, block.norm), self.shape.d_model) for block in blocks]
        ones = torch.ones(self.shape.d_model, device=self.device)
        scales = torch.stack([ones if norm.scale is None else norm.scale for norm in norms])
        offsets = [norm.offset for norm in norms]
        if all(offset is None for offset in offsets):
            return found.with_norm_folded(scales.to(self.dtype), None)
        return found.with_norm_folded(
            scales.to(self.dtype), torch.stack([0 * ones if offset is None else offset for offset in offsets])
        )

    def key_value_places(self) -> ProjectedKeyValues | NotApplicable:
        reason = self.traits.no_heads
        return places_of(self.module, self.blocks) if reason is None else NotApplicable(reason)

    def mlp_reading(self) -> ProjectedReading | NotApplicable:
        reason = self.traits.no_stream
        return reading_of(self.module, self.blocks) if reason is None else NotApplicable(reason)

    def attention_output(self, layer: int) -> AttentionOutput | NotApplicable:
        for reason in (self.traits.no_heads, self.traits.no_stream, self.traits.no_write):
            if reason is not None:
                return NotApplicable(reason)
        block, anatomy = self.blocks[layer], self.anatomy
        if anatomy.out is None or anatomy.attn_out is None:
            return NotApplicable("what this model's heads give is not multiplied by one output matrix")
        after = None if anatomy.resid_mid is None else norm_of(block.part(anatomy.resid_mid), anatomy.d_model)
        within = anatomy.out.startswith(anatomy.attn_out)
        own = None if within else norm_of(block.part(anatomy.attn_out), anatomy.d_model)
        return AttentionOutput(*block.output(), own, after)

    def untrained(self, seed: int) -> HuggingFaceModel:
        return self._untrained(seed, {})

    def untrained_models(self) -> Callable[[int], HuggingFaceModel]:
        memory: dict[str, Tensor] = {}
        return lambda seed: self._untrained(seed, memory)

    def _untrained(self, seed: int, memory: dict[str, Tensor]) -> HuggingFaceModel:
        """memory: where the model before it lay; afterwards, where this one lies, if it does as it was drawn."""
        module = initialised(self.module, seed, memory).to(device=self.device, dtype=self.dtype)
        as_drawn = self.device.type == "cpu" and self.dtype == torch.get_default_dtype()
        memory.update({name: parameter.data for name, parameter in module.named_parameters() if as_drawn})
        return HuggingFaceModel(
            module, self._untrained_source(), self.tokenizer, self.no_head, self.anatomy, self.traits
        )

    def attention_input(
        self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int, folded: bool = False
    ) -> Float[Tensor, "batch pos d_model"]:
        """The input of a layer's projections: q = attention_input(resid_pre) @ W_Q + b_Q, folded or not."""
        norm = self.blocks[layer].norm
        if norm is None:
            return resid_pre
        return norm_of(norm, self.shape.d_model).without_affine()(resid_pre) if folded else norm(resid_pre)

    @property
    def final_norm(self) -> Norm:
        path = self.anatomy.final_norm
        return Norm() if path is None else norm_of(self._base.get_submodule(path), self.shape.d_model)

    def normed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_model"]:
        path = self.anatomy.final_norm
        return state if path is None else self._base.get_submodule(path)(state)

    @torch.no_grad()
    def embedding(self) -> Float[Tensor, "d_vocab d_embed"]:
        embed = cast(nn.Embedding, self._base.get_submodule(self.anatomy.embed))
        if type(embed) is nn.Embedding:
            table = embed.weight
        else:
            table = embed(torch.arange(self.shape.d_vocab, device=self.device))  # a factor of its own (Gemma)
        return table if self.traits.embed_factor == 1 else self.traits.embed_factor * table

    def no_embedded_states(self) -> NotApplicable | None:
        return None if self.traits.no_embed is None else NotApplicable(self.traits.no_embed)

    def unembedding(self) -> Float[Tensor, "d_model d_vocab"] | NotApplicable:
        if self.no_head is not None:
            return NotApplicable(f"{self.source.name} has no logits: {self.no_head}")
        if self.traits.no_unembedding is not None:
            return NotApplicable(f"{self.source.name} has no single unembedding matrix: {self.traits.no_unembedding}")
        matrix, _ = linear(self.module.get_output_embeddings())
        return matrix if self.traits.logit_factor == 1 else self.traits.logit_factor * matrix

    def _states(
        self, tokens: Int[Tensor, "batch pos"], taps: Taps, begun: Halfway | None = None
    ) -> Float[Tensor, "batch pos d_model"]:
        traits = self.traits
        return watched_pass(self._base, self.blocks, tokens, taps, traits.causal, traits.embed_factor, begun)

    def _handed_to(self, layer: int, tokens: Int[Tensor, "batch pos"], begun: Halfway | None) -> Any:
        kept: list[Any] = []

        def keep(module: nn.Module, args: Any, output: Any) -> None:
            kept.append(output)
            raise AllSeen

        below = self.blocks[layer - 1].module.register_forward_hook(keep)
        try:
            with suppress(AllSeen):
                self._states(tokens, Taps(None, None), begun)
        finally:
            below.remove()
        return kept.pop()

    def unembed(self, state: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        self._require_head()
        logits = logits_of(self.module, {self._base, self._stack}, state.reshape(1, -1, state.shape[-1]))
        return logits.reshape(*state.shape[:-1], logits.shape[-1])

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


TESTED = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "bert")
"""The families whose every probe is tested, by `model_type`. Others are compared with their own pass, as these are."""


def untested_family(config: Any) -> tuple[str, ...]:
    """The note on a family that the probes' tests do not run on; empty for tested families."""
    if config.model_type in TESTED:
        return ()
    return (f"model_type {config.model_type!r} is not among the tested families ({', '.join(TESTED)})",)


def facts_of(module: PreTrainedModel, tokenizer: Any | None, tokenizer_sha256: str | None) -> dict[str, Any]:
    """Facts that the weights do not show. `bos` is the token that begins sequences; None: no token."""
    return {
        "model_type": module.config.model_type,
        "architecture": type(module).__name__,
        "dtype": str(module.dtype).removeprefix("torch."),
        "bos": begins_with(tokenizer, module.config, d_vocab(module)),
        "tokenizer_sha256": tokenizer_sha256,
    }


def _missing_head(module: PreTrainedModel) -> str | None:
    if module.get_output_embeddings() is not None:
        return None
    return f"{type(module).__name__} has no head that predicts tokens"


def head_norms(blocks: Sequence[Block]) -> dict[str, Any]:
    """The norms of q and k as `AttentionWeights` holds them; none where a norm is not linear but for its divisor."""
    found: dict[str, Any] = {"scale_Q": [], "scale_K": [], "centred": False}
    for block in blocks:
        modules = block.head_norms()
        if modules is None:
            return {}
        try:
            norms = [norm_of(module, block.anatomy.d_head) for module in modules]
        except (CheckpointRefused, RuntimeError):  # a norm of another shape: the opening check will see it
            return {}
        heads = (block.anatomy.n_heads, block.anatomy.n_kv_heads)
        for role, norm, n in zip("QK", norms, heads, strict=True):
            scale = torch.ones(block.anatomy.d_head) if norm.scale is None else norm.scale
            scale = scale.to(next(block.module.parameters()))
            one_head = len(scale) == block.anatomy.d_head
            found[f"scale_{role}"].append(scale.expand(n, -1) if one_head else scale.view(n, -1))
            found["centred"] |= norm.kind == "layer"
    return {name: value if name == "centred" else torch.stack(value) for name, value in found.items()}


def _declared(module: PreTrainedModel, blocks: list[Block]) -> Traits:
    """Traits as far as the configuration and the modules declare them, and what was not found."""
    anatomy = blocks[0].anatomy
    attention = None if anatomy.attention is None else blocks[0].part(anatomy.attention)
    declared = (getattr(part, "is_causal", None) for part in (module.config.get_text_config(), attention))
    causal = next((value for value in declared if value is not None), True)
    no_stream = None if anatomy.attn_out is not None else _NO_SUM
    return Traits(bool(causal), (None,) * len(blocks), no_heads=anatomy.no_heads, no_stream=no_stream)


def _own_attention(module: PreTrainedModel) -> str:
    """The attention of a model whose heads are not watched: torch's where the family has it."""
    return "sdpa" if module._supports_sdpa else "eager"


def _positions(traits: Traits) -> Positions:
    if traits.no_heads is not None:
        return "other"
    if any(rotary is not None for rotary in traits.rotary):
        return "rotary"
    if traits.alibi:
        return "alibi"
    return "learned" if traits.added else "none"


def _shape(module: PreTrainedModel, blocks: list[Block], traits: Traits) -> LanguageModelShape:
    anatomy = blocks[0].anatomy
    return LanguageModelShape(
        n_layers=len(blocks),
        n_heads=anatomy.n_heads,
        n_kv_heads=anatomy.n_kv_heads,
        d_model=anatomy.d_model,
        d_head=anatomy.d_head,
        d_vocab=d_vocab(module),
        n_ctx=n_ctx(module),
        causal=traits.causal,
        positions=_positions(traits),
    )
