"""Text goes in only with a tokenizer, and without anything put before or after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.models.opening.in_memory import from_module
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

WORDS = {"<s>": 0, "<unk>": 1, "the": 2, "cat": 3, "sat": 4}


def word_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer(WordLevel(WORDS, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A <s>", special_tokens=[("<s>", 0)])
    return tokenizer


def test_text_goes_in_with_a_tokenizer_of_transformers(tiny: Callable[[str], Any]) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_tokenizer(), bos_token="<s>", unk_token="<unk>")
    subject = from_module(tiny("gpt2"), tokenizer)
    assert subject.encode("the cat sat") == [2, 3, 4]
    assert subject.encode("the dog") == [2, 1]
    assert (subject.bos, subject.source.facts["bos"]) == (0, 0)
    assert subject.logits(torch.tensor([[subject.bos, *subject.encode("the cat")]])).shape == (1, 3, 53)
    with pytest.raises(TaskError, match="gives no token"):
        subject.encode("  ")


def test_text_goes_in_with_a_tokenizer_of_tokenizers(random_language_model: Callable[..., Any]) -> None:
    subject = random_language_model()
    assert subject.bos is None
    with pytest.raises(TaskError, match="tiny: came without a tokenizer, so it cannot read text; give token ids"):
        subject.encode("the cat")
    subject.tokenizer = word_tokenizer()
    assert subject.encode("the cat sat") == [2, 3, 4]


def test_long_texts_give_no_warning(tiny: Callable[[str], Any], caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_tokenizer(), model_max_length=4)
    assert len(from_module(tiny("gpt2"), tokenizer).encode("cat " * 50)) == 50
    assert caplog.messages == []
