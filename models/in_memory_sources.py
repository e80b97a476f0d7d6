"""What is known of models that no file holds: wrapped functions, and modules built in this process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .subject import IN_MEMORY, NotApplicable, Source
from .weights import weights_sha256

NO_WEIGHTS = NotApplicable(
    "a wrapped predictor gives predictions only; mesascope cannot read attention weights from it"
)


def example_of(function: Callable[..., Tensor]) -> Tensor:
    """A tensor of the dtype and on the device that a function computes with."""
    parameters = list(function.parameters()) if isinstance(function, nn.Module) else []
    return parameters[0] if parameters else torch.empty(0)


def predictor_source(name: str, function: Callable[..., Tensor], facts: Mapping[str, Any]) -> Source:
    """Of a wrapped function. An `nn.Module` has a digest of its state dict."""
    digest = None
    notes: tuple[str, ...] = (IN_MEMORY,)
    if isinstance(function, nn.Module):
        digest = weights_sha256(function.state_dict())
    else:
        notes += ("the predictor is a plain function: the report has no digest of its weights",)
    return Source(name, layout="predictor", weights_sha256=digest, facts=facts, notes=notes)


def module_source(name: str, module: nn.Module, facts: Mapping[str, Any]) -> Source:
    """Of a transformer of ours that was built in this process."""
    digest = weights_sha256(module.state_dict())
    return Source(name, layout="in-memory", weights_sha256=digest, facts=facts, notes=(IN_MEMORY,))
