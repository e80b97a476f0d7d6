"""Whatever holds a model, as a subject: a name or a path, a module in memory, a bridge, or a subject itself."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...data.errors import UsageError
from ..copy_models import from_copy_transformer
from ..in_memory_sources import module_source
from ..own.attention_only import AttentionOnlyModel, AttentionOnlyTransformer
from ..own.copy_transformer import CopyTransformer
from ..own.regression_transformer import RegressionTransformer
from ..own.softmax_layer import SoftmaxLayer
from ..regressors import from_transformer
from ..softmax_regressors import from_softmax_layer
from ..subject import Subject
from .loading import load


def as_subject(given: object) -> Subject:
    """Open what can be opened without a word more. A module that needs one is refused with the call that says it.

    given:  a subject; a shipped name, a file, a directory or a hub id; a transformer of ours; a transformers model,
            also compiled, parallel or with merged adapters; a `TransformerBridge`
    """
    if isinstance(given, Subject):
        return given
    if isinstance(given, str | Path):
        return load(given)
    if isinstance(given, RegressionTransformer):
        return from_transformer(given)
    if isinstance(given, SoftmaxLayer):
        return from_softmax_layer(given)
    if isinstance(given, CopyTransformer):
        return from_copy_transformer(given)
    if isinstance(given, AttentionOnlyTransformer):
        return AttentionOnlyModel(given, module_source("in-memory", given, given.config.as_dict()))
    if any(kind.__name__ == "TransformerBridge" for kind in type(given).__mro__):
        from .bridge import from_bridge

        return from_bridge(given)
    if isinstance(given, nn.Module):
        from .in_memory import from_module  # transformers takes seconds to import

        return from_module(given)
    raise UsageError(
        f"a {type(given).__name__} is no model; expected a name or a path, a module, or a subject from mesascope.models"
    )
