"""xi on planted runs, whose attention comes to resemble that of a finished one checkpoint by checkpoint."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.attention_learning.agreement import agreement
from mesascope.probes.attention_learning.similarity import (
    Run,
    Xi,
    accuracy_beyond,
    agreements_with,
    xi,
    xi_star,
)

PLACES = 20


def attending(right: int) -> np.ndarray:
    """Attention of two sequences: the first `right` targets to their own place, the others elsewhere."""
    attention = np.full((2, PLACES, PLACES), 0.01)
    for t in range(PLACES):
        attention[:, t, t if t < right else (t + 10) % PLACES] = 0.9
    return attention


REFERENCE = attending(PLACES)


def run_of(rights: list[int], accuracies: list[float]) -> Run:
    attention = np.stack([attending(right) for right in rights])
    return Run(agreements_with(REFERENCE, attention), np.array(accuracies))


def test_agreements_rise_with_the_targets_that_attend_alike() -> None:
    """A twentieth of 20 places is one: where the run attends most."""
    found = agreements_with(REFERENCE, np.stack([attending(right) for right in (0, 5, 20)]))
    assert found.tolist() == pytest.approx([0, 0.25, 1])
    np.testing.assert_allclose(found[1], agreement(REFERENCE, attending(5)).mean())


def test_the_reference_says_where_to_look() -> None:
    """u is the reference: a run that attends to all places alike agrees by chance, though all are its largest."""
    even = np.full((1, 2, PLACES, PLACES), 1 / PLACES)
    assert agreements_with(REFERENCE, even).tolist() == pytest.approx([1 / PLACES])
    first = np.where(np.arange(PLACES) == 0, 0.95, REFERENCE)
    assert agreements_with(first, REFERENCE[None])[0] == pytest.approx(1 / PLACES)
    one, two = np.zeros((2, 1, 1, 40))  # of 40 places the two largest count
    one[..., 3], two[..., 3], two[..., 7] = 1, 1, 2
    assert agreements_with(one, two[None])[0] == 1
    assert agreements_with(two, one[None])[0] == pytest.approx(1 / 39)
    half = np.where(np.arange(PLACES)[:, None] < 10, attending(PLACES)[0], np.nan)[None].repeat(2, axis=0)
    assert agreements_with(half, attending(5)[None]).tolist() == pytest.approx([0.5])  # rows that are NaN do not count


def test_the_first_checkpoint_beyond_counts() -> None:
    run = run_of([0, 5, 2, 15, 20], [0.0, 0.3, 0.35, 0.6, 0.9])
    assert run.agreements.tolist() == pytest.approx([0, 0.25, 0.1, 0.75, 1])
    assert accuracy_beyond(0.2, run) == 0.3
    assert accuracy_beyond(0.25 + 1e-9, run) == 0.6
    assert accuracy_beyond(float(run.agreements[1]), run) == 0.6  # as large is not larger
    assert accuracy_beyond(-1, run) == 0.0
    assert math.isnan(accuracy_beyond(1, run))
    assert math.isnan(accuracy_beyond(math.nan, run))
    assert accuracy_beyond(0.2, Run(np.array([math.nan, 0.5]), np.array([0.1, 0.2]))) == 0.2


def test_xi_is_the_mean_over_runs_that_reach_the_agreement() -> None:
    early, late = run_of([0, 10, 20], [0.1, 0.2, 0.9]), run_of([0, 2, 20], [0.1, 0.3, 0.8])
    never = run_of([0, 1, 2], [0.1, 0.15, 0.2])
    assert xi(0.4, [early, late, never]) == Xi(pytest.approx(0.5), 2, 3)
    assert xi(0.05, [early, late, never]) == Xi(pytest.approx((0.2 + 0.3 + 0.2) / 3), 3, 3)
    unreached = xi(0.4, [never])
    assert (math.isnan(unreached.value), unreached.reached, unreached.runs) == (True, 0, 1)
    assert math.isnan(xi(0.4, []).value)


def test_xi_star_is_the_best_accuracy() -> None:
    assert xi_star(np.array([0.1, 0.9, 0.7])) == 0.9
    assert xi_star(np.array([math.nan, 0.2])) == 0.2
    assert math.isnan(xi_star(np.array([math.nan])))
