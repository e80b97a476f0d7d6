"""Models that the caller has in memory, as subjects over the same storage.

The subject gets its own module, built on the meta device and given the caller's tensors. So the caller's module keeps
its hooks and its attention, even after an exception.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused, UsageError
from ..hugging_face.opening_check import opened
from ..hugging_face.subject import HuggingFaceModel, facts_of, identifying, untested_family
from ..subject import IN_MEMORY, Source
from ..tokenizing import digest_of, knows_words
from ..weights import weights_sha256
from .unwrapping import own_names, unwrapped

NO_TOKENIZER = "the model came without a tokenizer: it reads token ids only"
"""The note of every subject that cannot read text."""


def from_module(module: object, tokenizer: Any | None = None, name: str = "in-memory") -> HuggingFaceModel:
    """A transformers model in memory as a subject. The weights are shared, not copied.

    module:     a `PreTrainedModel`, also inside `torch.compile`, DataParallel, DistributedDataParallel, or PEFT with
                merged adapters. UsageError for another object says what opens it
    tokenizer:  a tokenizer of transformers or tokenizers; None: the subject reads token ids only
    """
    model = unwrapped(module)
    state, buffers = own_names(model.state_dict()), own_names(dict(model.named_buffers()))
    return twin_subject(type(model), model.config, state, buffers, tokenizer, name)


def twin_subject(
    kind: type[PreTrainedModel],
    config: Any,
    state: Mapping[str, Tensor],
    buffers: Mapping[str, Tensor],
    tokenizer: Any | None,
    name: str,
    layout: str = "in-memory",
) -> HuggingFaceModel:
    """A subject over the caller's tensors."""
    twin = _twin(kind, config, state, buffers)
    if tokenizer is not None and not knows_words(tokenizer):
        raise UsageError(
            f"{name}: the {type(tokenizer).__name__} has special tokens only; expected a vocabulary; leave it out and"
            " give"
            " token ids"
        )
    source = Source(
        name,
        layout=layout,
        weights_sha256=weights_sha256(identifying(twin, twin.state_dict())),
        facts=facts_of(twin, tokenizer, None if tokenizer is None else digest_of(tokenizer)),
        notes=(IN_MEMORY, *untested_family(config), *((NO_TOKENIZER,) if tokenizer is None else ())),
    )
    return opened(twin, source, tokenizer)


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
        raise CheckpointRefused(
            f"in-memory {kind.__name__}: its tensors do not match its configuration ({reason})"
        ) from error
    for name, buffer in list(twin.named_buffers()):
        if buffer.is_meta:  # computed from the configuration, and not in the state dict
            owner, _, last = name.rpartition(".")
            setattr(twin.get_submodule(owner), last, buffers[name])
    return twin
