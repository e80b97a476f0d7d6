"""One short pass over a model that notes what every module read and wrote, and what entered its attention function.

The layout of a model is read off these notes. It is one survey pass for every family, whatever its modules are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from .experts import experts_in_float64
from .own_attention import attention_mask

IMPLEMENTATION = "mesascope-survey"
"""The name of the surveying attention function in transformers."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a module: its path in the model, and the first tensor that it read and wrote.

    read, wrote:  copies, as they were when the call ended
    output:       the tensor itself, and its version then
    """

    path: str
    module: nn.Module
    read: Tensor
    wrote: Tensor
    output: tuple[Tensor, int]

    @property
    def changed_later(self) -> bool:
        """Whether the model has written into the output after the call (Falcon)."""
        tensor, version = self.output
        return tensor._version != version


@dataclass(frozen=True, eq=False)
class Attended:
    """One call of the attention function.

    before:  how many modules' calls had ended by then
    biased:  whether the family adds a learned bias to the scores
    """

    module: nn.Module
    q: Float[Tensor, "batch head pos d_head"]
    k: Float[Tensor, "batch kv_head pos d_head"]
    v: Float[Tensor, "batch kv_head pos d_value"]
    z: Float[Tensor, "batch pos head d_value"]
    before: int
    biased: bool


@dataclass(frozen=True, eq=False)
class Survey:
    """Calls in the order of their ends, so that a module comes after its children; the model's own output."""

    calls: list[Call]
    attended: list[Attended]
    output: Float[Tensor, "batch pos d_model"]


@dataclass(frozen=True, eq=False)
class _Notes:
    calls: list[Call] = field(default_factory=list)
    attended: list[Attended] = field(default_factory=list)


_current: ContextVar[_Notes | None] = ContextVar("survey", default=None)


@torch.no_grad()
def survey(base: PreTrainedModel, tokens: Int[Tensor, "batch pos"]) -> Survey:
    """The notes of one pass over a model without its head."""
    notes = _Notes()
    with ExitStack() as stack:
        for path, module in base.named_modules():
            stack.callback(module.register_forward_hook(_noting(notes, path), with_kwargs=True).remove)
        stack.enter_context(attention(base, IMPLEMENTATION))
        stack.callback(_current.reset, _current.set(notes))
        output = first(base(input_ids=tokens, use_cache=False, return_dict=True))
    return Survey(notes.calls, notes.attended, output)


def attend_with(module: PreTrainedModel, name: str) -> None:
    """Let a model, and the models within it, use the attention function of a name."""
    for part in module.modules():
        if (config := getattr(part, "config", None)) is not None:
            config._attn_implementation = name


@contextmanager
def attention(module: PreTrainedModel, name: str) -> Iterator[None]:
    """The model with another attention function for the time of the block."""
    before = str(module.config._attn_implementation)
    attend_with(module, name)
    try:
        with experts_in_float64(module):
            yield
    finally:
        attend_with(module, before)


def _noting(notes: _Notes, path: str) -> Any:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        read, wrote = args[0] if args else kwargs.get("hidden_states"), first(output)
        if isinstance(read, Tensor) and isinstance(wrote, Tensor):
            notes.calls.append(Call(path, module, read.clone(), wrote.clone(), (wrote, wrote._version)))

    return hook


def first(output: Any) -> Any:
    """The tensor that a module hands on: itself, the first of a tuple, or the last states of a model."""
    return output[0] if isinstance(output, tuple | list) else getattr(output, "last_hidden_state", output)


def _attend(
    module: nn.Module,
    query: Float[Tensor, "batch head pos d_head"],
    key: Float[Tensor, "batch kv_head pos d_head"],
    value: Float[Tensor, "batch kv_head pos d_value"],
    attention_mask: Tensor | None,
    **kwargs: Any,
) -> tuple[Float[Tensor, "batch pos head d_value"], None]:
    """Attention in its plainest form: the parts of a model lie at the same places whatever its scores are."""
    now = _current.get()
    assert now is not None, "a survey is under way"
    plain = {name: kwargs[name] for name in ("scaling", "is_causal") if name in kwargs}
    z, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **plain)
    biased = kwargs.get("position_bias") is not None
    now.attended.append(Attended(module, query, key, value, z.detach().clone(), len(now.calls), biased))
    return z, None


AttentionInterface.register(IMPLEMENTATION, _attend)
AttentionMaskInterface.register(IMPLEMENTATION, attention_mask)
