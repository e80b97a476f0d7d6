"""What models read: the user's text or tokens, the grammar, or random tokens."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import models
from mesascope.data.errors import TaskError
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.probes.head_sequences import SequenceSettings, other_sequences, queries_of, read_sequences
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace


def subject(n_ctx: int = 20, bos: int | None = None, tokenizer: Any = None) -> AttentionOnlyModel:
    sizes = {"d_vocab": 40, "n_ctx": n_ctx, "d_model": 4, "n_layers": 1, "n_heads": 1, "d_head": 4}
    config = AttentionOnlyConfig(**sizes)
    parameters = {name: torch.zeros(shape) for name, shape in config.shapes.items()}
    source = Source("tiny", layout="in-memory", facts={"bos": bos})
    return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source, tokenizer)


@pytest.fixture
def words() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0, "the": 1, ".": 2, "dog": 3, "cat": 4, "and": 5}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


@pytest.mark.parametrize(
    ("length", "n", "expected"),
    [(129, 8, (16, 32, 48, 64, 80, 96, 112, 128)), (12, 4, (3, 6, 8, 11)), (4, 8, (1, 2, 3)), (3, 1, (2,))],
)
def test_queries_are_evenly_spaced_and_end_with_the_last(length: int, n: int, expected: tuple[int, ...]) -> None:
    assert queries_of(length, n) == expected


def test_without_a_tokenizer_tokens_are_random() -> None:
    found = read_sequences(subject(bos=39), SequenceSettings(n_sequences=7), 0)
    (tokens,) = found.groups
    assert tokens.shape == (7, 20)
    assert (tokens[:, 0] == 39).all()
    assert len(np.unique(tokens[:, 1:])) > 35
    assert (found.recipe.family, found.recipe.n) == ("random tokens", 7)
    assert (found.recipe.settings["sequences"], found.recipe.settings["limit"]) == (7, 7 * 19)
    assert torch.equal(read_sequences(subject(bos=39), SequenceSettings(n_sequences=7), 0).groups[0], tokens)
    other = read_sequences(subject(bos=39), SequenceSettings(n_sequences=7), 1)
    assert not torch.equal(other.groups[0], tokens)
    assert other.recipe.sha256 != found.recipe.sha256


def test_with_one_each_sequence_is_the_beginning_of_a_document_of_the_grammar(words: Tokenizer) -> None:
    found = read_sequences(subject(tokenizer=words), SequenceSettings(n_sequences=6, context=15), 0)
    (tokens,) = found.groups
    assert tokens.shape == (6, 15)
    assert found.length == 15
    assert len({tuple(row.tolist()) for row in tokens}) == 6
    assert {1, 2} <= set(tokens.flatten().tolist())  # "the", "."
    assert found.recipe.family == "grammar as text"


def test_a_model_of_the_grammar_reads_the_grammar_s_own_tokens() -> None:
    trained = models.load("tiny-grammar")
    found = read_sequences(trained, SequenceSettings(n_sequences=3), 0)
    assert found.recipe.family == "grammar"
    (tokens,) = found.groups
    assert tokens.shape == (3, trained.shape.n_ctx)
    assert (tokens[:, 0] == trained.bos).all()
    assert (tokens[:, 1:] != trained.bos).all()


def test_a_text_is_cut_into_windows_of_which_the_first_are_read(words: Tokenizer, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the dog and the cat and the dog . the cat . the dog")
    found = read_sequences(subject(tokenizer=words), SequenceSettings(text=str(tmp_path / "text.txt"), context=4), 0)
    assert [group.tolist() for group in found.groups] == [[[1, 3, 5, 1], [4, 5, 1, 3], [2, 1, 4, 2]]]  # two are left
    assert found.recipe.family == "text"
    few = read_sequences(
        subject(tokenizer=words), SequenceSettings(text=str(tmp_path / "text.txt"), context=4, n_sequences=2), 0
    )
    assert [group.tolist() for group in few.groups] == [[[1, 3, 5, 1], [4, 5, 1, 3]]]


def test_batches_count_the_sequences_of_all_lengths(tmp_path: Path) -> None:
    documents = [[0, 1, 2, 3, 4], [0, 1, 2], [5, 6, 7, 8, 9], [9, 8, 7, 6, 5]]
    (tmp_path / "ids.jsonl").write_text("\n".join(f'{{"tokens": {ids}}}' for ids in documents))
    found = read_sequences(subject(), SequenceSettings(tokens=str(tmp_path / "ids.jsonl")), 0)
    assert len(found) == 4
    assert [(first, tokens.shape) for first, tokens in found.batches(2)] == [(0, (2, 5)), (2, (1, 5)), (3, (1, 3))]


def test_a_model_of_repeated_segments_reads_such_where_it_is_asked_to() -> None:
    trained = models.load("induction-2layer")
    plain, repeated = (
        read_sequences(trained, SequenceSettings(n_sequences=3), 0, segments) for segments in (False, True)
    )
    assert (plain.recipe.family, repeated.recipe.family) == ("random tokens", "repeated-segments")
    assert repeated.recipe.settings["longest"] == 50
    (tokens,) = repeated.groups
    assert tokens.shape == (3, trained.shape.n_ctx)
    assert (tokens[:, 0] == trained.bos).all()
    assert (tokens[:, 1:] != trained.bos).all()
    pairs = [set(pairwise(row)) for row in tokens[:, 1:].tolist()]
    assert max(map(len, pairs)) < 126  # of 126 pairs of neighbours some come back
    short = read_sequences(trained, SequenceSettings(n_sequences=3, context=10), 0, segments=True)
    assert torch.equal(short.groups[0], tokens[:, :10])
    assert read_sequences(subject(), SequenceSettings(), 0, segments=True).recipe.family == "random tokens"


@pytest.mark.parametrize("name", ["tiny-grammar", "induction-2layer"])
def test_other_sequences_are_drawn_with_another_seed(name: str) -> None:
    trained, settings = models.load(name), SequenceSettings(n_sequences=4)
    own, others = (read(trained, settings, 0, segments=True) for read in (read_sequences, other_sequences))
    assert others.groups[0].shape == own.groups[0].shape
    assert others.recipe.family == own.recipe.family
    assert not {tuple(row) for row in own.groups[0].tolist()} & {tuple(row) for row in others.groups[0].tolist()}
    assert torch.equal(other_sequences(trained, settings, 0, segments=True).groups[0], others.groups[0])
    assert not torch.equal(other_sequences(trained, settings, 1, segments=True).groups[0], others.groups[0])


def test_other_sequences_of_a_file_come_later_in_it(tmp_path: Path) -> None:
    documents = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], [10, 11, 12], [13, 14, 15, 16, 17]]
    (tmp_path / "ids.jsonl").write_text("\n".join(f'{{"tokens": {ids}}}' for ids in documents))
    settings = SequenceSettings(tokens=str(tmp_path / "ids.jsonl"), n_sequences=2, context=4)
    assert [group.tolist() for group in read_sequences(subject(), settings, 0).groups] == [[[0, 1, 2, 3], [4, 5, 6, 7]]]
    others = other_sequences(subject(), settings, 0)
    assert others is not None
    assert [group.tolist() for group in others.groups] == [[[10, 11, 12], [13, 14, 15]]]  # 8 and 9: too few; 8 tokens
    with_bos = other_sequences(subject(bos=39), settings, 0)  # 3 tokens of each window are the file's
    assert with_bos is not None
    assert [group.tolist() for group in with_bos.groups] == [[[39, 6, 7, 8]], [[39, 10, 11]]]
    all_read = replace(settings, n_sequences=5)
    assert other_sequences(subject(), all_read, 0) is None


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="context = 21: tiny reads at most 20 tokens; give fewer"):
        read_sequences(subject(), SequenceSettings(context=21), 0)
    with pytest.raises(TaskError, match="sequences of 2 tokens; expected at least 3"):
        read_sequences(subject(n_ctx=2), SequenceSettings(), 0)
    np.save(tmp_path / "ids.npy", np.array([1, 2]))
    with pytest.raises(TaskError, match="the text has no window of 3 tokens, BOS included; give longer text"):
        read_sequences(subject(), SequenceSettings(tokens=str(tmp_path / "ids.npy")), 0)
    (tmp_path / "text.txt").write_text("the dog")
    with pytest.raises(TaskError, match="holds text, but the model has no tokenizer"):
        read_sequences(subject(), SequenceSettings(text=str(tmp_path / "text.txt")), 0)
