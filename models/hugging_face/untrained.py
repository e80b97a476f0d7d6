"""Modules as transformers initialises them, for untrained models of the same architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import torch
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights


def initialised(module: PreTrainedModel, seed: int) -> Any:
    """A module of the same configuration, with initial weights. The caller's random generator does not change."""
    config = copy.deepcopy(module.config)
    config._attn_implementation = "eager"  # families without transformers' attention function know no other
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(cast(Any, type(module)), config)


def _made(kind: Callable[[Any], Any], config: Any) -> Any:
    """Without first filling it with torch's own numbers.

    Some families leave parts to torch; the whole model is then made in the ordinary way.
    """
    with no_init_weights():
        module = kind(config)
    ends = [parameter.data.view(-1)[:: max(parameter.numel() - 1, 1)] for parameter in module.parameters()]
    for first_and_last in ends:
        first_and_last.fill_(torch.nan)
    module.init_weights()
    if any(first_and_last.isnan().any() for first_and_last in ends):
        return kind(config)
    return module
