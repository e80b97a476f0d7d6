"""How queries are answered: closed forms, and loops that agree."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from mesascope.probes.few_shot.behaviour import (
    Recovered,
    accuracy_among,
    chosen_probability,
    confidence,
    order_sensitivity,
    recovered,
    top_accuracy,
)
from torch import Tensor


def some_distributions(*shape: int, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(shape, generator=rng, dtype=torch.float64)).softmax(-1)


def test_the_right_label_wins_among_labels_or_among_all_tokens() -> None:
    p = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.3, 0.3, 0.1, 0.3], [0.25, 0.25, 0.25, 0.25]])
    labels = torch.tensor([2, 1])  # the token 3 or 0 is more probable, and no label
    assert accuracy_among(p, labels, torch.tensor([0, 0, 1, 1])).tolist() == [1, 0, 1, 0.5]
    assert top_accuracy(p, torch.tensor([3, 2, 1, 0])).tolist() == pytest.approx([1, 0, 1 / 3, 1 / 4])
    assert chosen_probability(p, labels).tolist() == pytest.approx([0.3, 0.3, 0.3, 0.25])
    assert confidence(p).tolist() == pytest.approx([0.4, 0.4, 0.3, 0.25])


def test_accuracies_by_loops() -> None:
    p, rng = some_distributions(3, 5, 12), np.random.default_rng(0)
    labels, right = torch.tensor([7, 2, 9]), torch.from_numpy(rng.integers(3, size=5))
    among, top = accuracy_among(p, labels, right), top_accuracy(p, labels[right])
    for way, query in product(range(3), range(5)):
        row, answer = p[way, query].numpy(), int(labels[right[query]])
        assert among[way, query] == (max(labels.tolist(), key=lambda token: row[token]) == answer)
        assert top[way, query] == (row.argmax() == answer)
        assert chosen_probability(p, labels)[way, query] == max(row[token] for token in labels.tolist())
        assert confidence(p)[way, query] == row.max()
    assert 0 < among.mean() < 1


def test_labels_in_another_order_change_nothing() -> None:
    p, right = some_distributions(6, 12), torch.tensor([0, 1, 2, 0, 1, 2])
    one = accuracy_among(p, torch.tensor([7, 2, 9]), right)
    assert one.equal(accuracy_among(p, torch.tensor([9, 7, 2]), (right + 1) % 3))


def test_recovered_by_a_loop() -> None:
    rng = np.random.default_rng(0)
    zs, ft, icl = (torch.from_numpy(rng.random((8, 20)) < share) for share in (0.5, 0.7, 0.3))
    rows = list(zip(*(x.flatten().tolist() for x in (zs, ft, icl)), strict=True))
    wrong = [row for row in rows if not row[0]]
    found = recovered(zs, ft, icl)
    assert found == Recovered(
        sum(row[1] and row[2] for row in wrong), sum(row[1] for row in wrong), sum(row[2] for row in wrong), len(wrong)
    )
    assert found.share == found.n / found.of
    assert found.null == found.null_n / found.null_of
    assert str(found) == f"{found.n}/{found.of}"


def test_perfect_learning_in_context_recovers_everything_whatever_fine_tuning_does() -> None:
    zs, always = torch.tensor([True, False, False, False]), torch.ones(4, dtype=torch.bool)
    for ft in (torch.tensor([True, True, False, False]), always):
        found = recovered(zs, ft, always)
        assert (found.share, found.null) == (1, 1)


def test_without_a_case_there_is_no_share() -> None:
    yes, no = torch.ones(3, dtype=torch.bool), torch.zeros(3, dtype=torch.bool)
    found = recovered(no, no, yes)
    assert (str(found), found.share, found.null) == ("0/0", None, 1)
    assert recovered(yes, yes, yes).null is None


def test_orders_by_loops() -> None:
    p = some_distributions(4, 5, 12)
    found = order_sensitivity(p)
    for query in range(5):
        pairs = [abs(p[i, query] - p[j, query]).sum().item() / 2 for i in range(4) for j in range(i)]
        assert found[query] == pytest.approx(np.mean(pairs))
    assert order_sensitivity(p[:1].expand(4, -1, -1)).abs().max() == 0
    apart = torch.eye(12, dtype=torch.float64)[:4, None]
    assert order_sensitivity(apart).tolist() == [1]
