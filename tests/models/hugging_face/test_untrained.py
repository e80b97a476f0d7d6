"""Untrained models: the same shape, other weights, the same for the same seed; and nobody else's random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import AttentionOnlyModel, NotApplicable, from_module
from mesascope.models.hugging_face.untrained import untrained
from mesascope.models.language_model import LanguageModel


@pytest.fixture(params=["own", "gpt2", "llama", "bert"])
def subject(request: pytest.FixtureRequest, random_language_model: Callable[..., Any], tiny: Callable[..., Any]) -> Any:
    return random_language_model() if request.param == "own" else from_module(tiny(request.param))


def test_same_shape_other_weights(subject: LanguageModel) -> None:
    state = torch.get_rng_state()
    tokens = torch.arange(6)[None]
    trained = subject.run(tokens).output.clone()
    one, same, other = (untrained(subject, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(one, type(subject))
    assert one.shape == subject.shape
    assert (one.dtype, one.device, one.bos) == (subject.dtype, subject.device, subject.bos)
    assert torch.equal(one.logits(tokens), same.logits(tokens))
    assert not torch.allclose(one.logits(tokens), other.logits(tokens))
    assert not torch.allclose(one.run(tokens).output, trained)
    assert torch.equal(subject.run(tokens).output, trained)


def test_biases_and_norms_start_where_they_do_in_training(
    random_language_model: Callable[..., AttentionOnlyModel],
) -> None:
    module = untrained(random_language_model(d_mlp=5), 0).module
    for name, value in module.named_parameters():
        if name.endswith("_scale"):
            assert (value == 1).all()
        elif name.startswith(("b_", "ln")):
            assert (value == 0).all()
        else:
            assert 0 < value.std() < 0.04


def test_a_model_that_nobody_knows_how_to_start(random_language_model: Callable[..., Any]) -> None:
    class Foreign(LanguageModel): ...

    assert isinstance(untrained.dispatch(Foreign)(random_language_model(), 0), NotApplicable)
