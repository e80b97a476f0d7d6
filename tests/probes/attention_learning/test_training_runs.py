"""Which checkpoints are one training, and which can be compared number by number."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.probes.attention_learning.training_facts import (
    co_occurrence_is_told,
    has_frozen_beta,
    has_uniform_attention,
)
from mesascope.probes.attention_learning.training_runs import all_steps, estimate_of, not_comparable, runs_of
from mesascope.probes.measure import along, missing
from mesascope.probes.probe import Checkpoint

from .planted_copies import made_up, scalar


def of(*checkpoints: Checkpoint) -> list[tuple[int | None, tuple[int, ...]]]:
    return [(run.seed, run.steps) for run in runs_of(checkpoints)]


def test_a_run_for_each_seed_in_order_of_steps() -> None:
    made = [made_up(seed, step) for step, seed in ((0, 1), (0, 2), (20, 1), (20, 2))]
    for order in permutations(made):
        assert sorted(of(*order)) == [(1, (0, 20)), (2, (0, 20))]  # pyright: ignore[reportArgumentType]


def test_a_seed_may_lack_a_step() -> None:
    made = [made_up(0, 0), made_up(1, 0), made_up(0, 20), made_up(1, 40)]
    assert of(*made) == [(0, (0, 20)), (1, (0, 40))]
    runs = runs_of(made)
    assert all_steps(runs) == (0, 20, 40)
    assert runs[1].last is made[3]
    assert runs[0].at(20, np.array([0.1, 0.2])) == 0.2
    assert np.isnan(runs[1].at(20, np.array([0.1, 0.2])))


def test_checkpoints_without_seeds_are_one_training_if_they_have_one_name_and_different_steps() -> None:
    assert of(made_up(None, 20), made_up(None, 0)) == [(None, (0, 20))]
    assert of(made_up(None, 0), made_up(None, 20, name="other")) == [(None, (0,)), (None, (20,))]
    assert of(made_up(None, None, name="a"), made_up(None, None, name="b")) == [(None, (0,)), (None, (0,))]
    assert of(made_up(None, None), made_up(None, None), made_up(3, 20)) == [(None, (0,)), (None, (0,)), (3, (20,))]


def test_trainings_of_one_seed_with_different_names_are_different_runs() -> None:
    made = [made_up(0, step, name=name) for name in "ab" for step in (0, 20)]
    assert [steps for _, steps in of(*made)] == [(0,), (20,), (0,), (20,)]


def test_accuracies_along_a_run() -> None:
    (run,) = runs_of([made_up(0, 20, ktiw=0.6), made_up(0, 0, ktiw=0.1)])
    assert run.accuracies("ktiw").tolist() == [0.1, 0.6]
    assert np.isnan(run.accuracies("other")).all()


def test_a_number_is_one_without_axes() -> None:
    assert estimate_of(scalar(0.25)) == 0.25
    for none in (None, missing("share", "not applicable", "none"), along("pair", {"a": scalar(0.1)})):
        assert np.isnan(estimate_of(none))


# -- comparing arrays --------------------------------------------------------------------------------------------------


def test_what_can_be_compared() -> None:
    assert not_comparable([made_up(0, 0), made_up(0, 20)], "attention") is None


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (made_up(0, 20, map_=np.zeros((2, 20, 12))), "of different shapes: their attention is [20, 12] and [20, 20]"),
        (made_up(0, 20, map_=np.zeros((3, 20, 20))), "kept different numbers of sequences"),
        (made_up(0, 20, sha256="other"), "read different tokens"),
        (replace(made_up(0, 20), arrays={}), "has no attention"),
        (replace(made_up(0, 20), arrays={"push": np.zeros((2, 20, 20))}), "has no attention"),
    ],
)
def test_what_cannot_be_compared(other: Checkpoint, why: str) -> None:
    for pair in ([made_up(0, 0), other], [other, made_up(0, 0)]):
        assert why in str(not_comparable(pair, "attention"))


# -- what a training held ----------------------------------------------------------------------------------------------


def source(record: object, **facts: object) -> Source:
    return Source("a", layout="mesascope", record={"recipe": record}, facts=facts)


def test_facts_of_a_training() -> None:
    assert has_uniform_attention(source({}, uniform_attention=True))
    assert has_frozen_beta(source({"frozen_beta": True}))
    for other in (source({}), source(None), source({"frozen_beta": False}, uniform_attention=False), source("text")):
        assert not has_uniform_attention(other)
        assert not has_frozen_beta(other)


def test_whether_co_occurrence_is_told() -> None:
    assert co_occurrence_is_told(source({"tasks": {"n_words": 60, "n_tokens": 40}})) is True
    assert co_occurrence_is_told(source({"tasks": {"n_words": 40, "n_tokens": 40}})) is False
    for record in ({}, None, {"tasks": {"n_words": 40}}, {"tasks": "text"}):
        assert co_occurrence_is_told(source(record)) is None
