"""W_K and W_V as they stand in a module's parameters: read as everywhere else, written where they stood."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import NotApplicable, from_module
from mesascope.models.key_values import KeyValuePlaces, matrix_name
from mesascope.models.language_model import LanguageModel
from torch import Tensor

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2", "falcon", "codegen", "gpt_bigcode", "bloom")
Make = Callable[..., Any]


@pytest.fixture
def make(subject_of: Make, random_language_model: Make) -> Callable[[str], LanguageModel]:
    return lambda name: random_language_model() if name == "attention-only" else subject_of(name)


def held(subject: Any) -> tuple[KeyValuePlaces, dict[str, Tensor]]:
    places = subject.key_value_places()
    assert isinstance(places, KeyValuePlaces)
    return places, dict(subject.module.named_parameters())


@pytest.mark.parametrize("family", ["attention-only", *FAMILIES])
def test_matrices_are_those_of_the_attention_weights(family: str, make: Callable[[str], LanguageModel]) -> None:
    subject = make(family)
    places, parameters = held(subject)
    weights = subject.weights()
    found = places.read(parameters)
    assert list(found)[:2] == ["L0.W_K", "L0.W_V"]
    assert len(found) == 2 * subject.shape.n_layers
    for layer in range(subject.shape.n_layers):
        assert torch.equal(found[matrix_name("K", layer)], weights.W_K[layer])
        assert torch.equal(found[matrix_name("V", layer)], weights.W_V[layer])


@pytest.mark.parametrize("family", ["attention-only", *FAMILIES])
def test_writing_changes_these_matrices_and_nothing_else(family: str, make: Callable[[str], LanguageModel]) -> None:
    subject = make(family)
    places, parameters = held(subject)
    own = places.read(parameters)
    assert all(torch.equal(parameters[name], tensor) for name, tensor in places.write(own, parameters).items())
    for name in ("L1.W_K", "L1.W_V"):
        written = {**parameters, **places.write({**own, name: own[name] + 1}, parameters)}
        again = places.read(written)
        assert torch.equal(again[name], own[name] + 1)
        assert all(torch.equal(again[other], own[other]) for other in own if other != name)
        changed = sum(int((written[key] != parameters[key]).sum()) for key in parameters)
        assert changed == own[name].numel()


@pytest.mark.parametrize("family", ["attention-only", "gpt2", "llama", "falcon"])
def test_layers_are_what_lies_between_embeddings_and_final_norm(
    family: str, make: Callable[[str], LanguageModel]
) -> None:
    subject = make(family)
    places, parameters = held(subject)
    outside = {name for name in parameters if not places.in_layers(name)}
    expected = {
        "attention-only": {"W_E", "W_pos", "W_U", "b_U", "ln_final_scale", "ln_final_offset"},
        "gpt2": {
            "lm_head.weight",
            *(f"transformer.{name}.weight" for name in ("wte", "wpe", "ln_f")),
            "transformer.ln_f.bias",
        },
        "llama": {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"},
        "falcon": {
            "lm_head.weight",
            *(f"transformer.{name}" for name in ("word_embeddings.weight", "ln_f.weight", "ln_f.bias")),
        },
    }
    assert outside == expected[family]


def test_models_without_such_matrices_say_so(tiny: Make, subject_of: Make) -> None:
    latent = subject_of("deepseek_v3").key_value_places()
    assert isinstance(latent, NotApplicable)
    assert "not products of one matrix each" in latent.reason
    module = tiny("llama")
    module.model.layers[1].self_attn.k_proj.weight = module.model.layers[0].self_attn.k_proj.weight
    shared = from_module(module).key_value_places()
    assert isinstance(shared, NotApplicable)
    assert "layers.0.self_attn.k_proj.weight is no parameter of its own" in shared.reason
