"""An untrained model of the same shape: what a measurement gives where nothing has been learned."""

from __future__ import annotations

import copy
from functools import singledispatch
from typing import Any, cast

import torch

from ..language_model import LanguageModel
from ..own.attention_only import AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import NotApplicable, Source
from .subject import HuggingFaceModel

INIT_SCALE = 0.02
"""Standard deviation of initial weights where no recipe is recorded: what GPT-2 and its kin start from."""


@singledispatch
def untrained(subject: LanguageModel, seed: int) -> LanguageModel | NotApplicable:
    """The same architecture with fresh weights, in the subject's dtype and on its device.

    Our own models start as their recorded recipe does; those of Hugging Face as their library initialises them. Random
    numbers are drawn apart: the caller's generator stays as it is.
    """
    return NotApplicable(f"how a {type(subject).__name__} is initialised is not known")


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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = cast(Any, type(subject.module))(config)
    module = module.to(device=subject.device, dtype=subject.dtype)
    return HuggingFaceModel(module, _source(subject), subject.tokenizer, subject.no_head)


def _source(subject: LanguageModel) -> Source:
    """Of nobody's checkpoint, but with the facts that reading tokens needs."""
    return Source(f"untrained {subject.source.name}", layout="untrained", facts=subject.source.facts)
