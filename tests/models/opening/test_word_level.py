"""Words in a checkpoint's metadata: text goes in word by word, and what is no such list is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesascope.data import CheckpointRefused, TaskError
from mesascope.data.writing import write_atomically
from mesascope.models import AttentionOnlyModel, load, load_all, save_checkpoint

Make = Callable[..., AttentionOnlyModel]
WORDS = ("the", "old", "dog", "cats", "see", "sees", "Anna", ".", "and", "again", "<s>")


@pytest.fixture
def path(random_language_model: Make, tmp_path: Path) -> Path:
    model = random_language_model()
    tensors = {f"seed0/step{step}/{n}": w for step in (0, 5) for n, w in model.module.named_parameters()}
    save_checkpoint(tmp_path / "words.safetensors", model.config, tensors, bos=10, words=WORDS)
    return tmp_path / "words.safetensors"


def with_metadata(path: Path, **changed: Any) -> Path:
    """The same file with other metadata; None takes a key away."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    kept = {**header["__metadata__"], **changed}
    header["__metadata__"] = {key: value for key, value in kept.items() if value is not None}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    write_atomically(path, len(text).to_bytes(8, "little") + text + content[end:])
    return path


def test_text_goes_in_and_comes_out(path: Path) -> None:
    model = load(path)
    assert isinstance(model, AttentionOnlyModel)
    assert model.bos == 10
    assert model.encode("the old dog sees Anna. cats see.") == [0, 1, 2, 5, 6, 7, 3, 4, 7]
    assert model.tokenizer is not None
    assert model.tokenizer.decode([10, 0, 1, 2, 7], skip_special_tokens=True) == "the old dog."
    assert model.tokenizer.convert_ids_to_tokens(list(range(11))) == list(WORDS)
    assert (model.tokenizer.bos_token_id, model.tokenizer.all_special_ids) == (10, [10])
    assert [subject.tokenizer is model.tokenizer for subject in load_all(path, "all")] == [True, True]  # type: ignore[attr-defined]


def test_the_tokenizer_is_identified(path: Path) -> None:
    first = load(path).source.facts["tokenizer_sha256"]
    assert len(first) == 64
    other = load(with_metadata(path, words=json.dumps([*WORDS[1::-1], *WORDS[2:]]))).source.facts["tokenizer_sha256"]
    assert other != first


def test_a_word_that_is_not_known_is_refused(path: Path) -> None:
    with pytest.raises(TaskError, match=r"'the purple dog': the tokenizer has no token for a part of this text"):
        load(path).encode("the purple dog")  # type: ignore[attr-defined]


def test_without_words_only_ids_go_in(path: Path) -> None:
    model = load(with_metadata(path, words=None))
    assert isinstance(model, AttentionOnlyModel)
    assert (model.bos, model.tokenizer) == (10, None)
    with pytest.raises(TaskError, match="came without a tokenizer"):
        model.encode("the dog")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"bos": "11"}, "bos = '11'; expected a token id below 11"),
        ({"bos": "-1"}, "bos = '-1'"),
        ({"bos": "1e1"}, "bos = '1e1'"),
        ({"bos": "٣"}, "expected a token id below 11"),
        ({"bos": "9" * 5000}, "expected a token id below 11"),
        ({"bos": None}, "the metadata has words but no bos"),
        ({"words": "the old dog"}, "words are not readable JSON"),
        ({"words": "[" * 100_000}, "words are not readable JSON"),
        ({"words": '{"the": 0}'}, "words are not a list of strings; expected 11"),
        ({"words": json.dumps([*WORDS[:-1], 5])}, "words are not a list of strings; expected 11"),
        ({"words": json.dumps(WORDS[1:])}, "10 words, 10 of them different; expected 11"),
        ({"words": json.dumps([*WORDS[1:], "old"])}, "11 words, 10 of them different; expected 11"),
        ({"words": json.dumps([*WORDS[1:], ""])}, "word ''; expected 1 to 100 characters"),
        ({"words": json.dumps([*WORDS[1:], "a b"])}, "word 'a b'; expected"),
        ({"words": json.dumps([*WORDS[1:], "a" * 101])}, "expected 1 to 100 characters"),
    ],
)
def test_what_is_no_such_list_is_refused(path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointRefused) as caught:
        load(with_metadata(path, **changed))
    assert str(caught.value).startswith("words.safetensors: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
