"""Rivals: each answers by its rule and nothing else."""

from __future__ import annotations

import pytest
import torch
from mesascope.probes.few_shot.behaviour import accuracy_among
from mesascope.probes.few_shot.rivals import copied, label_frequencies, last, nearest

ANSWERS = torch.tensor([4, 5, 4, 4])


def test_label_frequencies_are_the_same_for_all_queries() -> None:
    found = label_frequencies(ANSWERS, 3, 8)
    assert found.tolist() == [[0, 0, 0, 0, 0.75, 0.25, 0, 0]] * 3
    assert label_frequencies(ANSWERS.flip(0), 3, 8).equal(found)
    balanced = label_frequencies(torch.tensor([4, 5]), 2, 8)
    assert accuracy_among(balanced, torch.tensor([4, 5]), torch.tensor([0, 1])).tolist() == [0.5, 0.5]


def test_the_last_demonstration_alone_counts() -> None:
    assert last(torch.tensor([4, 4, 4, 5]), 2, 8).argmax(dim=-1).tolist() == [5, 5]
    assert last(ANSWERS, 2, 8).sum(dim=-1).tolist() == [1, 1]


def test_the_nearest_demonstration_by_a_loop() -> None:
    rng = torch.Generator().manual_seed(0)
    queries, demos = (torch.randn(n, 6, generator=rng) for n in (9, 4))
    answers = torch.tensor([7, 3, 1, 2])
    found = nearest(queries, demos, answers, 8)
    for query in range(9):
        cosines = [float(queries[query] @ demo / (queries[query].norm() * demo.norm())) for demo in demos]
        assert found[query].argmax() == answers[max(range(4), key=cosines.__getitem__)]
        assert found[query].sum() == 1
    assert len(set(found.argmax(dim=-1).tolist())) > 1
    assert nearest(3 * queries, demos * torch.tensor([[1.0], [5], [2], [9]]), answers, 8).equal(found)


def test_demonstrations_that_are_as_near_share() -> None:
    same = torch.ones(3, 2)
    assert nearest(same[:1], same, torch.tensor([1, 2, 2]), 4)[0].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 0])


@pytest.mark.parametrize(
    ("prompt", "shares"),
    [
        ((0, 1, 5, 2, 6, 1), {5: 1}),  # recall: the token was there
        ((0, 1, 5, 2, 6, 3), dict.fromkeys(range(9), 1 / 9)),  # it was not: nothing to copy
        ((0, 1, 5, 1, 6, 1), {5: 0.5, 6: 0.5}),
        ((0, 3, 1, 5, 4, 1, 6, 3, 1), {5: 1}),  # the longer run decides
        ((1, 1, 1), {1: 1}),
        ((7,), dict.fromkeys(range(9), 1 / 9)),
    ],
)
def test_copying_follows_the_longest_run(prompt: tuple[int, ...], shares: dict[int, float]) -> None:
    (found,) = copied([prompt], 9)
    assert found.tolist() == pytest.approx([shares.get(token, 0) for token in range(9)])


@pytest.mark.parametrize("length", [5, 12, 30])
def test_copying_by_brute_force(length: int) -> None:
    prompt = torch.randint(3, (length,), generator=torch.Generator().manual_seed(length)).tolist()
    (found,) = copied([prompt], 3)
    runs = {
        size: [i for i in range(size, length) if prompt[i - size : i] == prompt[-size:]] for size in range(1, length)
    }
    followed = [prompt[i] for i in runs[max(size for size, ends in runs.items() if ends)]]
    assert found.tolist() == pytest.approx([followed.count(token) / len(followed) for token in range(3)])
