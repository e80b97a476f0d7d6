"""Models that the caller already has in memory: examined over the same storage, and left as they are.

A subject gets a module of its own, built without memory and given the caller's tensors. So there is nothing to restore
on the caller's: neither hooks nor attention, even after an exception.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused, UsageError
from ..hugging_face.subject import HuggingFaceModel, facts_of, identifying, untested
from ..subject import Source
from ..tokenizing import digest_of, knows_words
from ..weights import weights_sha256
from .own_pass import check_unfamiliar

IN_MEMORY = "an in-memory model: the report can be verified only when it is passed again"
NO_TOKENIZER = "it came without a tokenizer: only token ids go in"


def from_module(module: PreTrainedModel, tokenizer: Any | None = None, name: str = "in-memory") -> HuggingFaceModel:
    """A transformers model of the caller's as a subject. Its weights are shared, not copied.

    tokenizer:  one of transformers or tokenizers; without one, only token ids go in
    """
    return twin_subject(type(module), module.config, module.state_dict(), dict(module.named_buffers()), tokenizer, name)


def twin_subject(
    kind: type[PreTrainedModel],
    config: Any,
    state: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    tokenizer: Any | None,
    name: str,
    layout: str = "in-memory",
) -> HuggingFaceModel:
    """A subject over tensors that somebody else holds."""
    twin = _twin(kind, config, state, buffers)
    if tokenizer is not None and not knows_words(tokenizer):
        raise UsageError(
            f"{name}: a {type(tokenizer).__name__} without a single word; leave it out, and give token ids"
        )
    source = Source(
        name,
        layout=layout,
        weights_sha256=weights_sha256(identifying(twin, twin.state_dict())),
        facts=facts_of(twin, tokenizer, None if tokenizer is None else digest_of(tokenizer)),
        notes=(IN_MEMORY, *untested(config), *((NO_TOKENIZER,) if tokenizer is None else ())),
    )
    subject = HuggingFaceModel(twin, source, tokenizer)
    check_unfamiliar(subject)
    return subject


def _twin(
    kind: type[PreTrainedModel], config: Any, state: Mapping[str, Tensor], buffers: Mapping[str, Tensor]
) -> PreTrainedModel:
    """A second module over the same storage: its configuration, hooks and attention are its own."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        twin = kind(copy.deepcopy(config))
    try:
        twin.load_state_dict(state, assign=True)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointRefused(f"in-memory {kind.__name__}: not as its configuration says ({reason})") from error
    for name, buffer in list(twin.named_buffers()):
        if buffer.is_meta:  # what is worked out from the configuration, and no part of the state
            owner, _, last = name.rpartition(".")
            setattr(twin.get_submodule(owner), last, buffers[name])
    return twin
