"""Several checkpoints: a report each, and one over them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import provenance
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs import running
from mesascope.analyses.runs.family import family_report, finished_family, run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError
from mesascope.models.subject import NotApplicable
from mesascope.probes.measure import Measure
from scipy import stats


def family(subjects: Any, probe: Any, **keywords: Any) -> tuple[list[Report], Report]:
    answer = run_family(subjects, probe, **keywords)
    assert isinstance(answer, tuple)
    return answer


def test_seeds_are_the_replicates(mean_answer: Any, seeds: Any) -> None:
    last = [subject for subject in seeds if subject.source.step == 20]
    members, report = family(last, mean_answer())
    alone = [run(subject, mean_answer()) for subject in last]
    assert [member.key for member in members] == [one.key for one in alone]
    losses = np.array([one.measures["loss"].estimate for one in alone])
    found = report.measures["loss"]
    assert found.estimate == pytest.approx(losses.mean(), rel=1e-14)
    expected = stats.ttest_1samp(losses, 0).confidence_interval()
    np.testing.assert_allclose(found.interval, expected)
    np.testing.assert_array_equal(found.points, losses)
    assert (found.replicate, found.n) == ("seed", 3)
    assert len(report.measures["answer"].nulls["normal"]) == 60
    assert report.label == "built"
    assert report.members == tuple({"label": one.label, "key": one.key} for one in alone)
    assert len({report.key, *(one.key for one in alone)}) == 4
    assert report.claim.evidence == "3 replicates."
    assert set(report.recipes) == {"evaluation"}


def test_the_order_of_the_checkpoints_does_not_matter(mean_answer: Any, seeds: Any, tmp_path: Path) -> None:
    one = family(seeds, mean_answer())[1].save(tmp_path / "a", figures="png")
    other = family(seeds[::-1], mean_answer())[1].save(tmp_path / "b", figures="png")
    assert same_files(one, other)


def test_members_read_from_their_folders_give_the_same_report(mean_answer: Any, seeds: Any, tmp_path: Path) -> None:
    """An interrupted run goes on with the reports it had finished."""
    ordered = sorted(seeds, key=lambda s: (s.source.step, s.source.seed))
    members, report = family(ordered, mean_answer())
    loaded = [Report.load(member.save(tmp_path / "members", figures="none", keep_samples=20)) for member in members]
    again = family_report(ordered, loaded, mean_answer(), 0, 2048, 0.0)
    assert same_files(report.save(tmp_path / "a", figures="none"), again.save(tmp_path / "b", figures="none"))


def test_steps_are_an_axis(mean_answer: Any, seeds: Any) -> None:
    _, report = family(seeds, mean_answer())
    scale = report.measures["by_scale"]
    assert scale.axes == ("step", "scale")
    assert scale.coords == {"step": (10, 20), "scale": (0.5, 1.0)}
    assert scale.points is not None
    assert scale.points.shape == (3, 2, 2)
    _, last = family([subject for subject in seeds if subject.source.step == 20], mean_answer())
    np.testing.assert_array_equal(scale.values[1], last.measures["by_scale"].values)
    assert report.claim == replace(last.claim, found=f"At step 20: {last.claim.found}")
    assert report.measures["absent"].status == "undefined"


def test_one_seed_along_training_keeps_its_own_intervals(mean_answer: Any, seeds: Any) -> None:
    members, report = family([subject for subject in seeds if subject.source.seed == 1], mean_answer())
    loss = report.measures["loss"]
    assert (loss.replicate, loss.axes) == ("task", ("step",))
    expected = [member.measures["loss"].interval for member in members]
    np.testing.assert_array_equal(np.transpose(loss.interval), expected)
    np.testing.assert_array_equal(report.arrays["answer"], members[-1].arrays["answer"])


def test_small_arrays_are_kept_for_every_seed_and_values_a_task_are_not(mean_answer: Any, seeds: Any) -> None:
    _, report = family(seeds, mean_answer())
    assert {name: array.shape for name, array in report.arrays.items()} == {"weights": (3, 3, 3)}


def test_values_of_fewer_inputs_than_the_tasks_are_not_kept_either(
    mean_answer: Any, seeds: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As losses over the sequences of one period, where scores are over those of all."""
    measure = mean_answer.measure

    def with_few(self: Any, *given: Any, **more: Any) -> Any:
        found = measure(self, *given, **more)
        few = found.arrays["loss"][:5]
        mean = np.asarray(few.mean())
        of_few = Measure(mean, "u", (mean, mean), "task", 5, no_nulls="none")
        return replace(
            found, measures={**found.measures, "few": of_few}, arrays={**found.arrays, "few": few, "other": few}
        )

    monkeypatch.setattr(mean_answer, "measure", with_few)
    members, report = family(seeds, mean_answer())
    assert members[0].arrays["few"].shape == (5,)
    assert set(report.arrays) == {"weights", "other"}


def test_checkpoints_without_a_seed_are_called_so(mean_answer: Any, make_subject: Any) -> None:
    _, report = family([make_subject(1.0, name="a"), make_subject(2.0, name="b")], mean_answer())
    assert report.measures["loss"].replicate == "checkpoint"
    assert report.label == "a+b"


def test_measures_between_seeds_are_added(mean_answer: Any, seeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, ...]] = []

    def between(self: Any, subjects: Any, seed: int, batch_size: int) -> dict[str, Measure]:
        asked.append(tuple(subject.source.step for subject in subjects))
        value = np.array(float(len(subjects)))
        return {"cosine_other_seed": Measure(value, "cosine", (value, value), "pair", 3, no_nulls="a ceiling")}

    monkeypatch.setattr(mean_answer, "between", between)
    _, report = family(seeds, mean_answer())
    assert asked == [(10, 10, 10), (20, 20, 20)]
    np.testing.assert_array_equal(report.measures["cosine_other_seed"].values, [3, 3])


def test_the_same_weights_twice_are_not_two_replicates(mean_answer: Any, make_subject: Any) -> None:
    twice = [make_subject(1.0, seed=seed, revision=f"seed{seed}") for seed in (0, 1)]
    with pytest.raises(UsageError, match="built-seed0 and built-seed1 hold the same weights"):
        run_family(twice, mean_answer())
    with pytest.raises(UsageError, match="at least 1"):
        run_family([], mean_answer())


def test_a_probe_that_does_not_apply_says_to_which(mean_answer: Any, seeds: Any) -> None:
    answer = run_family(seeds, mean_answer(refuse="no labels"))
    assert answer == NotApplicable("built-seed0-step10: no labels")


def test_progress_is_of_the_whole(mean_answer: Any, seeds: Any) -> None:
    told: list[float] = []
    run_family(seeds, mean_answer(), progress=lambda stage, fraction: told.append(fraction))
    assert told == sorted(told)
    assert (told[0], told[-1], len(told)) == (0.0, 1.0, 12)


def test_a_finished_family_is_found_again(
    mean_answer: Any, seeds: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (running, provenance):
        monkeypatch.setattr(module, "source_state", lambda: {"commit": None, "dirty": None})
    _, report = family(seeds, mean_answer())
    assert finished_family(tmp_path, seeds, mean_answer()) is None
    folder = report.save(tmp_path, figures="none")
    assert finished_family(tmp_path, seeds[::-1], mean_answer()) == folder
    assert finished_family(tmp_path, seeds[1:], mean_answer()) is None


def test_the_code_behind_the_report_over_all_includes_the_aggregation(
    mean_answer: Any, seeds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a report made again with another aggregation would differ in its key and nobody could say why."""
    members, before = run_family(seeds, mean_answer())
    monkeypatch.setattr("mesascope.analyses.reports.code.family_code_sha256", lambda: "f" * 64)
    again, after = run_family(seeds, mean_answer())
    assert after.provenance["code_sha256"] != before.provenance["code_sha256"]
    assert [m.provenance["code_sha256"] for m in again] == [m.provenance["code_sha256"] for m in members]
