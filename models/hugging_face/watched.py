"""Watched passes over Hugging Face models: hooks for the residual stream, and an attention function for the rest.

The hooks are on the model for one pass and are removed after it, also after an exception. The attention function is
registered with transformers as "mesascope"; only models whose configuration names it use it. It calls torch's
attention, which forms no pattern, unless the pattern is watched or edited, or scores are capped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from ...data.errors import UsageError
from ..attention import Scoring, blocks_of, hidden, in_float32, masked_scores, with_sinks
from ..subject import Site
from ..taps import AllSeen, Halfway, Project, Taps
from .anatomy import Block
from .experts import experts_in_float64
from .forwards import projecting, skipping
from .fused import Fused
from .own_attention import attention_mask

IMPLEMENTATION = "mesascope"
"""The name of mesascope's attention function in transformers."""
_PROJECTIONS: tuple[Site, ...] = ("q", "k", "v")


@dataclass(frozen=True)
class _Pass:
    """What the attention function needs to know of the current pass.

    projected:  q, k and v are tapped where they are projected; otherwise v, which has no other place, as it is attended
    calls:      what the blocks were called with that have not attended yet, if there is attention beside the pass
    beside:     this is such attention, with the v of the layer's own; the rest of the block is not needed
    """

    taps: Taps
    blocks: Sequence[Block]
    layers: Mapping[nn.Module, int]
    causal: bool
    projected: bool
    calls: dict[int, tuple[tuple[Any, ...], dict[str, Any]]] = field(default_factory=dict)
    beside: Tensor | None = None


_current: ContextVar[_Pass | None] = ContextVar("watched_pass", default=None)


def attend(
    module: nn.Module,
    query: Float[Tensor, "batch head pos d_head"],
    key: Float[Tensor, "batch kv_head pos d_head"],
    value: Float[Tensor, "batch kv_head pos d_value"],
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    s_aux: Float[Tensor, "head"] | None = None,
    slopes: Float[Tensor, "head"] | None = None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch pos head d_value"], None]:
    """The attention function that transformers calls during a subject's pass.

    s_aux:   learned sinks, under the name that transformers gives them
    slopes:  of ALiBi, which `own_attention` reads off the biases of its families
    kwargs:  whatever else a family passes; torch's attention ignores what it does not know, and the opening check
             compares the result with that of the family's own function
    """
    now = _current.get()
    if now is None:
        raise RuntimeError("this model belongs to a subject; call the run or logits of the subject instead")
    layer, scale = now.layers[module], query.shape[-1] ** -0.5 if scaling is None else scaling
    scoring = Scoring(scale, now.causal, softcap, sliding_window, slopes)
    group = query.shape[1] // key.shape[1]
    kwargs.pop("is_causal", None)  # some families pass the module's own value again
    own = softcap is not None or s_aux is not None or slopes is not None
    if attention_mask is not None and (own or now.taps.wants("attention") or now.taps.wants("pattern")):
        _check_mask(attention_mask, now.causal, sliding_window)
    if now.beside is not None:
        value = now.beside
    elif not now.projected:
        value = now.taps("v", layer, value)
    for project, taps in now.taps.beside:
        _attend_beside(now, layer, project, replace(now, taps=taps, beside=value))
    z = now.taps.attention(layer, query, key, value, scoring, s_aux)
    if now.taps.wants("pattern"):
        pattern = now.taps("pattern", layer, _softmax(masked_scores(query, key, *scoring), s_aux).to(query.dtype))
        z = pattern @ value.repeat_interleave(group, dim=1)
    elif own:
        z = _by_blocks(query, key, value.repeat_interleave(group, dim=1), scoring, s_aux)
    elif z is None or attention_mask is not None:
        sdpa, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scale, is_causal=now.causal, **kwargs
        )
        z = sdpa.transpose(1, 2)
    z = now.taps("z", layer, z)
    if now.beside is not None:
        raise AllSeen
    return z.transpose(1, 2).contiguous(), None


def _attend_beside(own: _Pass, layer: int, project: Project, other: _Pass) -> None:
    """Begin the block once more with other q and k, and leave it once it has attended."""
    block, (args, kwargs) = own.blocks[layer], own.calls[layer]
    with own.taps.set_aside(), _as_current(other), projecting(block, layer, project), suppress(AllSeen):
        block.module.forward(*args, **kwargs)


def _check_mask(mask: Tensor, causal: bool, window: int | None) -> None:
    """Raise UsageError if the mask hides other keys than causality and the window do."""
    n = mask.shape[-1]
    for first, last, _ in blocks_of(n):
        back = torch.arange(first, last, device=mask.device)[:, None] - torch.arange(n, device=mask.device)
        rows = mask[..., first:last, :]
        seen = rows if rows.dtype == torch.bool else rows >= 0  # an additive mask
        if not (seen != hidden(back, causal, window)).all():
            expected = f"{'causal' if causal else 'bidirectional'} attention"
            raise UsageError(
                f"attention and pattern cannot be watched in this model: its mask is not that of {expected}"
                f"{'' if window is None else f' with a window of {window}'}; watch z or the residual stream instead"
            )


def _softmax(
    scores: Float[Tensor, "batch head query key"], sinks: Float[Tensor, "head"] | None
) -> Float[Tensor, "batch head query key"]:
    """In float32 at least, as every family does. With sinks, rows sum to less than 1."""
    wide = in_float32(scores)
    if sinks is None:
        return wide.softmax(dim=-1)
    return (wide - with_sinks(wide.logsumexp(dim=-1), sinks)[..., None]).exp()


def _by_blocks(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scoring: Scoring,
    sinks: Float[Tensor, "head"] | None,
) -> Tensor:
    """Attention with soft-capped scores, slopes or sinks, by blocks of queries; torch's attention has none of them."""
    blocks = []
    for first in range(0, q.shape[2], 128):
        last = first + 128 if scoring.causal else k.shape[2]  # later keys are hidden from causal queries anyway
        pattern = _softmax(masked_scores(q[:, :, first : first + 128], k[:, :, :last], *scoring, first), sinks)
        blocks.append(pattern.to(v.dtype) @ v[:, :, :last])
    return torch.cat(blocks, dim=2)


AttentionInterface.register(IMPLEMENTATION, attend)
AttentionMaskInterface.register(IMPLEMENTATION, attention_mask)


def watched_pass(
    base: nn.Module,
    blocks: list[Block],
    tokens: Int[Tensor, "batch pos"],
    taps: Taps,
    causal: bool,
    embed_factor: float = 1.0,
    begun: Halfway | None = None,
) -> Float[Tensor, "batch pos d_model"]:
    """States after the final norm; `taps` is called at every site on the way.

    embed_factor:  multiplies the embeddings outside their module
    begun:         where the pass goes on
    """
    first = 0 if begun is None else begun.layer
    with ExitStack() as stack:
        if begun is not None:
            stack.enter_context(skipping(blocks[:first], begun.answer))
        for module, before, hook in _hooks(base, blocks, taps, embed_factor, len(tokens), first):
            register = module.register_forward_pre_hook if before else module.register_forward_hook
            stack.callback(register(hook, with_kwargs=True).remove)
        attention = blocks[0].anatomy.attention
        layers = {} if attention is None else {block.part(attention): n for n, block in enumerate(blocks)}
        projected = blocks[0].anatomy.projections is not None
        now = _Pass(taps, blocks, layers, causal, projected)
        for layer, block in enumerate(blocks) if taps.beside else ():
            stack.callback(block.module.register_forward_pre_hook(_keep(now, layer), with_kwargs=True).remove)
        stack.enter_context(_as_current(now))
        stack.enter_context(experts_in_float64(base))
        output = base(
            input_ids=tokens, use_cache=False, output_hidden_states=False, output_attentions=False, return_dict=True
        )
    return output.last_hidden_state


@contextmanager
def _as_current(watched: _Pass) -> Iterator[None]:
    token = _current.set(watched)
    try:
        yield
    finally:
        _current.reset(token)


Hook = Callable[..., Any]


def _keep(now: _Pass, layer: int) -> Hook:
    """A pre-hook that keeps what a block is called with, in place of what the block before it was."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        now.calls.clear()
        now.calls[layer] = args, kwargs

    return hook


def _hooks(
    base: nn.Module, blocks: list[Block], taps: Taps, embed_factor: float, batch: int, first: int
) -> Iterator[tuple[nn.Module, bool, Hook]]:
    """Every hook that the watched and edited sites need from layer `first` on: (module, whether it is a pre-hook,
    hook).
    """
    anatomy = blocks[0].anatomy
    if taps.wants("embed") and first == 0:
        yield base.get_submodule(anatomy.embed), False, _after(_scaled(lambda x: taps("embed", 0, x), embed_factor))
    for layer, block in enumerate(blocks[first:], first):
        yield from _block_hooks(block, layer, taps, batch)
    if anatomy.final_norm is not None:
        norm = base.get_submodule(anatomy.final_norm)
        if taps.wants("final"):
            yield norm, True, _before(lambda x: taps("final", 0, x))
        if taps.wants("final_norm"):
            yield norm, False, _after(lambda x: taps("final_norm", 0, x))
    elif taps.wants("final") or taps.wants("final_norm"):  # every block ends with its norm
        last = lambda x: taps("final_norm", 0, taps("final", 0, x))  # noqa: E731
        yield blocks[-1].module, False, _after(last)


def _block_hooks(block: Block, layer: int, taps: Taps, batch: int) -> Iterator[tuple[nn.Module, bool, Hook]]:
    anatomy, at = block.anatomy, lambda site: lambda x: taps(site, layer, x)
    if taps.wants("resid_pre"):
        yield block.module, True, _before(at("resid_pre"))
    yield from _projection_hooks(block, layer, taps)
    if taps.wants("attn_out") and anatomy.attn_out is not None:
        yield block.part(anatomy.attn_out), False, _after(_written(block, at("attn_out"), batch))
    if taps.wants("resid_mid") and anatomy.attn_out is not None:
        yield from _resid_mid(block, block.part(anatomy.attn_out), layer, taps, batch)
    if taps.wants("mlp_out") and anatomy.mlp_out is not None:
        yield block.part(anatomy.mlp_out), False, _after(_written(block, at("mlp_out"), batch))
    if taps.wants("resid_post"):
        yield block.module, False, _after(at("resid_post"))


def _projection_hooks(block: Block, layer: int, taps: Taps) -> Iterator[tuple[nn.Module, bool, Hook]]:
    anatomy = block.anatomy
    if anatomy.projections is None or not any(taps.wants(site) for site in _PROJECTIONS):
        return
    if (fused := anatomy.fused) is not None:
        yield block.part(anatomy.projections[0]), False, _after(lambda x: _tap_fused(x, fused, layer, taps))
        return
    for site, path in zip(_PROJECTIONS, anatomy.projections, strict=True):
        if taps.wants(site):
            yield block.part(path), False, _after(_tap_heads(block, site, layer, taps))


def _resid_mid(
    block: Block, attn_out: nn.Module, layer: int, taps: Taps, batch: int
) -> Iterator[tuple[nn.Module, bool, Hook]]:
    """The stream between attention and MLP. Parallel blocks have none."""
    if block.anatomy.parallel:
        return
    if block.anatomy.resid_mid is not None:
        yield block.part(block.anatomy.resid_mid), False, _after(_shaped(lambda x: taps("resid_mid", layer, x), batch))
        return
    before: list[Tensor] = []

    def keep(x: Tensor) -> Tensor:
        before[:] = [x]
        return x

    def add(write: Tensor) -> Tensor:
        stream = before.pop()
        middle = write + stream
        edited = taps("resid_mid", layer, middle)
        return write if edited is middle else edited - stream

    yield block.module, True, _before(keep)
    yield attn_out, False, _after(_written(block, add, batch))


def _written(block: Block, tap: Callable[[Tensor], Tensor], batch: int) -> Callable[[Tensor], Tensor]:
    """A tap on what a module's output adds to the stream."""
    shaped = _shaped(_scaled(tap, block.anatomy.residual_factor), batch)
    return _untouched(shaped) if block.anatomy.in_place else shaped


def _untouched(tap: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A tap on a tensor that the model writes into afterwards: what is watched stays as it was."""

    def on_a_copy(x: Tensor) -> Tensor:
        kept = x.clone()
        edited = tap(kept)
        return x if edited is kept else edited.clone()

    return on_a_copy


def _shaped(tap: Callable[[Tensor], Tensor], batch: int) -> Callable[[Tensor], Tensor]:
    """A tap on [batch pos d_model], of a module that may have all tokens of the batch in one row (OPT)."""

    def by_sequence(x: Tensor) -> Tensor:
        if x.ndim == 3:
            return tap(x)
        sequences = x.unflatten(0, (batch, -1))
        edited = tap(sequences)
        return x if edited is sequences else edited.flatten(0, 1)

    return by_sequence


def _scaled(tap: Callable[[Tensor], Tensor], factor: float) -> Callable[[Tensor], Tensor]:
    """A tap on what a module's output becomes when the model multiplies it (Granite)."""
    if factor == 1:
        return tap

    def scaled(x: Tensor) -> Tensor:
        product = factor * x
        edited = tap(product)
        return x if edited is product else edited / factor

    return scaled


def _tap_heads(block: Block, site: Site, layer: int, taps: Taps) -> Callable[[Tensor], Tensor]:
    heads = block.anatomy.n_heads if site == "q" else block.anatomy.n_kv_heads

    def tap(x: Tensor) -> Tensor:
        split = rearrange(x, "batch pos (head d) -> batch head pos d", head=heads)
        edited = taps(site, layer, split)
        return x if edited is split else rearrange(edited, "batch head pos d -> batch pos (head d)")

    return tap


def _tap_fused(x: Tensor, fused: Fused, layer: int, taps: Taps) -> Tensor:
    projections = [projection.transpose(1, 2) for projection in fused.split(x)]
    edited = [taps(site, layer, projection) for site, projection in zip(_PROJECTIONS, projections, strict=True)]
    if all(new is old for new, old in zip(edited, projections, strict=True)):
        return x
    return fused.fuse([projection.transpose(1, 2) for projection in edited])


def _before(change: Callable[[Tensor], Tensor]) -> Hook:
    """A pre-hook that changes a module's first argument, positional or `hidden_states`."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return hook


def _after(change: Callable[[Tensor], Tensor]) -> Hook:
    """A hook that changes a module's output: a tensor, or the first item of a tuple or list."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return type(output)([change(output[0]), *output[1:]]) if isinstance(output, tuple | list) else change(output)

    return hook
