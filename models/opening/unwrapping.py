"""The transformers model inside what people wrap around it, or one line that says what is needed instead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn
from transformers import PreTrainedModel

from ...data.errors import CheckpointRefused, UsageError
from ..own.attention_only import AttentionOnlyTransformer
from ..own.regression_transformer import RegressionTransformer
from ..subject import Subject

_COMPILED = "_orig_mod"
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_ADAPTED = "base_layer"
"""Where a layer of PEFT keeps the layer that it adapts. The package itself is not needed to see it."""
_REPLACED = "original_module"
"""Where PEFT keeps a module of which it trains a copy."""
_MERGE = "give model.merge_and_unload()"


def unwrapped(given: object) -> PreTrainedModel:
    """The transformers model inside `torch.compile`, DataParallel, DistributedDataParallel and PEFT, in any order.

    Raises UsageError for another object, CheckpointRefused for adapters that change what the weights say.
    """
    module = given
    while (inner := _inner(module)) is not None:
        module = inner
    if not isinstance(module, PreTrainedModel):
        around = "" if module is given else f" inside a {type(given).__name__}"
        raise UsageError(f"from_module was given a {type(module).__name__}{around}; {_needed(module)}")
    _refuse_adapters(module)
    return module


def own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the names that they have without compiled layers and merged adapters."""
    adapted = {name.split(f".{_ADAPTED}.")[0] + "." for name in tensors if f".{_ADAPTED}." in name}
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        adapter = f".{_ADAPTED}." not in name and any(name.startswith(layer) for layer in adapted)
        if not adapter:
            renamed[".".join(part for part in name.split(".") if part not in (_COMPILED, _ADAPTED))] = tensor
    return renamed


def _inner(module: object) -> object | None:
    """The module one step inside; None: nothing is wrapped around it."""
    if not isinstance(module, nn.Module) or isinstance(module, PreTrainedModel):
        return None
    if isinstance(module, _PARALLEL):
        return module.module
    if _COMPILED in module._modules:
        return module._modules[_COMPILED]
    if not hasattr(module, "peft_config"):
        return None
    if module._modules.get("prompt_encoder"):
        raise CheckpointRefused(
            "from_module was given a PEFT model with a trained prompt, which no weight of the model holds; give"
            " get_base_model() to measure it without the prompt"
        )
    return cast(Any, module).get_base_model() if hasattr(module, "get_base_model") else cast(Any, module).model


def _refuse_adapters(module: nn.Module) -> None:
    """Raise CheckpointRefused unless all adapters are merged into the weights beside them."""
    for name, layer in module.named_modules():
        if _REPLACED in layer._modules:
            raise CheckpointRefused(f"{name}: PEFT trains a copy of this module; {_MERGE}")
        merged = getattr(layer, "merged", False) and not getattr(layer, "disable_adapters", False)
        if _ADAPTED in layer._modules and not merged:
            raise CheckpointRefused(
                f"{name}: a PEFT adapter that is not merged or is switched off, so the weights are not those that the"
                f" model uses; {_MERGE}"
            )


def _needed(given: object) -> str:
    """What to do with an object that is no transformers model."""
    if isinstance(given, RegressionTransformer):
        return "a regression transformer of mesascope's own; use models.from_transformer"
    if isinstance(given, AttentionOnlyTransformer):
        return "a transformer of mesascope's own; write it with models.save_checkpoint, and open it with models.load"
    if isinstance(given, Subject):
        return "it is a subject already; give it to analyses.run as it is"
    if isinstance(given, Mapping):
        return "expected a model; write a state dict to a file, and open it with models.load(FILE, layout=…)"
    named = {base.__name__ for base in type(given).__mro__}
    if "TransformerBridge" in named:
        return "use models.from_bridge"
    if "HookedTransformer" in named:
        return "write its state_dict() with torch.save, and open it with models.load(FILE, layout='tl-legacy')"
    if isinstance(given, str):
        return "expected a model in memory; open a name or a path with models.load"
    return (
        "expected a PreTrainedModel of transformers; wrap another language model by models.from_language_model, a"
        " regression model by models.from_predictor; or write the state dict of a small transformer to a file, and open"
        " it with models.load(FILE, layout='FILE.toml')"
    )
