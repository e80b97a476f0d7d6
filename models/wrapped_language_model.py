"""Any function from token ids to logits as a language model, with what else its owner can tell of it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, Unpack

import torch
from jaxtyping import Int
from torch import Tensor

from ..data.errors import UsageError
from .in_memory_sources import example_of, predictor_source
from .language_model import LanguageModelShape
from .subject import Source
from .tokenizing import digest_of, knows_words
from .weights import weights_sha256
from .wrapped_check import check_wrapped, first_answer, some_tokens
from .wrapped_parts import ACTIVATIONS, WEIGHTS, OfIds, Parts, Sizes, called, check_given
from .wrapped_subject import WrappedLanguageModel


def from_language_model(
    logits: OfIds,
    *,
    d_vocab: int,
    n_ctx: int | None = None,
    bos: int | None = None,
    causal: bool = True,
    tokenizer: Any | None = None,
    name: str = "language model",
    **parts: Unpack[Parts],
) -> WrappedLanguageModel:
    """Wrap a function `[batch, pos] ids -> [batch, pos, d_vocab]` as a language model, with what else you can tell.

    n_ctx:            the longest sequence; None: no limit
    bos:              the token that sequences begin with; None: none
    causal:           False: attention is bidirectional
    tokenizer:        a tokenizer of transformers or tokenizers; None: the model reads token ids only
    resid_pre, …:     functions from ids to the sites of all layers. [layer, batch, pos, d_model]: resid_pre, attn_out,
                      resid_mid, mlp_out, resid_post. [layer, batch, head, pos, d_head]: q, k, v, as projected, and z.
                      [layer, batch, head, query, key]: pattern
    W_E, W_U, b_U:    tensors [d_vocab, d_model], [d_model, d_vocab], [d_vocab]
    W_Q, …, b_O:      of attention, as in `AttentionWeights`
    attention_norms:  the norm before each layer's attention, a `Norm` or a module; by default there is none
    final_norm:       the norm before W_U; by default there is none
    rotary:           the `Rotary` that turns q and k before they meet
    scale:            of scores; by default 1 / sqrt(d_head)

    A few sequences are passed through all of it. UsageError for functions that answer differently when asked twice, for
    shapes and numbers that are none, and for parts that contradict each other.

    | give                     | beside            | and there are                                                    |
    |--------------------------|-------------------|------------------------------------------------------------------|
    | resid_pre, resid_post    | W_E               | norms, growth, massive activations, anisotropy: token-norms      |
    | W_U                      | these             | the loss, and what each layer does to it: token-norms            |
    | pattern                  | nothing else      | what heads attend to, and losses: induction-heads                |
    | pattern                  | the first row     | attention sinks; with v, or q and k, drains: token-norms         |
    | W_Q, W_K, W_V, W_O       | pattern, attn_out | write norms, mixing ratios: token-norms; composition, null       |
    |                          | and the first row | models: induction-heads; all of softmax-regression               |
    | W_U                      | all of these      | copying, direct logit attribution: induction-heads               |

    Without edits there are no ablations: InductionHeads(ablate="nothing"). docs/language-models.md names every measure.
    """
    _check_facts(d_vocab, n_ctx, bos, name)
    check_given(parts)
    tokens = some_tokens(d_vocab, n_ctx, _device_of(logits))
    example = first_answer(logits, tokens, d_vocab)
    sizes = _sizes(parts, d_vocab, tokens)
    shape = _shape(sizes, n_ctx, causal, "rotary" in parts)
    source = _source(name, logits, {"bos": bos, **asdict(shape), **_told(parts)}, tokenizer)
    subject = WrappedLanguageModel(logits, shape, sizes, parts, source, example[:0], tokenizer)
    check = check_wrapped(subject, tokens)
    subject.source = replace(source, opening_check=check.as_dict())
    return subject


def _check_facts(d_vocab: int, n_ctx: int | None, bos: int | None, name: str) -> None:
    if d_vocab < 1:
        raise UsageError(f"{name}: d_vocab = {d_vocab}; expected the number of token ids, at least 1")
    if n_ctx is not None and n_ctx < 1:
        raise UsageError(f"{name}: n_ctx = {n_ctx}; expected at least 1 token, or None where there is no limit")
    if bos is not None and not 0 <= bos < d_vocab:
        raise UsageError(f"{name}: bos = {bos} is not in the vocabulary; expected 0 to {d_vocab - 1}, or None")


def _device_of(function: OfIds) -> torch.device:
    return example_of(function).device


def _sizes(parts: Parts, d_vocab: int, tokens: Int[Tensor, "batch pos"]) -> Sizes:
    """The sizes that weights and the first answer of every function agree on."""
    sizes, (batch, pos) = Sizes(d_vocab=d_vocab), tokens.shape
    for part, axes in WEIGHTS.items():
        if part in parts:
            sizes.bind(part, axes, parts[part])
    for part, axes in ACTIVATIONS.items():
        if part in parts:
            sizes.bind(part, axes, called(part, parts[part], tokens), batch=batch, pos=pos)
    heads, kv_heads = sizes.of("head"), sizes.of("kv_head")
    if kv_heads and heads % kv_heads:
        raise UsageError(
            f"{heads} heads share {kv_heads} key-value heads; expected a number of key-value heads that divides {heads}"
        )
    return sizes


def _shape(sizes: Sizes, n_ctx: int | None, causal: bool, rotary: bool) -> LanguageModelShape:
    return LanguageModelShape(
        n_layers=sizes.of("layer"),
        n_heads=sizes.of("head"),
        n_kv_heads=sizes.of("kv_head") or sizes.of("head"),
        d_model=sizes.of("d_model"),
        d_head=sizes.of("d_head"),
        d_vocab=sizes.of("d_vocab"),
        n_ctx=n_ctx,
        causal=causal,
        positions="rotary" if rotary else "other",
    )


def _told(parts: Parts) -> dict[str, Any]:
    """Which parts were given, with the digest of those that are tensors, and the factor on scores."""
    tensors: dict[str, Any] = {part: value for part, value in parts.items() if part in WEIGHTS}
    digest = weights_sha256(tensors) if tensors else None
    return {"parts": sorted(parts), "parts_sha256": digest, "scale": parts.get("scale")}


def _source(name: str, function: OfIds, facts: dict[str, Any], tokenizer: Any | None) -> Source:
    if tokenizer is not None and not knows_words(tokenizer):
        raise UsageError(
            f"{name}: the {type(tokenizer).__name__} has special tokens only; expected a vocabulary; leave it out and"
            " give token ids"
        )
    digest = {} if tokenizer is None else {"tokenizer_sha256": digest_of(tokenizer)}
    source = predictor_source(name, function, {**facts, **digest})
    functions = [part for part in facts["parts"] if part in ACTIVATIONS]
    note = f"the report has no digest of the functions that gave {', '.join(functions)}"
    return replace(source, notes=(*source.notes, note)) if functions else source
