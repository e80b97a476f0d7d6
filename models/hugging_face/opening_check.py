"""The check of every opened model, first of all: mesascope's watched pass beside Hugging Face's own eager pass, and the
parts of a layer beside each other. At most seven short passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
from einops import einsum, rearrange
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused
from ..norms import norm_of
from ..opening_check import TOLERANCES, OpeningCheck, Part, relative_error
from ..subject import NotApplicable, Site, Source
from ..taps import AllSeen
from ..weights import AttentionWeights
from .anatomy import Block
from .attention_output import attention_output
from .eager import EagerPass, eager_pass
from .reading import embed_factor, is_causal, rotations, unembedding_of
from .sizes import short_tokens
from .subject import HuggingFaceModel
from .traits import Traits

_SITES: tuple[Site, ...] = (
    "embed", "resid_pre", "q", "k", "attention", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post",
    "final_norm",
)  # fmt: skip
_REFUSED: Mapping[Part, str] = {
    "logits": "mesascope's pass does not give the model's own logits",
    "patterns": "mesascope's pass does not give the model's own attention patterns",
    "scores": "its q and k do not give the model's own attention patterns",
    "residual stream": "its residual stream is not the sum of what attention and MLP write",
    "causality": "what comes before a changed token does not behave as the model's attention mask says",
}


def opened(
    module: PreTrainedModel, source: Source, tokenizer: Any | None = None, no_head: str | None = None
) -> HuggingFaceModel:
    """A transformers model as a subject, measured and checked.

    Raises CheckpointRefused if mesascope's pass differs from the model's own, or its residual stream is not a sum.
    Where embeddings are no states of the stream, or the write of attention or the scores no product of the weights,
    what depends on that is not applicable.
    """
    model_type = module.config.model_type
    try:
        subject = HuggingFaceModel(module, source, tokenizer, no_head)
        check = _measure_and_check(subject)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"model_type {model_type!r} is not supported: {error}") from error
    except Exception as error:  # an unknown model may fail in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise CheckpointRefused(f"model_type {model_type!r} is not supported: a test pass fails ({reason})") from error
    for part in check.failed:
        if part not in _REFUSED:
            continue
        raise CheckpointRefused(
            f"model_type {model_type!r} is not supported: {_REFUSED[part]} ({_far(check, part)};"
            f" failed: {', '.join(check.failed)})"
        )
    subject.opening_check = check
    subject.source = replace(source, opening_check=check.as_dict())
    return subject


def _far(check: OpeningCheck, part: Part) -> str:
    return f"relative error {check.errors[part]:.2g}, allowed {check.tolerance:g}"


@dataclass(frozen=True, eq=False)
class _Seen:
    """The watched pass: every site's activations, and the logits, or the last states of a model without a head."""

    values: Mapping[Site, list[Any]]
    output: Tensor

    def at(self, site: Site, layer: int = 0) -> Any:
        return self.values[site][layer]

    def zipped(self, *sites: Site) -> Iterator[tuple[Any, ...]]:
        """The activations of some sites, layer by layer."""
        return zip(*(self.values[site] for site in sites), strict=True)


@torch.no_grad()
def _measure_and_check(subject: HuggingFaceModel) -> OpeningCheck:
    tokens = short_tokens(subject.module)
    changed = tokens.shape[1] // 2
    tolerance = TOLERANCES[subject.dtype]
    eager = eager_pass(subject.module if subject.no_head is None else subject._base, tokens)
    _refuse_other_norms(subject)
    subject.adopt(replace(subject.traits, causal=is_causal(eager, subject.traits.causal)))
    trace = subject.run(tokens, dict.fromkeys(_SITES, _itself), logits=subject.no_head is None)
    seen = _Seen(trace.values, trace.output)
    entering = _entering(subject, tokens) if subject.anatomy.embed_norm else seen.at("resid_pre")
    embed, stream = (x[0, changed:] - x[1, changed:] for x in (seen.at("embed"), entering))
    same_width = embed.shape == stream.shape
    factor = embed_factor(embed, stream, subject.module.config) if same_width else 1.0
    scores = seen.values["attention"]
    subject.adopt(
        Traits(
            causal=subject.traits.causal,
            rotary=tuple(rotations(subject, tokens, tolerance)),
            alibi=any(one.slopes is not None for one in scores),
            embed_factor=factor,
            added=not same_width or relative_error(factor * seen.at("embed"), entering) > tolerance,
            **unembedding_of(subject, tolerance),
        )
    )
    check = _Comparisons(tolerance)
    if same_width:
        check.note("embed", relative_error(factor * embed, stream))
    else:
        reason = f"embeddings of {embed.shape[-1]} dimensions are projected to {stream.shape[-1]}"
        check.leave_out("embed", reason)
        subject.adopt(replace(subject.traits, no_embed=reason))
    _compare_with_eager(subject, tokens, seen, eager, changed, check)
    _compare_layers(subject, seen, check)
    found = check.result()
    subject.adopt(replace(subject.traits, **_not_applicable(found)))
    return found


def _not_applicable(check: OpeningCheck) -> dict[str, str]:
    """What a model does not offer, by the names of its traits."""
    write = "something stands between this model's heads and its output matrix, so its write is not z W_O + b_O"
    values = "this model's heads do not average x W_V + b_V"
    qk = "this model's scores are not a product of its weights and a rotation"
    embed = "this model's embeddings are not what enters its first block, positions apart"
    reasons: tuple[tuple[Part, str, str], ...] = (
        ("values", "no_write", values), ("attention write", "no_write", write), ("qk", "no_qk", qk),
        ("embed", "no_embed", embed),
    )  # fmt: skip
    return {trait: f"{words} ({_far(check, part)})" for part, trait, words in reasons if part in check.failed}


def _refuse_other_norms(subject: HuggingFaceModel) -> None:
    """Raise CheckpointRefused for a norm that is neither a layer norm nor an RMS norm: probes take norms apart."""
    _ = subject.final_norm
    for block in subject.blocks:
        if block.norm is not None:
            norm_of(block.norm, subject.shape.d_model)


class _Comparisons:
    """Collects the largest error of each part."""

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self._errors: dict[Part, float] = {}
        self._not_compared: dict[Part, str] = {}

    def note(self, part: Part, error: float) -> None:
        self._errors[part] = max(error, self._errors.get(part, 0.0))

    def leave_out(self, part: Part, reason: str) -> None:
        self._not_compared[part] = reason

    def result(self) -> OpeningCheck:
        return OpeningCheck(self._tolerance, self._errors, self._not_compared)


def _entering(subject: HuggingFaceModel, tokens: Int[Tensor, "two pos"]) -> Float[Tensor, "two pos d_model"]:
    """The input of the norm that follows the embeddings."""
    inputs: list[Tensor] = []
    norm = subject._base.get_submodule(subject.anatomy.embed_norm or "")
    hook = norm.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    try:
        subject.observe(tokens, {"resid_pre": lambda x, layer: None})
    finally:
        hook.remove()
    return inputs[0]


def _compare_with_eager(
    subject: HuggingFaceModel, tokens: Tensor, seen: _Seen, eager: EagerPass, changed: int, check: _Comparisons
) -> None:
    expected = eager.state if eager.logits is None else eager.logits
    assert expected is not None, "transformers returned neither logits nor states"
    check.note("logits", relative_error(seen.output, expected))
    # patterns that nobody watches are not formed: other code makes the same numbers
    again = subject.observe(tokens, {"attention": _nothing, "final_norm": _itself})["final_norm"][0]
    check.note("logits", relative_error(again, seen.at("final_norm")))
    unwatched = subject.observe(tokens, {"resid_post": _first})["resid_post"]
    for state, before in zip(unwatched, seen.values["resid_post"][: len(unwatched)], strict=True):
        check.note("logits", relative_error(state, before))
    if len(eager.patterns) != subject.shape.n_layers:
        missing: tuple[Part, ...] = ("patterns", "scores")
        for part in missing:
            check.leave_out(part, "transformers returns no attention patterns for this model")
    else:
        for (pattern, scores), own in zip(seen.zipped("pattern", "attention"), eager.patterns, strict=True):
            check.note("patterns", relative_error(pattern, own))
            check.note("scores", relative_error(scores.pattern(), own))
    for output in (expected, seen.output):
        moved = relative_error(output[0, :changed], output[1, :changed])
        check.note("causality", moved if subject.shape.causal else 0.0 if moved > 0 else float("inf"))


def _itself(activation: Any, layer: int) -> Any:
    return activation


def _first(activation: Any, layer: int) -> Any:
    """Ends the pass after the second layer: where nothing is watched, all layers run the same code."""
    if layer == 2:
        raise AllSeen
    return activation


def _nothing(activation: Any, layer: int) -> None:
    """Of a site that is watched for what the pass then does."""


def _compare_layers(subject: HuggingFaceModel, seen: _Seen, check: _Comparisons) -> None:
    for layer, block in enumerate(subject.blocks):
        check.note("residual stream", _stream_error(subject, seen, layer))
        output, weights = attention_output(subject, layer), subject.weights_of([layer])
        if isinstance(output, NotApplicable):
            check.leave_out("attention write", output.reason)
        else:
            write = einsum(seen.at("z", layer), output.W_O, "batch head pos d, head d d_model -> batch pos d_model")
            write = write if output.b_O is None else write + output.b_O
            write = write if output.own_norm is None else output.own_norm(write)
            check.note("attention write", relative_error(write, seen.at("attn_out", layer)))
        if isinstance(weights, NotApplicable):
            check.leave_out("values", weights.reason)
            check.leave_out("qk", weights.reason)
            continue
        check.note("values", _values_error(subject, weights, layer, seen))
        check.note("qk", _qk_error(subject, weights, block, layer, seen))


def _stream_error(subject: HuggingFaceModel, seen: _Seen, layer: int) -> float:
    before, write = seen.at("resid_pre", layer), seen.at("attn_out", layer)
    if subject.anatomy.resid_mid is None:
        return relative_error(before + write + seen.at("mlp_out", layer), seen.at("resid_post", layer))
    norm = norm_of(subject.blocks[layer].part(subject.anatomy.resid_mid), subject.shape.d_model)
    return relative_error(norm(before + write), seen.at("resid_mid", layer))


def _values_error(subject: HuggingFaceModel, weights: AttentionWeights, layer: int, seen: _Seen) -> float:
    """Of the pattern's mean of x W_V + b_V, with z."""
    x, every = subject.attention_input(seen.at("resid_pre", layer), layer), weights.expanded()
    v = einsum(x, every.W_V[0], "batch pos d_model, head d_model d_head -> batch head pos d_head")
    v = v if every.b_V is None else v + every.b_V[0][:, None]
    return relative_error(seen.at("pattern", layer) @ v, seen.at("z", layer))


def _qk_error(subject: HuggingFaceModel, weights: AttentionWeights, block: Block, layer: int, seen: _Seen) -> float:
    """Of products by `qk` at two offsets, with q . k as scored. Biases are a row of the matrices, read by a constant.

    `qk` leaves the scale out; some families (OPT) have it in q, and score with a scale of 1.
    """
    x = subject.attention_input(seen.at("resid_pre", layer), layer)
    x = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
    whole = _with_biases_as_rows(weights)
    scores: Any = seen.at("attention", layer)
    q, k = scores.q, scores.k
    divisors = [_divisor(block, number, seen.at(site, layer)) for number, site in enumerate(("q", "k"))]
    found, expected, n_heads = [], [], subject.shape.n_heads
    for offset in {1, x.shape[1] // 2} if x.shape[1] > 1 else {0}:
        late, early = slice(offset, None), slice(None, x.shape[1] - offset)
        for head in sorted({0, 1, n_heads // 2, n_heads - 1}):  # of several groups: each costs two products
            left, right = whole.qk(0, head, offset)
            key = head * k.shape[1] // len(whole.W_Q[0])  # some families repeat shared keys
            shared = head // weights.group
            product = ((x[:, late] @ left) * (x[:, early] @ right.mT)).sum(dim=-1)
            found.append(product / (divisors[0][:, head, late] * divisors[1][:, shared, early]))
            expected.append((q[:, head, late] * k[:, key, early]).sum(dim=-1))
    products, scored = torch.cat(found, dim=1), torch.cat(expected, dim=1)
    return min(relative_error(factor * products, scored) for factor in (1.0, whole.W_Q.shape[-1] ** -0.5))


def _with_biases_as_rows(weights: AttentionWeights) -> AttentionWeights:
    """The same weights for states with one more dimension, which is always 1."""
    wider: dict[str, Tensor | None] = {"W_O": torch.nn.functional.pad(weights.W_O, (0, 1)), "b_O": None}
    for role in "QKV":
        W, b = getattr(weights, f"W_{role}"), getattr(weights, f"b_{role}")
        row = torch.zeros_like(W[..., :1, :]) if b is None else b[..., None, :]
        wider |= {f"W_{role}": torch.cat([W, row], dim=-2), f"b_{role}": None}
    return replace(weights, **cast(Any, wider))


def _divisor(
    block: Block, number: int, projected: Float[Tensor, "batch head pos d"]
) -> Float[Tensor, "batch head pos"]:
    """What the norm of q or k divides by; ones where there is no norm."""
    norms = block.head_norms()
    ones = torch.ones_like(projected[..., 0])
    if norms is None:
        return ones
    try:
        norm = norm_of(norms[number], block.anatomy.d_head)
    except (CheckpointRefused, RuntimeError):
        return ones
    if norm.scale is None or len(norm.scale) == projected.shape[-1]:
        return norm.spread(projected)
    return norm.spread(rearrange(projected, "batch head pos d -> batch pos (head d)"))[:, None] * ones
