"""Copy models as subjects: what they show, how it adds up, and what they cannot read."""

from __future__ import annotations

import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import CopyConfig, CopyModel, CopyTransformer, NotApplicable, as_subject, from_copy_transformer
from torch import Tensor

CONFIG = CopyConfig(d_vocab=7, n_ctx=5, d_model=6, n_heads=3, d_head=2)


@pytest.fixture
def subject() -> CopyModel:
    rng = torch.Generator().manual_seed(0)
    parameters = {name: torch.randn(shape, generator=rng).double() for name, shape in CONFIG.shapes.items()}
    return from_copy_transformer(CopyTransformer(CONFIG, parameters), "mine")


@pytest.fixture
def tokens() -> Tensor:
    return torch.tensor([[3, 0, 6, 2, 5], [1, 4, 2, 6, 0]])


def test_what_it_says_of_itself(subject: CopyModel) -> None:
    assert (subject.source.name, subject.source.facts) == ("mine", CONFIG.as_dict())
    assert subject.source.weights_sha256 is not None
    assert (subject.dtype, subject.device, subject.config) == (torch.float64, torch.device("cpu"), CONFIG)
    assert isinstance(subject.weights(), NotApplicable)


def test_a_module_in_memory_opens_without_a_word_more(subject: CopyModel, tokens: Tensor) -> None:
    opened = as_subject(subject.module)
    assert isinstance(opened, CopyModel)
    assert torch.equal(opened.logits(tokens), subject.logits(tokens))


def test_logits_are_what_attention_makes_of_read_outs(subject: CopyModel, tokens: Tensor) -> None:
    pattern, read_out = subject.pattern(tokens), subject.read_out(tokens)
    assert pattern.shape == (2, 3, 5, 5)
    assert read_out.shape == (2, 3, 5, 7)
    torch.testing.assert_close((pattern @ read_out).mean(dim=1), subject.logits(tokens))


def test_a_read_out_is_the_answer_of_a_head_that_attends_there_alone(subject: CopyModel, tokens: Tensor) -> None:
    w, place, head = subject.module.weights, 3, 1
    for sequence, words in enumerate(tokens):
        read = (w["W_E"][words[place]] + w["W_pos"][place]) @ w["W_V"][head] @ w["W_O"][head] @ w["W_U"]
        torch.testing.assert_close(subject.read_out(tokens)[sequence, head, place], read)


def test_logits_follow_embeddings(subject: CopyModel, tokens: Tensor) -> None:
    """The gradient by an embedding is the slope of a small change."""
    embedded = subject.embedded(tokens).clone().requires_grad_()
    torch.testing.assert_close(subject.logits_of(embedded), subject.logits(tokens))
    (gradient,) = torch.autograd.grad(subject.logits_of(embedded)[1, 2, 4], embedded)
    change = torch.zeros_like(embedded)
    change[1, 0, 3] = 1e-6
    moved, before = (subject.logits_of(at).detach()[1, 2, 4] for at in (embedded + change, embedded))
    assert float(moved - before) / 1e-6 == pytest.approx(float(gradient[1, 0, 3]), rel=1e-4)
    assert float(gradient[0].abs().max()) == 0
    assert all(not weight.requires_grad and weight.grad is None for weight in subject.module.parameters())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.zeros(2, 6, dtype=torch.int64), "sources of 6 words; mine reads 2 to 5"),
        (torch.zeros(2, 1, dtype=torch.int64), "sources of 1 words"),
        (torch.tensor([[0, 7]]), "word 7 is not one of mine; expected 0 to 6"),
        (torch.tensor([[-1, 2]]), "word -1 is not one of"),
    ],
)
def test_what_it_cannot_read_is_refused(subject: CopyModel, given: Tensor, message: str) -> None:
    for read in (subject.logits, subject.pattern, subject.read_out, subject.embedded):
        with pytest.raises(TaskError, match=message):
            read(given)
