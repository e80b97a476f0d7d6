"""States as a function of embeddings: gradients beside those of other code, and what stays as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data.errors import TaskError, UsageError
from mesascope.models import NotApplicable, from_language_model
from mesascope.models.language_model import LanguageModel
from mesascope.models.opening.in_memory import from_module
from torch import Tensor

FAMILIES = ("gpt2", "gpt_neox", "llama", "qwen3", "gemma2")
Tiny = Callable[[str], Any]


def ids(d_vocab: int, length: int = 6) -> Tensor:
    return torch.randint(0, d_vocab, (3, length), generator=torch.Generator().manual_seed(4))


def own_embeddings(subject: LanguageModel, tokens: Tensor) -> Tensor:
    return subject.run(tokens, {"embed": lambda x, layer: x}).values["embed"][0].clone()


def gradient(subject: LanguageModel, tokens: Tensor, place: int) -> Tensor:
    """Of log p of the next token at one place."""
    embedded = own_embeddings(subject, tokens).requires_grad_()
    logits = subject.unembed(subject.states_of(tokens, embedded)[:, place])
    said = logits.log_softmax(dim=-1).gather(-1, tokens[:, place + 1, None])
    return torch.autograd.grad(said.sum(), embedded)[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_those_of_transformers_own_pass(family: str, tiny: Tiny) -> None:
    subject, tokens = from_module(tiny(family).double()), ids(53)
    module = tiny(family).double().eval()
    table = module.get_input_embeddings()
    given = table(tokens).detach().requires_grad_()
    said = module(inputs_embeds=given).logits[:, 3].log_softmax(dim=-1).gather(-1, tokens[:, 4, None])
    (expected,) = torch.autograd.grad(said.sum(), given)
    factor = own_embeddings(subject, tokens).norm() / given.norm()  # where the model multiplies what its table gives
    close = {"rtol": 1e-9, "atol": 1e-12} if family == "gpt2" else {"rtol": 1e-3, "atol": 1e-5}  # rotary in float32
    torch.testing.assert_close(gradient(subject, tokens, 3) * factor, expected, **close)
    assert expected[:, :4].abs().min() > 0
    assert expected[:, 4:].abs().max() == 0


@pytest.mark.parametrize("settings", [{}, {"d_mlp": 8}, {"norm": "none"}, {"positions": "rotary"}])
def test_gradients_are_differences_of_log_probabilities(
    settings: dict[str, Any], random_language_model: Callable[..., Any]
) -> None:
    subject = random_language_model(**settings)
    tokens, direction = ids(11), torch.randn(3, 6, 6, generator=torch.Generator().manual_seed(1)).double()

    def log_p(step: float) -> Tensor:
        edit = {"embed": lambda x, layer: x + step * direction}
        logits = subject.run(tokens, edit=edit, logits=True).output[:, 4]
        return logits.log_softmax(dim=-1).gather(-1, tokens[:, 5, None]).sum()

    along = (gradient(subject, tokens, 4) * direction).sum()
    torch.testing.assert_close(along, (log_p(1e-5) - log_p(-1e-5)) / 2e-5, rtol=1e-6, atol=1e-9)


def test_own_embeddings_give_the_own_states(random_language_model: Callable[..., Any], tiny: Tiny) -> None:
    for subject in (random_language_model(), from_module(tiny("gpt2"))):
        tokens = ids(11)
        with torch.no_grad():  # gradients are there whatever the caller does
            states = subject.states_of(tokens, own_embeddings(subject, tokens).requires_grad_())
        torch.testing.assert_close(states.detach(), subject.run(tokens).output)
        assert states.requires_grad


def test_weights_get_no_gradients_and_other_passes_have_none(tiny: Tiny, random_language_model: Any) -> None:
    for subject in (random_language_model(), from_module(tiny("gpt2"))):
        before = {name: value.clone() for name, value in subject.module.named_parameters()}
        gradient(subject, ids(11), 2)
        for name, weight in subject.module.named_parameters():
            assert weight.grad is None
            assert not weight.requires_grad
            assert torch.equal(weight, before[name])
        with torch.enable_grad():
            assert not subject.run(ids(11), logits=True).output.requires_grad


def test_a_model_that_cannot_says_why(tiny: Tiny) -> None:
    def logits(tokens: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(tokens, 5).float()

    wrapped = from_language_model(logits, d_vocab=5)
    refused = wrapped.no_gradients()
    assert isinstance(refused, NotApplicable)
    assert "cannot change what happens inside it" in refused.reason
    with pytest.raises(UsageError, match="embeddings cannot be replaced: mesascope calls a wrapped model"):
        wrapped.states_of(ids(5), torch.zeros(3, 6, 4))
    subject = from_module(tiny("gpt2"))
    assert subject.no_gradients() is None
    with pytest.raises(TaskError, match="token 99 is not in the vocabulary"):
        subject.states_of(torch.tensor([[99]]), torch.zeros(1, 1, subject.shape.d_model))
