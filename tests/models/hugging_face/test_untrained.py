"""Untrained models: the same shape, other weights, the same for the same seed; and nobody else's random numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import AttentionOnlyModel, NotApplicable, from_module
from mesascope.models.language_model import LanguageModel


@pytest.fixture(params=["own", "gpt2", "llama", "bert"])
def subject(request: pytest.FixtureRequest, random_language_model: Callable[..., Any], tiny: Callable[..., Any]) -> Any:
    return random_language_model() if request.param == "own" else from_module(tiny(request.param))


def test_same_shape_other_weights(subject: LanguageModel) -> None:
    state = torch.get_rng_state()
    tokens = torch.arange(6)[None]
    trained = subject.run(tokens).output.clone()
    one, same, other = (subject.untrained(seed) for seed in (1, 1, 2))
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
    module = random_language_model(d_mlp=5).untrained(0).module
    for name, value in module.named_parameters():
        if name.endswith("_scale"):
            assert (value == 1).all()
        elif name.startswith(("b_", "ln")):
            assert (value == 0).all()
        else:
            assert 0 < value.std() < 0.04


def test_a_model_that_nobody_knows_how_to_start(random_language_model: Callable[..., Any]) -> None:
    found = LanguageModel.untrained(random_language_model(), 0)
    assert isinstance(found, NotApplicable)
    assert found.reason == "mesascope does not know how to initialise a AttentionOnlyModel"


@pytest.mark.parametrize("kind", ["gpt2", "llama", "bert", "modernbert", "gpt_oss"])
def test_weights_are_spread_as_transformers_spreads_them(kind: str, tiny: Callable[..., Any]) -> None:
    """Beside a model that transformers makes in its own way: every parameter's mean and spread, constants exactly."""
    module = tiny(kind)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        expected = type(module)(module.config).state_dict()
    for name, found in from_module(module).untrained(0).module.state_dict().items():
        assert found.isfinite().all()
        if not expected[name].std() > 0:
            assert torch.equal(found, expected[name]), name
        elif found.numel() > 500:
            assert float(found.std()) == pytest.approx(float(expected[name].std()), rel=0.2), name
            assert abs(float(found.mean())) < 5 * float(found.std()) / found.numel() ** 0.5, name


def test_families_that_leave_parts_to_torch_are_made_whole(
    tiny: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A family whose initialisation forgets a matrix: what torch would have put there is there, and no NaN."""
    module = tiny("gpt2")
    subject, right = from_module(module), type(module)._init_weights

    def forgetful(self: Any, part: Any) -> None:
        if not isinstance(part, torch.nn.LayerNorm):
            right(self, part)

    monkeypatch.setattr(type(module).__mro__[1], "_init_weights", forgetful)
    for name, value in subject.untrained(0).module.named_parameters():
        assert value.isfinite().all(), name
        if "ln_" in name:
            assert torch.equal(value, torch.full_like(value, float(name.endswith("weight")))), name
