"""What a probe says of several checkpoints one by one reaches the report over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs.family import family_report, run_family
from mesascope.probes.measure import Measure
from mesascope.probes.probe import Checkpoint, OverTraining

Seen = list[tuple[Checkpoint, ...]]


def family(subjects: Any, probe: Any) -> tuple[list[Report], Report]:
    answer = run_family(subjects, probe)
    assert isinstance(answer, tuple)
    return answer


def one_number(value: float) -> Measure:
    number = np.array(value)
    return Measure(number, "label", (number, number), "seed", 3, no_nulls="made up")


@pytest.fixture
def seen(mean_answer: Any, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The checkpoints that the probe was asked about; it answers with something in every field."""
    asked: Seen = []

    def over_checkpoints(self: Any, checkpoints: tuple[Checkpoint, ...]) -> OverTraining:
        asked.append(checkpoints)
        return OverTraining(
            measures={"answer": one_number(7.0), "new": one_number(8.0)},
            sentence="All of them together.",
            badge="Together",
            limits=("Not one by one.",),
            arrays={"together": np.arange(4.0)},
        )

    monkeypatch.setattr(mean_answer, "over_checkpoints", over_checkpoints)
    return asked


def at_step(seeds: list[Any], step: int) -> list[Any]:
    return [subject for subject in seeds if subject.source.step == step]


def of_seed(seeds: list[Any], seed: int) -> list[Any]:
    return [subject for subject in seeds if subject.source.seed == seed]


def test_checkpoints_are_handed_over_in_order_of_step_and_seed(mean_answer: Any, seeds: Any, seen: Seen) -> None:
    members, _ = family(seeds[::-1], mean_answer())
    ((*found,),) = seen
    assert [(one.source.step, one.source.seed) for one in found] == [
        (step, seed) for step in (10, 20) for seed in range(3)
    ]
    for checkpoint, member in zip(found, members, strict=True):
        assert checkpoint.source.label == member.label
        assert checkpoint.measures["loss"].estimate == member.measures["loss"].estimate
        np.testing.assert_array_equal(checkpoint.arrays["answer"], member.arrays["answer"])
        assert checkpoint.recipes["evaluation"]["sha256"] == member.recipes["evaluation"]["sha256"]


@pytest.mark.parametrize("some", [lambda s: at_step(s, 20), lambda s: of_seed(s, 1), lambda s: s, lambda s: s[:1]])
def test_all_that_they_show_together_arrives(
    mean_answer: Any, seeds: Any, seen: Seen, some: Callable[[list[Any]], list[Any]]
) -> None:
    """One step of several seeds, several steps of one, both, and a single checkpoint."""
    _, report = family(some(seeds), mean_answer())
    assert len(seen) == 1
    assert report.measures["answer"].estimate == 7  # in place of that of single checkpoints
    assert report.measures["new"].estimate == 8
    assert report.claim.found.startswith("All of them together. ")
    assert "The mean answer is" in report.claim.found
    assert report.claim.badge == "Together"
    assert report.claim.limits == ("Not one by one.", "Anything else.")
    np.testing.assert_array_equal(report.arrays["together"], np.arange(4.0))
    assert "weights" in report.arrays


def test_the_claim_still_says_which_step_it_is_about(mean_answer: Any, seeds: Any, seen: Seen) -> None:
    _, steps = family(seeds, mean_answer())
    assert steps.claim.found.startswith("All of them together. At step 20: The mean answer is")
    _, last = family(at_step(seeds, 20), mean_answer())
    assert last.claim.found.startswith("All of them together. The mean answer is")


def test_steps_and_checkpoints_are_both_asked(
    mean_answer: Any, seeds: Any, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What checkpoints show goes before what steps show, where both have a word for it."""
    asked: list[tuple[int, ...]] = []

    def over_training(self: Any, by_step: Mapping[int, Mapping[str, Measure]]) -> OverTraining:
        asked.append(tuple(by_step))
        return OverTraining(
            {"new": one_number(1.0), "of_steps": one_number(2.0)}, "Step by step.", "Steps", ("Between steps.",),
            {"steps": np.zeros(2)},
        )  # fmt: skip

    monkeypatch.setattr(mean_answer, "over_training", over_training)
    _, report = family(seeds, mean_answer())
    assert asked == [(10, 20)]
    assert (report.measures["new"].estimate, report.measures["of_steps"].estimate) == (8, 2)
    assert report.claim.found.startswith("Step by step. All of them together. At step 20: ")
    assert report.claim.badge == "Together"
    assert report.claim.limits[:2] == ("Between steps.", "Not one by one.")
    assert {"steps", "together"} <= set(report.arrays)
    family(at_step(seeds, 20), mean_answer())
    assert len(asked) == 1  # one step has nothing along training
    monkeypatch.setattr(mean_answer, "over_checkpoints", lambda self, checkpoints: OverTraining())
    assert family(seeds, mean_answer())[1].claim.badge == "Steps"


def test_by_default_nothing_changes(mean_answer: Any, seeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, before = family(seeds, mean_answer())
    assert mean_answer().over_checkpoints(()) == OverTraining()
    assert before.claim == replace(before.claim, badge="", limits=("Anything else.",))
    assert set(before.arrays) == {"weights"}
    assert before.claim.found.startswith("At step 20: ")


def test_what_arrived_is_saved_and_read_again(mean_answer: Any, seeds: Any, seen: Seen, tmp_path: Any) -> None:
    members, report = family(seeds, mean_answer())
    again = Report.load(report.save(tmp_path / "a", figures="none"))
    assert again.claim == report.claim
    assert again.measures["new"].estimate == 8
    np.testing.assert_array_equal(again.arrays["together"], np.arange(4.0))
    ordered = sorted(seeds, key=lambda s: (s.source.step, s.source.seed))
    loaded = [Report.load(member.save(tmp_path / "members", figures="none")) for member in members]
    same = family_report(ordered, loaded, mean_answer(), 0, 2048, 0.0)
    assert same_files(tmp_path / "a" / report.folder, same.save(tmp_path / "b", figures="none"))
    assert [one.measures["loss"].estimate for one in seen[1]] == [one.measures["loss"].estimate for one in seen[0]]
