"""Untrained models of the same architecture, as a null for measurements."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import singledispatch
from typing import Any, cast

import torch
from transformers.initialization import no_init_weights

from ..language_model import LanguageModel
from ..own.attention_only import AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import NotApplicable, Source
from .subject import HuggingFaceModel

INIT_SCALE = 0.02
"""Standard deviation of initial weights where no recipe is recorded: the value of GPT-2 and related models."""


@singledispatch
def untrained(subject: LanguageModel, seed: int) -> LanguageModel | NotApplicable:
    """An untrained model of the same architecture, in the subject's dtype and on its device.

    mesascope's own models are initialised with the recorded recipe's scale, Hugging Face models by transformers. The
    caller's random generator does not change.
    """
    return NotApplicable(f"mesascope does not know how to initialise a {type(subject).__name__}")


@untrained.register
def _(subject: AttentionOnlyModel, seed: int) -> LanguageModel:
    rng = torch.Generator().manual_seed(seed)
    scale = float(subject.source.record.get("recipe", {}).get("init_scale", INIT_SCALE))
    parameters = {
        name: torch.full(shape, float(name.endswith("_scale")))
        if name.startswith(("b_", "ln"))
        else torch.randn(shape, generator=rng) * scale
        for name, shape in subject.config.shapes.items()
    }
    module = AttentionOnlyTransformer(subject.config, parameters).to(device=subject.device, dtype=subject.dtype)
    return AttentionOnlyModel(module, _source(subject), subject.tokenizer)


@untrained.register
def _(subject: HuggingFaceModel, seed: int) -> LanguageModel:
    config = copy.deepcopy(subject.module.config)
    config._attn_implementation = "eager"  # families without transformers' attention function know no other
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _initialised(cast(Any, type(subject.module)), config)
    module = module.to(device=subject.device, dtype=subject.dtype)
    return HuggingFaceModel(
        module, _source(subject), subject.tokenizer, subject.no_head, subject.anatomy, subject.traits
    )


def _initialised(kind: Callable[[Any], Any], config: Any) -> Any:
    """A model as transformers initialises it, without first filling it with torch's own numbers.

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


def _source(subject: LanguageModel) -> Source:
    """A source without a checkpoint, with the facts that reading tokens needs."""
    return Source(f"untrained {subject.source.name}", layout="untrained", facts=subject.source.facts)
