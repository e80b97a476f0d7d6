"""The grammar: what it says of its documents is true, by other ways of working it out."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.grammar import BOS, CLASSES, START, Grammar, State, options

GRAMMAR = Grammar()
KIND = {word: kind for kind, words in CLASSES.items() for word in words}


def words_of(tokens) -> list[str]:
    return [GRAMMAR.words[int(token)] for token in tokens]


def class_law(kind: str) -> dict[str, float]:
    """Zipf's law over a class, read off the words' expected frequencies."""
    shares = dict(zip(GRAMMAR.words, GRAMMAR.frequencies().tolist(), strict=True))
    total = sum(shares[word] for word in CLASSES[kind])
    return {word: shares[word] / total for word in CLASSES[kind]}


def by_loops(said: list[str]) -> list[dict[str, float]]:
    """The law of each word given those before it: every way through the rules is followed, with its probability."""
    laws_of = {kind: class_law(kind) for kind in CLASSES}
    ways, names, laws = {START: 1.0}, [], []
    for word in said:
        law: Counter[str] = Counter()
        after: Counter[State] = Counter()
        for state, chance in ways.items():
            for probability, kind, follows in options(state):
                for one, share in laws_of[kind].items():
                    if kind == "name" and names:
                        weights = [4, 3, 2, 1][: len(names)]
                        back = sum(w for w, name in zip(weights, reversed(names), strict=False) if name == one)
                        share = 0.3 * share + 0.7 * back / sum(weights)
                    law[one] += chance * probability * share
                    if one == word:
                        after[follows] += chance * probability * share
        laws.append(dict(law))
        ways = {state: chance / after.total() for state, chance in after.items()}
        if KIND[word] == "name":
            names.append(word)
    return laws


def test_probabilities_and_entropies_are_those_of_every_way_through_the_rules() -> None:
    documents = Grammar(length=60).documents(3, seed=4)
    for tokens, logs, entropies in zip(documents.tokens, documents.log_probability, documents.entropy, strict=True):
        said = words_of(tokens)
        assert said[0] == BOS
        laws = by_loops(said[1:])
        assert logs[0] == entropies[0] == 0
        assert logs[1:].tolist() == pytest.approx(
            [math.log(law[word]) for word, law in zip(said[1:], laws, strict=True)]
        )
        expected = [-sum(p * math.log(p) for p in law.values() if p) for law in laws]
        assert entropies[1:].tolist() == pytest.approx(expected)


def test_the_next_word_after_any_prefix_is_known() -> None:
    tokens = GRAMMAR.documents(1, seed=7).tokens[0, :40].tolist()
    laws = by_loops(words_of(tokens[1:]))
    for end in (1, 2, 17, 39):
        law = GRAMMAR.next_word(tokens[:end])
        assert float(law.sum()) == pytest.approx(1)
        found = {word: p for word, p in zip(GRAMMAR.words, law.tolist(), strict=True) if p}
        assert found == pytest.approx({word: p for word, p in laws[end - 1].items() if p})


def test_no_state_has_two_options_with_one_word() -> None:
    states = [START]
    for state in states:
        found = list(options(state))
        words = [word for _, kind, _ in found for word in CLASSES[kind]]
        assert len(set(words)) == len(words)
        assert sum(probability for probability, _, _ in found) == pytest.approx(1)
        states += [follows for *_, follows in dict.fromkeys(found) if follows not in states]
    assert len(set(states)) == len(GRAMMAR.rules.laws)


def test_every_word_is_one_of_a_kind() -> None:
    assert len(set(GRAMMAR.words)) == GRAMMAR.d_vocab
    assert 200 < GRAMMAR.d_vocab < 400
    assert GRAMMAR.words[GRAMMAR.bos] == BOS


@pytest.mark.parametrize("settings", [{}, {"zipf": 0.5, "seed": 3, "length": 20}])
def test_frequencies_are_what_many_documents_show(settings: dict[str, float]) -> None:
    grammar = Grammar(**settings)  # type: ignore[arg-type]
    tokens = grammar.documents(2000, seed=1).tokens
    counts = torch.zeros(len(tokens), grammar.d_vocab, dtype=torch.float64)
    counts.scatter_add_(1, tokens, torch.ones(tokens.shape, dtype=torch.float64))
    shares, expected = counts / grammar.length, grammar.frequencies()
    assert float(expected.sum()) == pytest.approx(1)
    assert float(expected[grammar.bos]) == pytest.approx(1 / grammar.length)
    errors = (shares.mean(dim=0) - expected)[:-1] / (shares.std(dim=0)[:-1] / len(tokens) ** 0.5)
    assert float(errors.abs().max()) < 4.5
    assert float(errors.std()) == pytest.approx(1, abs=0.2)


def test_words_of_a_class_follow_zipf() -> None:
    for kind in ("noun-s", "noun-p", "name", "adjective", "transitive-p"):
        law = sorted(class_law(kind).values(), reverse=True)
        assert [law[0] / share for share in law] == pytest.approx(range(1, len(law) + 1))
    singular, plural = class_law("noun-s"), class_law("noun-p")
    assert list(singular.values()) == pytest.approx(list(plural.values()))
    assert max(Grammar(seed=1).frequencies()[24:]) != max(GRAMMAR.frequencies()[24:])


def test_verbs_agree_whatever_stands_between() -> None:
    numbers = {"name": "s", "noun-s": "s", "noun-p": "p"}
    across = 0
    for tokens in GRAMMAR.documents(60, seed=2).tokens:
        clause: list[str] = []
        for word in words_of(tokens[1:]):
            kind = KIND[word]
            if kind in ("stop", "and"):
                clause = []
            elif kind in numbers:
                clause.append(numbers[kind])
            elif kind.startswith(("intransitive", "transitive", "be-")):
                assert kind[-1] == clause[0]
                across += clause[0] != clause[-1]
    assert across > 30


def test_names_come_back() -> None:
    def share(grammar: Grammar) -> float:
        """How many names, of those after the first of their document, are one of the last four."""
        again, first = 0, len(CLASSES["name"])
        documents = [[int(token) for token in row if token < first] for row in grammar.documents(300, 5).tokens]
        total = sum(max(len(names) - 1, 0) for names in documents)
        for names in documents:
            again += sum(name in names[max(0, place - 4) : place] for place, name in enumerate(names) if place)
        return again / total

    assert share(GRAMMAR) > 0.75
    assert share(Grammar(recurrence=0.0)) < 0.4


def test_the_surprise_of_documents_is_their_entropy() -> None:
    documents = GRAMMAR.documents(400, seed=3)
    excess = (-documents.log_probability - documents.entropy).mean(dim=1)
    assert abs(float(excess.mean())) < 4 * float(excess.std()) / 20
    assert 2.4 < float(documents.entropy[:, 1:].mean()) < 2.8


def test_the_same_seed_gives_the_same_documents() -> None:
    tokens = GRAMMAR.documents(4, seed=1).tokens
    assert torch.equal(tokens, GRAMMAR.documents(4, seed=1).tokens)
    assert not torch.equal(tokens, GRAMMAR.documents(4, seed=2).tokens)
    step = GRAMMAR.draw(4, seed=1, step=0)
    assert torch.equal(step, GRAMMAR.draw(4, seed=1, step=0))
    assert not torch.equal(step, GRAMMAR.draw(4, seed=1, step=1))
    assert not torch.equal(step, tokens)


def test_text_is_plain_and_says_every_word() -> None:
    tokens = GRAMMAR.documents(1, seed=0).tokens[0]
    text = GRAMMAR.text(tokens)
    assert text.replace(".", " .").split() == words_of(tokens[1:])
    assert BOS not in text
    assert " ." not in text
    assert all(a.isalpha() or a in ". " for a in text)
    assert not [a for a, b in pairwise(text) if a == b == " "]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 1}, "length = 1"),
        ({"zipf": -1.0}, "zipf = -1"),
        ({"zipf": float("nan")}, "zipf = nan"),
        ({"recurrence": 1.0}, "recurrence = 1.0"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        Grammar(**settings)  # type: ignore[arg-type]


def test_what_is_never_said_has_no_continuation() -> None:
    the = GRAMMAR.words.index("the")
    with pytest.raises(TaskError, match=r"token \d+ \('the'\) at position 2 has probability 0 there"):
        GRAMMAR.next_word([GRAMMAR.bos, the, the])
    with pytest.raises(TaskError, match="outside the vocabulary"):
        GRAMMAR.next_word([GRAMMAR.bos, 100_000])
    with pytest.raises(TaskError, match="at position 0"):
        GRAMMAR.next_word([the])
    with pytest.raises(TaskError, match="begin with token"):
        GRAMMAR.next_word([])
    with pytest.raises(TaskError, match="0 documents"):
        GRAMMAR.documents(0, seed=0)
