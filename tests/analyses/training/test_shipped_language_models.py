"""The shipped language models: induction heads with two layers, none with one, and a grammar almost learned."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from mesascope.data import Grammar, LabelMapping, RepeatedTokens
from mesascope.data.grammar import CLASSES
from mesascope.models import AttentionOnlyModel, load
from torch import Tensor, nn

MARGIN = 0.02  # nats a word over the truth
VERBS = ("transitive", "intransitive", "be")


@cache
def model(name: str, revision: str | None = None) -> AttentionOnlyModel:
    found = load(name, revision)
    assert isinstance(found, AttentionOnlyModel)
    return found


def surprise(subject: AttentionOnlyModel, tokens: Tensor) -> Tensor:
    """-log p of every token but the first [sequence, pos - 1], in nats."""
    logits = subject.logits(tokens)[:, :-1]
    return nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none").view(
        len(tokens), -1
    )


def twice(subject: AttentionOnlyModel, period: int) -> RepeatedTokens:
    return RepeatedTokens(period, subject.shape.d_vocab, bos=subject.bos)


def stripes(subject: AttentionOnlyModel, period: int) -> Tensor:
    """Attention in BOS + r + r from a word of the second r to what followed it in the first [layer, head]."""
    tokens = twice(subject, period).draw(8, seed=1).tokens
    patterns: list[Any] = subject.run(tokens, watch={"pattern": lambda pattern, layer: pattern}).values["pattern"]
    queries = torch.arange(period + 1, 2 * period + 1)
    return torch.stack([pattern[:, :, queries, queries - period + 1].mean(dim=(0, 2)) for pattern in patterns])


@pytest.mark.parametrize("period", [5, 10, 25, 50, 63])
def test_two_layers_have_induction_heads(period: int) -> None:
    subject = model("induction-2layer")
    found = stripes(subject, period)
    assert (found[1] > 0.9).sum() == 3
    assert float(found[0].max()) < 0.05
    tokens = twice(subject, period).draw(32, seed=1).tokens
    nats = surprise(subject, tokens)
    assert float(nats[:, :period].mean()) > 4.5  # the first time, nothing but chance
    assert float(nats[:, period + 1 :].mean()) < 0.15


def test_they_read_what_a_head_of_the_layer_before_wrote_of_the_previous_token() -> None:
    subject = model("induction-2layer")
    tokens = twice(subject, 25).draw(8, seed=1).tokens
    first: Any = subject.run(tokens, watch={"pattern": lambda pattern, layer: pattern}).values["pattern"][0]
    previous = first.diagonal(-1, dim1=2, dim2=3).mean(dim=(0, 2))
    assert (previous > 0.9).sum() == 1
    head = int(previous.argmax())

    def without(z: Tensor, layer: int) -> Tensor:
        return z.index_fill(1, torch.tensor([head]), 0.0) if layer == 0 else z

    blind = subject.run(tokens, edit={"z": without}, logits=True).output
    nats = nn.functional.cross_entropy(blind[:, 26:-1].flatten(0, 1), tokens[:, 27:].flatten())
    assert float(nats) > 3


def test_without_repetition_there_is_nothing_to_foresee() -> None:
    subject = model("induction-2layer")
    assert float(surprise(subject, twice(subject, 25).control(8, seed=1).tokens)[:, 26:].mean()) > 4


def test_they_form_between_two_checkpoints_of_the_training() -> None:
    before, after = model("induction-2layer", "step1300"), model("induction-2layer", "step1600")
    assert float(stripes(before, 25).max()) < 0.15
    assert float(stripes(after, 25)[1].max()) > 0.9


@pytest.mark.parametrize("revision", ["step1600", "step4000"])
def test_one_layer_has_none(revision: str) -> None:
    subject = model("induction-1layer", revision)
    assert float(stripes(subject, 25).max()) < 0.1
    tokens = twice(subject, 25).draw(8, seed=1).tokens
    assert float(surprise(subject, tokens)[:, 26:].mean()) > 4.3


def test_bos_is_the_one_that_training_began_with() -> None:
    assert model("induction-2layer").bos == model("induction-1layer").bos == 128
    assert model("tiny-grammar").bos == Grammar().bos


def test_the_grammar_is_almost_learned() -> None:
    """Held-out documents: the model's loss beside that of the truth on the same words."""
    documents = Grammar().documents(100, seed=2024)
    truth = -documents.log_probability[:, 1:]
    excess = [
        float((surprise(model("tiny-grammar", f"step{step}"), documents.tokens) - truth).mean())
        for step in (0, 100, 300, 800, 2000, 4000)
    ]
    assert excess == sorted(excess, reverse=True)
    assert excess[0] > 3
    assert 0 < excess[-1] < MARGIN


def test_the_distribution_of_the_next_word_is_the_grammars() -> None:
    grammar, subject = Grammar(), model("tiny-grammar")
    tokens = grammar.documents(1, seed=7).tokens
    guessed = subject.logits(tokens)[0].softmax(dim=-1)
    for place in (3, 20, 60, 100):
        law = grammar.next_word(tokens[0, : place + 1].tolist())
        assert float((guessed[place] - law).abs().sum()) / 2 < 0.15


@pytest.mark.parametrize(
    ("text", "number"),
    [("the dog near these cats", "s"), ("the dogs near this cat", "p"), ("Anna beside two horses", "s")],
)
def test_verbs_agree_across_another_noun(text: str, number: str) -> None:
    subject = model("tiny-grammar")
    assert subject.bos is not None
    tokens = torch.tensor([[subject.bos, *subject.encode(text)]])
    guessed = dict(zip(Grammar().words, subject.logits(tokens)[0, -1].softmax(dim=0).tolist(), strict=True))
    said = {of: sum(guessed[word] for kind in VERBS for word in CLASSES[f"{kind}-{of}"]) for of in "sp"}
    assert said[number] > 0.9
    assert said[number] > 50 * said["sp".replace(number, "")]


def test_text_goes_into_the_grammars_model() -> None:
    subject = model("tiny-grammar")
    words = ["the", "old", "dog", "sees", "Anna", "."]
    assert subject.encode("the old dog sees Anna.") == [Grammar().words.index(word) for word in words]


@pytest.mark.parametrize(("name", "share", "least"), [("icl", 1.0, 0.99), ("iwl", 0.5, None), ("noise", 0.5, None)])
def test_only_labels_that_are_drawn_anew_are_learned_in_context(name: str, share: float, least: float | None) -> None:
    """The last label of fresh sequences, among the sequence's two."""
    subject = model(f"{name}-mapping")
    tokens = LabelMapping().draw(512, seed=99, step=0)
    assert subject.bos == LabelMapping().bos
    pairs = tokens[:, 2:-1:2]  # the labels before the last
    both = torch.stack([pairs.amin(dim=1), pairs.amax(dim=1)], dim=1)
    last = subject.logits(tokens[:, :-1])[:, -1]
    told = both.gather(1, last.gather(1, both).argmax(dim=1, keepdim=True))[:, 0]
    right = (told == tokens[:, -1])[both[:, 0] < both[:, 1]].double().mean().item()
    assert right == pytest.approx(share, abs=0.08)
    assert least is None or right > least


def test_labels_that_stay_the_same_are_learned_in_weights() -> None:
    law = LabelMapping(labels="in-weights")
    tokens = law.draw(64, seed=99, step=0)
    last = model("iwl-mapping").logits(tokens[:, :-1])[:, -1]
    assert (last.argmax(dim=1) == tokens[:, -1]).double().mean() > 0.99
