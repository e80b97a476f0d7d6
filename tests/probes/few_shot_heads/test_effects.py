"""What replaces a head's output: every label with the same share, and the query's own prompt left out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.few_shot_heads.effects import mean_output, mean_weights, task_means
from mesascope.probes.few_shot_heads.rows import Rows

from .test_rows import MIXED


def test_every_label_has_the_same_share_and_the_query_itself_none() -> None:
    right = (0, 0, 0, 1, 1, 2)
    weights = mean_weights(right, classes=True).numpy()
    labels = np.array(right)
    for query in range(6):
        shares = [weights[query, labels == label].sum() for label in range(3)]
        np.testing.assert_allclose(shares, [1 / 3] * 3)
        assert weights[query, query] == (1 / 3 if query == 5 else 0)  # label 2 has no other query
    np.testing.assert_allclose(weights[0], [0, 1 / 6, 1 / 6, 1 / 6, 1 / 6, 1 / 3])


def test_where_labels_are_no_classes_all_other_queries_count_alike() -> None:
    weights = mean_weights((0, 1, 2, 3), classes=False).numpy()
    np.testing.assert_allclose(weights, (1 - np.eye(4)) / 3)


@pytest.mark.parametrize("classes", [True, False])
def test_a_single_query_is_its_own_mean(classes: bool) -> None:
    assert mean_weights((1,), classes).tolist() == [[1.0]]


def test_an_output_that_holds_the_label_alone_has_a_mean_that_says_nothing_of_it() -> None:
    """Whatever the query's label is, its mean is the same."""
    right = (0, 1, 0, 1, 0, 1)
    own = torch.eye(2, dtype=torch.float64)[list(right)]
    np.testing.assert_allclose(mean_weights(right, classes=True) @ own, np.full((6, 2), 0.5))


def test_means_stay_within_a_task() -> None:
    rng = np.random.default_rng(1)
    z = torch.from_numpy(rng.normal(size=(5, 2, 3, 4)))
    found = task_means(z, MIXED, (True, False)).numpy()
    values = z.numpy()
    np.testing.assert_allclose(found[0], (values[0] + (values[1] + values[2]) / 2) / 2)
    np.testing.assert_allclose(found[1], (values[0] + values[2]) / 2)
    np.testing.assert_allclose(found[3], values[4])
    np.testing.assert_allclose(found[4], values[3])


def test_an_ablated_head_gets_the_mean_over_tasks_of_the_mean_over_queries() -> None:
    rng = np.random.default_rng(2)
    z = rng.normal(size=(5, 2, 3, 4))
    expected = (z[:3].mean(axis=0) + z[3:].mean(axis=0)) / 2
    np.testing.assert_allclose(mean_output(torch.from_numpy(z), MIXED), expected)


def test_half_precision_stays_what_it_is() -> None:
    z = torch.randn(5, 1, 1, 2, dtype=torch.bfloat16)
    assert task_means(z, MIXED, (True, True)).dtype == torch.bfloat16
    assert mean_output(z, MIXED).dtype == torch.bfloat16
    assert isinstance(MIXED, Rows)
