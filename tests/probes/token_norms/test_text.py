"""What is read: which pieces are resampled, what of the grammar is true at which token, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.grammar import Grammar
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.models.opening.word_level import word_level
from mesascope.probes.token_norms import text as text_module
from mesascope.probes.token_norms.text import Text, TextSettings, read_text, unreadable


def model(
    d_vocab: int = 30, n_ctx: int = 8, words: bool = False, bos: int | None = None, **record: object
) -> AttentionOnlyModel:
    config = AttentionOnlyConfig(d_vocab=d_vocab, n_ctx=n_ctx, d_model=4, n_layers=1, n_heads=1, d_head=4)
    parameters = {name: torch.zeros(shape) for name, shape in config.shapes.items()}
    source = Source("tiny", layout="in-memory", facts={"bos": bos}, record={"recipe": {"tasks": record}})
    tokenizer = word_level(Grammar().words, Grammar().bos) if words else None
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source, tokenizer)


@pytest.fixture
def of_grammar() -> AttentionOnlyModel:
    grammar = Grammar(length=20)
    return model(grammar.d_vocab, 20, bos=grammar.bos, family="grammar", length=20, seed=0, zipf=1.0, recurrence=0.7)


def read(subject: AttentionOnlyModel, seed: int = 0, **settings: object) -> Text:
    return read_text(subject, TextSettings(**settings), seed)


def write_tokens(folder: Path, *documents: list[int]) -> str:
    path = folder / "tokens.jsonl"
    path.write_text("".join(json.dumps({"tokens": ids}) + "\n" for ids in documents))
    return str(path)


def test_documents_are_the_pieces(tmp_path: Path) -> None:
    given = read(model(), tokens=write_tokens(tmp_path, [1] * 20, [2, 3], [4] * 9))
    assert (given.replicate, given.n_replicates, given.n_pieces) == ("document", 3, 3)
    assert given.interval_note == "intervals are rough: they resample only 3 documents"
    for some in given.corpus.batches(2):
        assert (given.pieces(some) == some.document).all()


def test_many_documents_are_put_into_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "PIECES", 4)
    given = read(model(), tokens=write_tokens(tmp_path, *([n, n, n] for n in range(10))))
    pieces = np.concatenate([given.pieces(some) for some in given.corpus.batches(3)])
    assert (given.n_replicates, given.n_pieces) == (10, 4)
    assert sorted(np.bincount(pieces)) == [2, 2, 3, 3]
    assert (np.diff(pieces) >= 0).all()
    assert given.interval_note == "intervals resample 10 documents in 4 groups of consecutive ones"


def test_a_single_document_is_cut_into_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_module, "BLOCKS", 3)
    given = read(model(bos=0), tokens=write_tokens(tmp_path, list(range(1, 29)) * 2))
    pieces = np.concatenate([given.pieces(some) for some in given.corpus.batches(2)])
    assert (given.replicate, given.n_replicates) == ("block", 3)
    assert pieces.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert "the text is one document" in given.interval_note


def test_frequencies_are_those_of_all_the_text_given(tmp_path: Path) -> None:
    given = read(model(), tokens=write_tokens(tmp_path, [1, 1, 1, 2], [2, 5, 5, 5, 5]), limit=2)
    assert given.corpus.n_tokens == 2
    np.testing.assert_allclose(np.exp(given.log_frequency), np.bincount([1, 1, 1, 2, 2, 5, 5, 5, 5], minlength=30))


def recorded(subject: AttentionOnlyModel) -> Grammar | None:
    return Grammar.recorded(subject.source.record, subject.shape.d_vocab)


@pytest.mark.parametrize("context", [20, 7])
def test_the_truth_stands_at_the_token_that_it_follows(of_grammar: AttentionOnlyModel, context: int) -> None:
    """Against the grammar's own distribution after every prefix; a window need not begin where a document does."""
    grammar = recorded(of_grammar)
    assert grammar == Grammar(length=20)
    given = read(of_grammar, limit=60, context=context)
    for some in given.corpus.batches(3):
        truth = given.true_entropy(some)
        for row, document, start in zip(truth, some.document, some.start, strict=True):
            ids = given.corpus.documents[document]
            for t in range(some.tokens.shape[1]):
                if start + t == 19:
                    assert np.isnan(row[t])
                    continue
                law = grammar.next_word([grammar.bos, *ids[: start + t].tolist()])
                assert row[t] == pytest.approx(float(torch.special.entr(law).sum()), rel=1e-9)


def test_without_bos_the_truth_moves_by_one(of_grammar: AttentionOnlyModel) -> None:
    grammar, settings = Grammar(length=20), of_grammar.source.record["recipe"]["tasks"]
    given = read(model(grammar.d_vocab, 20, **settings), limit=19)
    (some,) = given.corpus.batches(1)
    law = grammar.next_word([grammar.bos, *given.corpus.documents[0][:5].tolist()])
    assert given.true_entropy(some)[0, 4] == pytest.approx(float(torch.special.entr(law).sum()), rel=1e-9)


def test_the_grammars_frequencies_are_those_of_its_text(of_grammar: AttentionOnlyModel) -> None:
    given = read(of_grammar)
    often = np.exp(given.truth.log_frequency) > 0.005
    found, known = given.log_frequency[often], given.truth.log_frequency[often]
    assert given.corpus.n_tokens >= 16_384
    assert np.corrcoef(found[:-1], known[:-1])[0, 1] > 0.98  # BOS, the last, is no part of the documents


def test_other_models_read_the_grammar_as_text() -> None:
    subject = model(Grammar().d_vocab, 16, words=True, bos=Grammar().bos)
    given = read(subject, limit=100)
    assert (given.truth, given.corpus.recipe.family) == (None, "grammar as text")
    assert given.corpus.n_tokens == 100
    other = read(subject, limit=100, seed=1)
    assert not np.array_equal(given.corpus.documents[0], other.corpus.documents[0])


def test_a_vocabulary_that_is_not_the_grammars_is_not_taken_for_it() -> None:
    assert recorded(model(family="grammar", length=20)) is None
    assert recorded(model(family="other")) is None


def test_fewer_tokens_for_those_who_want_less(tmp_path: Path) -> None:
    whole = read(model(), tokens=write_tokens(tmp_path, [1] * 20, [2] * 20))
    some = whole.shortened(25)
    assert [len(document) for document in some.corpus.documents] == [20, 5]
    assert some.corpus.recipe.sha256 != whole.corpus.recipe.sha256
    assert (some.log_frequency == whole.log_frequency).all()


def test_without_a_tokenizer_only_tokens_go_in() -> None:
    for settings in (TextSettings(), TextSettings(text="text.txt")):
        reason = unreadable(model(), settings).reason
        assert reason.startswith("tiny has no tokenizer, so mesascope cannot turn text into its tokens")
        assert "token-norms would apply with --tokens FILE" in reason
    assert unreadable(model(), TextSettings(tokens="tokens.npy")) is None
    assert unreadable(model(Grammar().d_vocab, words=True), TextSettings(text="text.txt")) is None


def test_a_model_of_the_grammar_needs_no_tokenizer(of_grammar: AttentionOnlyModel) -> None:
    assert unreadable(of_grammar, TextSettings()) is None
    assert unreadable(of_grammar, TextSettings(text="text.txt")) is not None


@pytest.mark.parametrize(
    ("documents", "settings", "words"),
    [
        ([[1, 2], [99, 1]], {}, "token 99 at position 0 of document 1"),
        ([[1, 2, -1]], {}, "token -1"),
        ([[1]], {}, "a length of 1, BOS included; expected at least 2"),
        ([[1, 2, 3]], {"context": 9}, "reads at most 8"),
        ([[1, 2, 3]], {"context": 1}, "expected at least 2"),
    ],
)
def test_what_cannot_be_read(tmp_path: Path, documents: list[list[int]], settings: dict, words: str) -> None:
    with pytest.raises(TaskError, match=words):
        read(model(), tokens=write_tokens(tmp_path, *documents), **settings)


def test_empty_text(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(TaskError, match="no document has a token"):
        read(model(Grammar().d_vocab, words=True), text=str(empty))


def test_text_shorter_than_a_window_is_read_as_it_is(tmp_path: Path) -> None:
    given = read(model(), tokens=write_tokens(tmp_path, [1, 2, 3]))
    assert [tuple(some.tokens.shape) for some in given.corpus.batches(8)] == [(1, 3)]
