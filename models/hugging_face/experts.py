"""Mixtures of experts in float64: the kernel that transformers multiplies by experts' matrices with has no float64."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_USUAL, _IN_FLOAT64 = "grouped_mm", "batched_mm"


@contextmanager
def experts_in_float64(base: nn.Module) -> Iterator[None]:
    """For the time of the block other code, if the model is in float64 and would use that kernel."""
    configs = {id(config): config for part in base.modules() if (config := getattr(part, "config", None)) is not None}
    kerneled = [config for config in configs.values() if getattr(config, "_experts_implementation", None) == _USUAL]
    changed = kerneled if next(base.parameters()).dtype == torch.float64 else []
    for config in changed:
        config._experts_implementation = _IN_FLOAT64
    try:
        yield
    finally:
        for config in changed:
            config._experts_implementation = _USUAL
