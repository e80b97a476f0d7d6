"""Segments that come back: only their content says where they were, and what comes next."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.segments import RepeatedSegments
from torch import Tensor

FAMILY = RepeatedSegments()


def repeats(sequences: Tensor) -> list[tuple[int, int, int]]:
    """(sequence, position, the same word's last position before it) of every word that was said before."""
    found = []
    for row, tokens in enumerate(sequences.tolist()):
        last: dict[int, int] = {}
        for place, token in enumerate(tokens):
            if token in last:
                found.append((row, place, last[token]))
            last[token] = place
    return found


def test_a_sequence_is_bos_and_words() -> None:
    tokens = FAMILY.draw(20, seed=0, step=0)
    assert tokens.shape == (20, 128)
    assert (tokens[:, 0] == FAMILY.bos).all()
    assert (tokens[:, 1:] >= 0).all()
    assert (tokens[:, 1:] < FAMILY.n_words).all()
    assert FAMILY.d_vocab == FAMILY.n_words + 1 == FAMILY.bos + 1


def test_a_record_names_its_segments() -> None:
    family = RepeatedSegments(n_words=40, length=20, longest=7)
    tasks = {"family": "repeated-segments", **asdict(family)}
    assert RepeatedSegments.recorded({"recipe": {"tasks": tasks}}, family.d_vocab) == family
    assert RepeatedSegments.recorded({"recipe": {"tasks": tasks}}, 129) is None  # a model of other words
    assert RepeatedSegments.recorded({"recipe": {"tasks": {"family": "grammar"}}}, 129) is None
    assert RepeatedSegments.recorded({}, 129) is None


@pytest.mark.parametrize("size", [1, 3, 5])
def test_every_span_is_fresh_or_a_copy_of_an_earlier_stretch(size: int) -> None:
    family = RepeatedSegments(n_words=60, length=61, shortest=size, longest=size)
    fresh, copies = 0, 0
    for row in family.draw(30, seed=3, step=1).tolist():
        for start in range(1, 61, size):
            span, before = row[start : start + size], row[1:start]
            stretches = [before[at : at + size] for at in range(len(before) - size + 1)]
            new = not set(span) & set(before) and len(set(span)) == len(span)
            assert new != (span in stretches)
            fresh, copies = fresh + new, copies + (not new)
        assert len(set(row[1 : 1 + size])) == size  # the first span is fresh
    assert fresh - 30 == pytest.approx(copies, abs=4 * (fresh + copies) ** 0.5 / 2)


def test_lengths_run_from_the_shortest_to_the_longest() -> None:
    family = RepeatedSegments(shortest=4, longest=9)
    lengths = set()
    for row in family.draw(200, seed=0, step=0).tolist():
        again = next(place for place in range(2, 128) if row[place] in row[1:place])
        lengths.add(again - 1)
    assert {4, 9} < lengths  # where the second span is a copy, the first span is all that went before
    assert min(lengths) == 4


def test_no_offset_is_fixed() -> None:
    tokens = FAMILY.draw(300, seed=1, step=0)
    back = Counter(place - last for _, place, last in repeats(tokens))
    assert max(back.values()) < 0.04 * sum(back.values())
    assert len(back) > 80
    within = [{place - last for row, place, last in repeats(tokens[:20]) if row == one} for one in range(20)]
    assert sum(len(offsets) > 1 for offsets in within) > 10


def test_the_induction_rule_predicts_and_the_last_word_alone_does_not() -> None:
    tokens = FAMILY.draw(300, seed=1, step=0)
    found = [(row, place, last) for row, place, last in repeats(tokens) if place < 127]
    said = [int(tokens[row, place + 1]) == int(tokens[row, last + 1]) for row, place, last in found]
    assert sum(said) > 0.9 * len(said)
    after = Counter((int(tokens[row, place]), int(tokens[row, place + 1])) for row, place, _ in found)
    assert max(after.values()) < 0.002 * len(found)


def test_a_step_is_a_pure_function_of_its_arguments() -> None:
    tokens = FAMILY.draw(6, seed=2, step=5)
    assert torch.equal(tokens, FAMILY.draw(6, seed=2, step=5))
    assert torch.equal(tokens[:3], FAMILY.draw(3, seed=2, step=5))
    assert not torch.equal(tokens, FAMILY.draw(6, seed=2, step=6))
    assert not torch.equal(tokens, FAMILY.draw(6, seed=3, step=5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shortest": 0}, "shortest = 0, longest = 50; expected"),
        ({"shortest": 9, "longest": 8}, "shortest = 9, longest = 8; expected"),
        ({"length": 1}, "length = 1"),
        ({"n_words": 126}, "n_words = 126; expected at least 127 for length = 128"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, int], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        RepeatedSegments(**settings)
