"""The check of every opened model, first of all: mesascope's watched pass beside Hugging Face's own eager pass, and the
parts of a layer beside each other. At most seven short passes, two of them over a few layers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused
from ..norms import norm_of
from ..opening_check import TOLERANCES, OpeningCheck, Part, relative_error
from ..subject import Reduce, Site, Source
from ..taps import AllSeen
from .eager import EagerPass, eager_pass
from .layer_check import Seen, layer_parts
from .reading import embed_factor, is_causal, rotations, unembedding_of
from .sizes import short_tokens
from .stack import OWN_CODE
from .subject import HuggingFaceModel

_SITES: tuple[Site, ...] = (
    "embed", "resid_pre", "q", "k", "attention", "pattern", "z", "attn_out", "resid_mid", "mlp_out", "resid_post",
    "final_norm",
)  # fmt: skip
_REFUSED: Mapping[Part, str] = {
    "logits": "mesascope's pass does not give the model's own logits",
    "causality": "what comes before a changed token does not behave as the model's attention mask says",
}
_NOT_APPLICABLE: tuple[tuple[Part, str, str], ...] = (
    ("patterns", "no_heads", "mesascope's pass does not give this model's own attention patterns"),
    ("scores", "no_heads", "this model's q and k do not give its own attention patterns"),
    ("residual stream", "no_stream", "this model's residual stream is not the sum of what attention and MLP write"),
    ("values", "no_write", "this model's heads do not average x W_V + b_V"),
    ("attention write", "no_write", "something stands between this model's heads and its output matrix, so its write"
     " is not z W_O + b_O"),
    ("qk", "no_qk", "this model's scores are not a product of its weights and a rotation"),
    ("embed", "no_embed", "this model's embeddings are not what enters its first block, positions apart"),
)  # fmt: skip
"""What a model does not offer where a part fails: the name of the trait, and why. Later parts say it more exactly."""


def opened(
    module: PreTrainedModel, source: Source, tokenizer: Any | None = None, no_head: str | None = None
) -> HuggingFaceModel:
    """A transformers model as a subject, measured and checked.

    Raises CheckpointRefused if mesascope's pass gives other logits than the model's own, or a later token has an
    influence that the mask denies. Where another part of the check fails, what depends on it is not applicable.
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
    notes = (*source.notes, *subject.traits.notes)
    subject.source = replace(source, opening_check=check.as_dict(), notes=notes)
    return subject


def _far(check: OpeningCheck, part: Part) -> str:
    return f"relative error {check.errors[part]:.2g}, allowed {check.tolerance:g}"


@torch.no_grad()
def _measure_and_check(subject: HuggingFaceModel) -> OpeningCheck:
    tokens = short_tokens(subject.module)
    changed = tokens.shape[1] // 2
    tolerance = TOLERANCES[subject.dtype]
    eager = eager_pass(subject.module if subject.no_head is None else subject._base, tokens)
    if subject.traits.no_heads == OWN_CODE and not eager.patterns:
        raise CheckpointRefused("none of its layers shows attention; expected a transformer")
    _refuse_other_norms(subject)
    subject.adopt(replace(subject.traits, causal=is_causal(subject, eager, changed)))
    trace = subject.run(tokens, dict.fromkeys(_SITES, _itself), logits=subject.no_head is None)
    seen = Seen(trace.values, trace.output)
    entering = _entering(subject, tokens) if subject.anatomy.embed_norm else seen.at("resid_pre")
    embed, stream = (x[0, changed:] - x[1, changed:] for x in (seen.at("embed"), entering))
    same_width = embed.shape == stream.shape
    factor = embed_factor(embed, stream, subject.module.config) if same_width else 1.0
    scores = seen.values["attention"]
    subject.adopt(
        replace(
            subject.traits,
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
    for layer in range(subject.shape.n_layers):
        for part, outcome in layer_parts(subject, seen, layer):
            check.leave_out(part, outcome) if isinstance(outcome, str) else check.note(part, outcome)
    found = check.result()
    subject.adopt(replace(subject.traits, **_not_applicable(found)))
    return found


def _not_applicable(check: OpeningCheck) -> dict[str, str]:
    """What a model does not offer, by the names of its traits."""
    return {
        trait: f"{words} ({_far(check, part)})" for part, trait, words in _NOT_APPLICABLE if check.passed(part) is False
    }


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
    subject: HuggingFaceModel, tokens: Tensor, seen: Seen, eager: EagerPass, changed: int, check: _Comparisons
) -> None:
    expected = eager.output
    check.note("logits", relative_error(seen.output, expected))
    # patterns that nobody watches are not formed: other code makes the same numbers, in each kind of layer
    first = partial(_until, _layers_of_each_kind(subject.module.config))
    watches: tuple[dict[Site, Reduce], ...] = ({"attention": _nothing, "resid_post": first}, {"resid_post": first})
    for watch in watches:
        states = subject.observe(tokens, watch)["resid_post"]
        for state, before in zip(states, seen.values["resid_post"][: len(states)], strict=True):
            check.note("logits", relative_error(state, before))
    _compare_patterns(subject, seen, eager, check)
    own, watched = (relative_error(output[0, :changed], output[1, :changed]) for output in (expected, seen.output))
    if subject.shape.causal:
        check.note("causality", max(own, watched))
    elif own == 0:
        check.leave_out("causality", "no token affects another in this model")
    else:
        check.note("causality", 0.0 if watched > 0 else float("inf"))


def _compare_patterns(subject: HuggingFaceModel, seen: Seen, eager: EagerPass, check: _Comparisons) -> None:
    reason = subject.traits.no_heads
    if reason is None and len(eager.patterns) != subject.shape.n_layers:
        reason = "transformers returns no attention patterns for this model"
    if reason is not None:
        check.leave_out("patterns", reason)
        check.leave_out("scores", reason)
        return
    for (pattern, scores), own in zip(seen.zipped("pattern", "attention"), eager.patterns, strict=True):
        attended, returned = (x.sum(dim=-1, keepdim=True) for x in (pattern, own))
        # some families return patterns from before a sink took its share (Granite SWA)
        sunk = relative_error(returned, torch.ones_like(returned)) < 1e-3 and (attended < 1 - 1e-3).any()
        own = attended * own if sunk else own
        check.note("patterns", relative_error(pattern, own))
        check.note("scores", relative_error(scores.pattern(), own))


def _itself(activation: Any, layer: int) -> Any:
    return activation


def _layers_of_each_kind(config: Any) -> int:
    """So many layers hold each kind that the configuration names (windows, …), and are two at least."""
    kinds = list(getattr(config.get_text_config(), "layer_types", None) or ())
    return max(2, *(1 + kinds.index(kind) for kind in set(kinds))) if kinds else 2


def _until(end: int, activation: Any, layer: int) -> Any:
    """Ends the pass after the first layers: those of one kind run the same code."""
    if layer == end:
        raise AllSeen
    return activation


def _nothing(activation: Any, layer: int) -> None:
    """Of a site that is watched for what the pass then does."""
