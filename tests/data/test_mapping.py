"""Inputs with labels: which labels a sequence can be continued by, and from what."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.mapping import LabelMapping

FAMILY = LabelMapping()
KINDS = ("in-context", "in-weights", "random")


def pairs(family: LabelMapping, n: int = 200, seed: int = 0, step: int = 0) -> list[list[tuple[int, int, int]]]:
    """(input, its class, its label) of every pair of every sequence."""
    found = []
    for row in family.draw(n, seed, step).tolist():
        assert row[0] == family.bos
        found.append([(x, x // family.n_members, y) for x, y in zip(row[1::2], row[2::2], strict=True)])
    return found


def labels_of_classes(sequence: list[tuple[int, int, int]]) -> dict[int, set[int]]:
    return {kind: {y for _, of, y in sequence if of == kind} for _, kind, _ in sequence}


@pytest.mark.parametrize("labels", KINDS)
def test_a_sequence_is_bos_and_inputs_with_labels(labels: Any) -> None:
    family = LabelMapping(labels, n_pairs=16)
    tokens = family.draw(50, seed=0, step=0)
    assert tokens.shape == (50, family.length) == (50, 33)
    assert family.d_vocab == family.bos + 1 == 81
    for sequence in pairs(family, 50):
        inputs = [x for x, _, _ in sequence]
        assert len(set(inputs)) == 16  # so all members of both classes
        assert len({kind for _, kind, _ in sequence}) == 2
        assert all(0 <= x < 64 for x in inputs)
        assert all(64 <= y < 80 for _, _, y in sequence)
        assert len({y for _, _, y in sequence}) == 2


def test_in_context_a_class_has_one_label_that_other_sequences_do_not_tell() -> None:
    told = Counter()
    for sequence in pairs(FAMILY, 2000):
        of = labels_of_classes(sequence)
        assert all(len(ys) == 1 for ys in of.values())
        assert len(set.union(*of.values())) == 2
        told.update((kind, min(ys)) for kind, ys in of.items())
    assert len(told) == 8 * 16
    expected = 2 * 2000 / (8 * 16)
    statistic = sum((count - expected) ** 2 / expected for count in told.values())
    assert statistic < 128 + 5 * (2 * 128) ** 0.5  # chi squared, over classes and labels


def test_in_weights_a_class_has_the_same_label_everywhere() -> None:
    family = LabelMapping("in-weights")
    told: dict[int, set[int]] = {}
    for seed, step in ((0, 0), (3, 9)):
        for sequence in pairs(family, 100, seed, step):
            for _, kind, y in sequence:
                told.setdefault(kind, set()).add(y)
    assert all(len(ys) == 1 for ys in told.values())
    assert len(set.union(*told.values())) == 8


def test_random_labels_have_nothing_to_do_with_classes() -> None:
    same = [
        (a[1] == b[1], a[2] == b[2])
        for sequence in pairs(LabelMapping("random"), 2000)
        for a, b in [(sequence[0], sequence[1])]
    ]
    for kind in (True, False):
        alike = [label for of, label in same if of == kind]
        assert sum(alike) / len(alike) == pytest.approx(0.5, abs=2 / len(alike) ** 0.5)


def test_classes_and_labels_and_places_are_drawn_evenly() -> None:
    family = replace(FAMILY, n_pairs=5)
    found = [pair for sequence in pairs(family, 4000) for pair in sequence]
    for part, size in ((0, 64), (1, 8), (2, 16)):
        counts = Counter(pair[part] for pair in found)
        assert len(counts) == size
        assert max(counts.values()) < 1.25 * len(found) / size
    first = Counter(sequence[0][0] for sequence in pairs(family, 4000))
    assert len(first) == 64
    assert max(first.values()) < 2 * 4000 / 64


def test_labels_alone_are_targets() -> None:
    tokens = FAMILY.draw(200, seed=0, step=0)
    assert set(range(81)) == set(tokens.flatten().tolist())
    expected = [[place > 0 and place % 2 == 0 for place in range(19)]] * 200
    assert FAMILY.targets(tokens).tolist() == expected


@pytest.mark.parametrize("shown", [2, 3, 8])
def test_other_numbers_of_classes(shown: int) -> None:
    family = LabelMapping(n_shown=shown, n_members=3, n_pairs=3 * shown)
    for sequence in pairs(family, 30):
        of = labels_of_classes(sequence)
        assert (len(of), len(set.union(*of.values()))) == (shown, shown)


def test_a_step_is_a_pure_function_of_its_arguments() -> None:
    tokens = FAMILY.draw(6, seed=2, step=5)
    assert torch.equal(tokens, FAMILY.draw(6, seed=2, step=5))
    assert not torch.equal(tokens, FAMILY.draw(6, seed=2, step=6))
    assert not torch.equal(tokens, FAMILY.draw(6, seed=3, step=5))


def test_a_record_names_its_mapping() -> None:
    family = LabelMapping("random", n_members=4, n_pairs=6)
    tasks = {"family": "label-mapping", **asdict(family)}
    assert LabelMapping.recorded({"recipe": {"tasks": tasks}}, family.d_vocab) == family
    assert LabelMapping.recorded({"recipe": {"tasks": tasks}}, 81) is None  # a model of other inputs
    assert LabelMapping.recorded({"recipe": {"tasks": {"family": "grammar"}}}, 81) is None
    assert LabelMapping.recorded({}, 81) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_shown": 1}, "n_shown = 1; expected a whole number of at least 2"),
        ({"n_shown": 9}, "n_shown = 9 with n_classes = 8, n_labels = 16; expected at most"),
        ({"n_labels": 2, "n_shown": 3}, "n_shown = 3 with n_classes = 8, n_labels = 2"),
        ({"labels": "in-weights", "n_labels": 7}, "n_classes = 8, n_labels = 7; expected a label for each class"),
        ({"n_pairs": 17}, "n_pairs = 17; expected at most n_shown x n_members = 16"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        LabelMapping(**settings)
