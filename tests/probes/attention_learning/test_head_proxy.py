"""Co-occurrence of tokens with the next one: its bags, and what it says."""

from __future__ import annotations

from pathlib import Path

import torch
from mesascope.models import load
from mesascope.probes.attention_learning.head_proxy import BAGS, NO_OTHERS, bags_of, fitted_head_proxy
from mesascope.probes.attention_learning.proxy import MOST_WORDS, Proxy
from mesascope.probes.head_sequences import Sequences, SequenceSettings, other_sequences, read_sequences

from .tiny_language_models import ids_file, model


def sequences_of(folder: Path, documents: list[list[int]]) -> Sequences:
    return read_sequences(model(), SequenceSettings(tokens=ids_file(folder, documents)), 0)


def test_a_bag_is_what_a_query_may_attend_to(tmp_path: Path) -> None:
    bags, targets = bags_of(sequences_of(tmp_path, [[5, 6, 7, 8], [1, 2, 3]]))
    assert bags.tolist() == [[5, 6, -1, -1], [5, 6, 7, -1], [1, 2, -1, -1]]
    assert targets.tolist() == [[7], [8], [3]]


def test_of_many_queries_some_are_read() -> None:
    others = other_sequences(load("tiny-grammar"), SequenceSettings(n_sequences=32), 0)
    assert others is not None
    bags, targets = bags_of(others)
    assert bags.shape == (BAGS, 128)
    assert targets.shape == (BAGS, 1)
    assert (bags[:, 0] == 266).all()  # BOS


def test_a_word_that_tells_the_next_one_is_found(tmp_path: Path) -> None:
    """3 is followed by 4 and 5 by 6, whatever else there is."""
    rng, documents = torch.Generator().manual_seed(0), []
    for _ in range(16):
        cue = int(torch.randint(2, (1,), generator=rng))
        noise = torch.randint(7, 13, (2,), generator=rng).tolist()
        documents.append([*noise, (3, 5)[cue], (4, 6)[cue]])
    proxy = fitted_head_proxy(sequences_of(tmp_path, documents), 13)
    assert isinstance(proxy, Proxy)
    said = proxy.of(torch.tensor([4, 6, 6, 4]), torch.tensor([3, 5, 3, 5]))
    assert (said[:2] > -0.1).all()
    assert (said[2:] < -3).all()


def test_where_there_is_none_it_says_why(tmp_path: Path) -> None:
    assert fitted_head_proxy(None, 13) == NO_OTHERS
    why = fitted_head_proxy(sequences_of(tmp_path, [[1, 2, 3]]), MOST_WORDS + 1)
    assert isinstance(why, str)
    assert "at most 512 words, and the vocabulary has 513" in why
