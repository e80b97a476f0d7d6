"""Saliency beside what happens when an embedding is made a little longer."""

from __future__ import annotations

import pytest
import torch
from mesascope.models import from_language_model, from_module
from mesascope.models.language_model import LanguageModel
from mesascope.probes.attention_learning import head_saliency
from mesascope.probes.attention_learning.head_saliency import no_saliency, saliency
from torch import Tensor

from .tiny_language_models import model, module_of

TOKENS = torch.randint(0, 13, (3, 8), generator=torch.Generator().manual_seed(3))
STEP = 1e-5


def log_p(subject: LanguageModel, query: int, source: int, factor: float) -> Tensor:
    """Of the token after the query, with the embedding of one source multiplied."""

    def longer(x: Tensor, layer: int) -> Tensor:
        x = x.clone()
        x[:, source] *= factor
        return x

    logits = subject.run(TOKENS, edit={"embed": longer}, logits=True).output[:, query]
    return logits.log_softmax(dim=-1).gather(-1, TOKENS[:, query + 1, None])[:, 0]


@pytest.mark.parametrize("name", ["own", "gpt2"])
def test_it_is_the_change_of_log_p_as_an_embedding_grows(name: str) -> None:
    subject = model() if name == "own" else from_module(module_of(name))
    found = saliency(subject, TOKENS, (2, 6))
    assert found.shape == (3, 2, 8)
    for place, query in enumerate((2, 6)):
        for source in range(8):
            if source > query:
                assert found[:, place, source].isnan().all()
                continue
            ends = (log_p(subject, query, source, 1 + sign * STEP) for sign in (1, -1))
            slope = (next(ends) - next(ends)) / (2 * STEP)
            torch.testing.assert_close(found[:, place, source], slope.double(), rtol=1e-4, atol=1e-6)


def test_sequences_do_not_touch_each_other() -> None:
    subject = model()
    whole = saliency(subject, TOKENS, (1, 5))
    for number in range(3):
        alone = saliency(subject, TOKENS[number : number + 1], (1, 5))
        torch.testing.assert_close(alone[0], whole[number], equal_nan=True)
    assert not torch.allclose(whole[0, 1, :5], whole[1, 1, :5])


def test_long_batches_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    subject, read = model(), []
    whole = saliency(subject, TOKENS, (1, 5))
    states_of = subject.states_of
    monkeypatch.setattr(subject, "states_of", lambda tokens, x: (read.append(len(tokens)), states_of(tokens, x))[1])
    for held, parts in ((1, [1, 1, 1]), (2 * head_saliency.KEPT * 3 * 8 * 8, [2, 1])):
        monkeypatch.setattr(head_saliency, "HELD", held)
        torch.testing.assert_close(saliency(subject, TOKENS, (1, 5)), whole, equal_nan=True)
        assert read == parts
        read.clear()


def test_it_leaves_no_gradients_behind() -> None:
    subject = model()
    saliency(subject, TOKENS, (3,))
    assert all(weight.grad is None and not weight.requires_grad for weight in subject.module.parameters())


def test_models_without_saliency_say_why() -> None:
    wrapped = from_language_model(lambda ids: torch.nn.functional.one_hot(ids, 5).float(), d_vocab=5)
    refused = no_saliency(wrapped)
    assert refused is not None
    assert "cannot change what happens inside it" in refused.reason
    no_head = no_saliency(model(d_vocab_out=0))
    assert no_head is not None
    assert "no unembedding" in no_head.reason
    assert no_saliency(model()) is None
