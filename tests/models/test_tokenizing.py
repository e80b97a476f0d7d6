"""Tokenizers: real ones are told from stand-ins, and each has a digest that what it does to texts decides."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mesascope.data.errors import CheckpointRefused, TaskError, UsageError
from mesascope.models.opening.in_memory import from_module
from mesascope.models.opening.pretrained import open_directory
from mesascope.models.opening.tokenizer_files import MAX_TOKENIZER, open_tokenizer
from mesascope.models.tokenizing import begins_with, digest_of, knows_words, pieces_of
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace, WhitespaceSplit
from transformers import PreTrainedTokenizerFast

WORDS = {"<s>": 0, "<unk>": 1, "the": 2, "cat": 3}


def rules(words: dict[str, int] = WORDS, split: Any = WhitespaceSplit) -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = split()
    return tokenizer


def fast(**settings: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(tokenizer_object=rules(), **{"bos_token": "<s>", "unk_token": "<unk>", **settings})


def test_the_digest_is_of_what_a_tokenizer_does() -> None:
    one = digest_of(rules())
    assert digest_of(fast()) != digest_of(rules())  # transformers adds the special tokens
    assert digest_of(rules({**WORDS, "dog": 4})) != one
    assert digest_of(rules(split=Whitespace)) != one
    used = fast()
    used("the cat the cat", truncation=True, max_length=2)
    assert digest_of(used) == digest_of(fast())
    slow = SimpleNamespace(get_vocab=lambda: dict(WORDS), encode=None)
    other = SimpleNamespace(get_vocab=lambda: {**WORDS, "dog": 4}, encode=None)
    assert digest_of(slow) != digest_of(other)


def test_only_special_tokens_are_no_words() -> None:
    assert knows_words(fast())
    assert knows_words(rules())
    assert not knows_words(PreTrainedTokenizerFast(tokenizer_object=rules({"<s>": 0}), bos_token="<s>"))
    with pytest.raises(UsageError, match="the tokenizer is a str; expected a tokenizer"):
        knows_words("gpt2")


def test_what_sequences_begin_with() -> None:
    config = SimpleNamespace(bos_token_id=7)
    assert begins_with(None, config, 8) == 7
    assert begins_with(None, config, 7) is None  # a default that this vocabulary does not hold
    assert begins_with(None, SimpleNamespace(bos_token_id=[3, 4]), 8) == 3
    assert begins_with(fast(), config, 8) == 0
    assert begins_with(fast(bos_token=None), config, 8) is None  # it knows that there is none
    assert begins_with(fast(bos_token=None, cls_token="the"), config, 8) == 2
    assert begins_with(rules(), config, 8) == 7
    assert begins_with(None, None, 8) is None


def test_an_in_memory_models_tokenizer_is_recorded(tiny: Callable[[str], Any]) -> None:
    subject = from_module(tiny("llama"), fast())
    assert subject.source.facts["tokenizer_sha256"] == digest_of(fast())
    assert not any("tokenizer" in note for note in subject.source.notes)
    without = from_module(tiny("llama"))
    assert without.source.facts["tokenizer_sha256"] is None
    assert any("without a tokenizer" in note for note in without.source.notes)
    mute = PreTrainedTokenizerFast(tokenizer_object=rules({"<s>": 0}), bos_token="<s>")
    with pytest.raises(UsageError, match=r"has special tokens only; .* leave it out and give token ids"):
        from_module(tiny("llama"), mute)


def test_a_directorys_tokenizer_is_identified_by_its_files(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path)
    fast().save_pretrained(tmp_path)
    subject = open_directory(tmp_path)
    assert subject.encode("the cat") == [2, 3]
    assert subject.bos == 0
    digest = subject.source.facts["tokenizer_sha256"]
    assert open_directory(tmp_path).source.facts["tokenizer_sha256"] == digest
    rules({**WORDS, "dog": 4}).save(str(tmp_path / "tokenizer.json"))
    other = open_directory(tmp_path)
    assert other.encode("the dog") == [2, 4]
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({**config, "bos_token": None}))
    last = open_directory(tmp_path)
    assert last.bos is None
    assert len({digest, other.source.facts["tokenizer_sha256"], last.source.facts["tokenizer_sha256"]}) == 3


def test_an_empty_vocabulary_is_refused(tiny: Callable[[str], Any], tmp_path: Path) -> None:
    """transformers opens it, and every text then gives nothing."""
    tiny("gpt2").save_pretrained(tmp_path)
    (tmp_path / "vocab.json").write_text("{}")
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(CheckpointRefused, match=r"vocab\.json: the tokenizer has special tokens only"):
        open_directory(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("tokenizer.json", b" " * (MAX_TOKENIZER + 1), "bytes; expected at most"),
        ("tokenizer.json", b'{"a":[' + b"[]," * 2_000_000 + b"[]]}", "brackets, colons and commas"),
        ("added_tokens.json", b'{"a":[' + b"[]," * 2_000_000 + b"[]]}", "brackets, colons and commas"),
    ],
)
def test_a_tokenizer_that_would_fill_the_memory_is_refused(
    name: str, content: bytes, message: str, tmp_path: Path
) -> None:
    fast().save_pretrained(tmp_path)
    (tmp_path / name).write_bytes(content)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CheckpointRefused, match=rf"{name}: .*{message}"):
        open_tokenizer(tmp_path)
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_only_regular_files_within_the_directory_are_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    os.mkfifo(tmp_path / "model" / "tokenizer.json")
    with pytest.raises(CheckpointRefused, match="not a regular file"):
        open_tokenizer(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.json").unlink()
    (tmp_path / "outside.json").write_text("{}")
    (tmp_path / "model" / "tokenizer.json").symlink_to(tmp_path / "outside.json")
    with pytest.raises(CheckpointRefused, match="leaves the directory"):
        open_tokenizer(tmp_path / "model")


@pytest.mark.parametrize("make", [rules, fast])
def test_tokens_have_their_places_in_the_text(make: Callable[[], Any]) -> None:
    assert pieces_of(make(), "the  cat dog") == [(2, 0, 3), (3, 5, 8), (1, 9, 12)]


def test_a_tokenizer_that_does_not_tell_places_is_refused() -> None:
    slow = SimpleNamespace(special_tokens_map={}, encode=None, is_fast=False)
    with pytest.raises(
        TaskError, match="the tokenizer is a SimpleNamespace, which does not tell where its tokens stand"
    ):
        pieces_of(slow, "the cat")
    none = Tokenizer(WordLevel({"the": 0}))
    none.pre_tokenizer = WhitespaceSplit()
    with pytest.raises(TaskError, match="'the cat': the tokenizer has no token for a part of this text"):
        pieces_of(none, "the cat")
