"""Modules as transformers initialises them, for untrained models of the same architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from .drawn_once import DrawnOnce


def initialised(module: PreTrainedModel, seed: int, memory: Mapping[str, Tensor] | None = None) -> Any:
    """A module of the same configuration, with initial weights. The caller's random generator does not change.

    memory:  tensors that nobody needs any longer, by the names of the parameters that are put there
    """
    config = copy.deepcopy(module.config)
    config._attn_implementation = "eager"  # families without transformers' attention function know no other
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(cast(Any, type(module)), config, memory or {})


def _made(kind: Callable[[Any], Any], config: Any, memory: Mapping[str, Tensor]) -> Any:
    """Without first filling it with torch's own numbers, and every weight drawn once.

    Some families leave parts to torch; the whole model is then made in the ordinary way.
    """
    with no_init_weights():
        module = kind(config)
    for name, parameter in module.named_parameters():
        held = memory.get(name)
        if held is not None and (held.shape, held.dtype) == (parameter.shape, parameter.dtype):
            parameter.data = held
    ends = [parameter.data.view(-1)[:: max(parameter.numel() - 1, 1)] for parameter in module.parameters()]
    for first_and_last in ends:
        first_and_last.fill_(torch.nan)
    with DrawnOnce() as drawn:
        module.init_weights()
    drawn.draw([*module.parameters(), *module.buffers()])
    kept = {parameter.untyped_storage().data_ptr() for parameter in module.parameters()}
    if any(end.isnan().any() for end in ends if end.untyped_storage().data_ptr() in kept):
        return kind(config)
    return module
