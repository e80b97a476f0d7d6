"""One layer's output weights: those of all layers, and the norm after attention where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import from_module


@pytest.mark.parametrize("family", ["own", "gpt2", "gpt_neox", "llama", "gemma2", "bert"])
def test_weights_are_the_layers_own(
    family: str, random_language_model: Callable[..., Any], tiny: Callable[..., Any]
) -> None:
    subject = random_language_model() if family == "own" else from_module(tiny(family))
    weights = subject.weights()
    for layer in range(subject.shape.n_layers):
        found = subject.attention_output(layer)
        assert torch.equal(found.W_O, weights.W_O[layer])
        assert found.b_O is None if weights.b_O is None else torch.equal(found.b_O, weights.b_O[layer])
        assert (found.norm is not None) is (family == "bert")
        assert (found.own_norm is not None) is (family == "gemma2")


def test_the_norm_makes_the_stream_after_attention(tiny: Callable[..., Any]) -> None:
    subject = from_module(tiny("bert").double())
    sites = ("resid_pre", "attn_out", "resid_mid")
    values = subject.run(torch.arange(8)[None], {site: lambda x, layer: x for site in sites}).values
    for layer, (before, write, after) in enumerate(zip(*(values[site] for site in sites), strict=True)):
        torch.testing.assert_close(subject.attention_output(layer).norm(before + write), after)


def test_a_write_under_its_own_norm_is_what_is_added_to_the_stream(tiny: Callable[..., Any]) -> None:
    subject = from_module(tiny("gemma2").double())
    values = subject.run(torch.arange(8)[None], {site: lambda x, layer: x for site in ("z", "attn_out")}).values
    for layer, (z, added) in enumerate(zip(values["z"], values["attn_out"], strict=True)):
        output = subject.attention_output(layer)
        write = torch.einsum("bhtd,hdm->btm", z, output.W_O)
        torch.testing.assert_close(output.own_norm.linear(write, write), added, rtol=1e-5, atol=1e-6)  # float32 inside
