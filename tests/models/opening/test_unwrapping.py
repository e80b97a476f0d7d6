"""Models inside compilers, parallel wrappers and adapters: what opens is what they answer, and the rest is one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data import CheckpointRefused, UsageError
from mesascope.models import from_module, from_transformer, initialise
from mesascope.models.own.regression_config import RegressionConfig
from torch import Tensor, nn

Tiny = Callable[[str], Any]
TOKENS = torch.randint(0, 53, (2, 9), generator=torch.Generator().manual_seed(4))


class Adapted(nn.Module):
    """A linear layer with a low-rank adapter, named and merged as PEFT names and merges its own."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(1)
        self.base_layer = layer
        self.lora_A = nn.ParameterDict({"default": torch.randn(2, layer.in_features, generator=rng)})
        self.lora_B = nn.ParameterDict({"default": torch.randn(layer.out_features, 2, generator=rng)})
        self.merged = self.disable_adapters = False

    def merge(self) -> None:
        self.base_layer.weight.data += self.lora_B["default"] @ self.lora_A["default"]
        self.merged = True

    def forward(self, x: Tensor) -> Tensor:
        out = self.base_layer(x)
        return out if self.merged else out + x @ self.lora_A["default"].T @ self.lora_B["default"].T


class Tuner(nn.Module):
    """The part of a PEFT model that holds the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.peft_config = {"default": None}


class Peft(nn.Module):
    """A PEFT model as far as its wrapping goes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.base_model = Tuner(model)
        self.peft_config = self.base_model.peft_config

    def get_base_model(self) -> nn.Module:
        return self.base_model.model


def with_adapters(model: Any) -> list[Adapted]:
    """The model's layers, adapted where they form queries."""
    adapted = []
    for block in model.model.layers:
        block.self_attn.q_proj = Adapted(block.self_attn.q_proj)
        adapted.append(block.self_attn.q_proj)
    return adapted


@torch.no_grad()
def answers_as(given: nn.Module, model: Any) -> None:
    """What opens has the model's logits and its very storage."""
    subject = from_module(given)
    torch.testing.assert_close(subject.logits(TOKENS), model(TOKENS).logits)
    assert subject.module.lm_head.weight.data_ptr() == model.lm_head.weight.data_ptr()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager"),
        nn.DataParallel,
        lambda model: torch.compile(nn.DataParallel(model), backend="eager"),
        Peft,
        lambda model: Peft(model).base_model,
        lambda model: nn.DataParallel(Peft(model)),
    ],
    ids=["compiled", "parallel", "compiled parallel", "peft", "tuner", "parallel peft"],
)
def test_what_is_wrapped_opens_as_what_is_inside(tiny: Tiny, wrap: Callable[[Any], nn.Module]) -> None:
    model = tiny("llama")
    wrapped = wrap(model)
    before = set(model.state_dict())
    answers_as(wrapped, model)
    assert set(model.state_dict()) == before
    assert from_module(wrapped).source.weights_sha256 == from_module(model).source.weights_sha256


def test_a_model_whose_layers_are_compiled_one_by_one(tiny: Tiny) -> None:
    model, plain = tiny("llama"), tiny("llama")
    for number, block in enumerate(list(model.model.layers)):
        model.model.layers[number] = torch.compile(block, backend="eager")
    model.model.rotary_emb = torch.compile(model.model.rotary_emb, backend="eager")  # it has buffers only
    assert any("_orig_mod" in name for name in model.state_dict()), "the premise"
    assert from_module(model).source.weights_sha256 == from_module(plain).source.weights_sha256
    answers_as(model, model)


def test_adapters_that_are_not_merged_are_refused_and_merged_ones_open(tiny: Tiny) -> None:
    model = tiny("llama")
    plain = model(TOKENS).logits
    layers = with_adapters(model)
    assert not torch.allclose(model(TOKENS).logits, plain, atol=0.1), "the premise: the adapter changes the answer"
    for given in (Peft(model), model):
        with pytest.raises(CheckpointRefused, match=r"layers\.0\.self_attn\.q_proj: a PEFT adapter that is not merged"):
            from_module(given)
    layers[0].merge()
    with pytest.raises(CheckpointRefused, match=r"layers\.1\.self_attn\.q_proj: .* give model\.merge_and_unload\(\)"):
        from_module(model)
    for layer in layers[1:]:
        layer.merge()
    answers_as(Peft(model), model)
    layers[2].disable_adapters = True  # merged, but the model would take the adapter off again
    with pytest.raises(CheckpointRefused, match=r"layers\.2\.self_attn\.q_proj: .* switched off"):
        from_module(model)


def test_copies_and_prompts_that_peft_trains_are_refused(tiny: Tiny) -> None:
    model = tiny("llama")
    model.lm_head.add_module("original_module", nn.Identity())
    with pytest.raises(CheckpointRefused, match=r"lm_head: PEFT trains a copy of this module; give model\.merge"):
        from_module(model)
    prompted = Peft(tiny("llama"))
    prompted.add_module("prompt_encoder", nn.ModuleDict({"default": nn.Embedding(3, 32)}))
    with pytest.raises(CheckpointRefused, match=r"a trained prompt.* give get_base_model\(\)"):
        from_module(prompted)


REGRESSION = initialise(RegressionConfig(d_in=2, d_head=3), 0.1, torch.Generator().manual_seed(0))


class HookedTransformer(nn.Module):
    """Called as TransformerLens calls its own."""


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (nn.Linear(2, 2), "was given a Linear; expected a PreTrainedModel of transformers; wrap another"
         " language model by models.from_language_model, a regression model by models.from_predictor; or write the"
         " state dict of a small transformer to a file, and open it with models.load(FILE, layout='FILE.toml')"),
        (nn.DataParallel(nn.Linear(2, 2)), "was given a Linear inside a DataParallel; expected"),
        (torch.compile(nn.Linear(2, 2), backend="eager"), "was given a Linear inside a OptimizedModule; expected"),
        (REGRESSION, "a regression transformer of mesascope's own; use models.from_transformer"),
        (from_transformer(REGRESSION), "it is a subject already; give it to analyses.run as it is"),
        (REGRESSION.state_dict(), "was given a OrderedDict; expected a model; write a state dict to a file, and open"
         " it with models.load(FILE, layout=…)"),
        (HookedTransformer(), "write its state_dict() with torch.save, and open it with models.load(FILE, layout='tl-"),
        ("gpt2", "given a str; expected a model in memory; open a name or a path with models.load"),
        (None, "given a NoneType; expected a PreTrainedModel"),
    ],
    ids=["module", "wrapped", "compiled", "regression", "subject", "state dict", "hooked", "name", "nothing"],
)  # fmt: skip
def test_what_is_no_transformers_model_is_told_what_it_needs(given: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_module(given)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_our_transformer_over_tokens_is_told_how_it_opens(random_language_model: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match=r"write it with models\.save_checkpoint, and open it with models\.load"):
        from_module(random_language_model().module)
