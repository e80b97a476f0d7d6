"""Families that no other test opens: those that fit are opened with a word, those that only look so are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused
from mesascope.models.opening.in_memory import from_module

Tiny = Callable[[str], Any]


def test_a_family_that_fits_opens_with_a_word(tiny: Tiny) -> None:
    module = tiny("mistral")
    subject = from_module(module)
    assert any("model_type 'mistral' is not among the tested families" in note for note in subject.source.notes)
    tokens = torch.arange(20)[None]
    with torch.no_grad():
        assert float((subject.logits(tokens) - module(tokens).logits).abs().max()) < 1e-4


def test_a_family_with_the_same_names_for_other_parts_is_refused(tiny: Tiny) -> None:
    with pytest.raises(CheckpointRefused, match="'cohere' is not supported: its logits are not the unembedding"):
        from_module(tiny("cohere"))


def test_a_family_with_other_names_is_refused() -> None:
    from transformers import OPTConfig, OPTForCausalLM

    sizes = {"hidden_size": 16, "ffn_dim": 8, "num_attention_heads": 2, "word_embed_proj_dim": 16}
    module = OPTForCausalLM(OPTConfig(vocab_size=9, num_hidden_layers=1, max_position_embeddings=8, **sizes))
    with pytest.raises(CheckpointRefused, match="'opt' is not supported: mesascope does not find its attention"):
        from_module(module)
