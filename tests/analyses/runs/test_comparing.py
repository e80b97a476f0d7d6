"""Differences between reports, each interval beside an independent way to the same number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.comparing import compare
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError
from mesascope.probes.measure import Measure
from scipy import stats


def row(table: Any, metric: str) -> Any:
    return table[table.metric == metric].iloc[0]


def test_the_same_tasks_are_compared_task_by_task(mean_answer: Any, make_subject: Any) -> None:
    a, b = (run(make_subject(rate, name), mean_answer(n_tasks=400)) for rate, name in ((1.0, "a"), (2.0, "b")))
    found = row(compare([a, b]), "loss")
    assert found.method == "paired bootstrap over 400 tasks"
    assert (found.report_a, found.report_b) == ("a", "b")
    assert found.difference == found.estimate_b - found.estimate_a
    paired = stats.ttest_rel(b.arrays["loss"], a.arrays["loss"]).confidence_interval()
    np.testing.assert_allclose((found.ci_low, found.ci_high), paired, rtol=0.15)
    # pairing tells the two apart although their own intervals overlap
    assert found.ci_high < 0
    assert compare([a, b]).equals(compare([a, b]))


def test_heads_are_compared_sequence_by_sequence(mean_answer: Any, make_subject: Any, rng: np.random.Generator) -> None:
    scores = rng.normal(size=(2, 64, 2, 3)) + np.arange(3)
    scores[1] += 0.2 * scores[0]
    reports = []
    for name, values in zip("ab", scores, strict=True):
        made = run(make_subject(1.0, name), mean_answer())
        mean, wide = values.mean(axis=0), np.full((2, 3), 9.0)
        score = Measure(mean, "u", (mean - wide, mean + wide), "sequence", 64, axes=("layer", "head"), no_nulls="none")
        reports.append(
            replace(made, measures={"score": score, "loss": made.measures["loss"]}, arrays={"score": values})
        )
    table = compare(reports)
    table = table[table.metric == "score"]
    assert set(table.method) == {"paired bootstrap over 64 sequences"}
    for cell in table.itertuples():
        a, b = scores[:, :, int(cell.layer), int(cell.head)]
        np.testing.assert_allclose(cell.difference, (b - a).mean(), rtol=1e-12)
        np.testing.assert_allclose((cell.ci_low, cell.ci_high), stats.ttest_rel(b, a).confidence_interval(), atol=0.05)


@pytest.mark.parametrize("change", ["other tasks", "a sample"])
def test_unpaired_reports_are_compared_by_their_intervals(
    mean_answer: Any, make_subject: Any, tmp_path: Any, change: str
) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(), seed=1 if change == "other tasks" else 0)
    if change == "a sample":
        b = Report.load(b.save(tmp_path, figures="none", keep_samples=10))
    found = row(compare([a, b]), "answer")
    assert found.method == "both intervals combined, as if independent"
    half = np.hypot(0.1, 0.1)
    np.testing.assert_allclose((found.ci_low, found.ci_high), (found.difference - half, found.difference + half))


def test_seeds_are_compared_by_welch(mean_answer: Any, seeds: Any, make_subject: Any) -> None:
    steps = [[subject for subject in seeds if subject.source.step == step] for step in (10, 20)]
    others = [make_subject(3 + seed / 3, seed=seed, step=20, revision=f"s{seed}") for seed in range(2)]
    reports = []
    for subjects in (steps[0], others):
        answer = run_family(subjects, mean_answer())
        assert isinstance(answer, tuple)
        reports.append(answer[1])
    found = row(compare(reports), "loss")
    points = [report.measures["loss"].points for report in reports]
    expected = stats.ttest_ind(points[1], points[0], equal_var=False).confidence_interval()
    np.testing.assert_allclose((found.ci_low, found.ci_high), expected)
    assert found.method == "Welch t over 3 and 2 seeds"
    assert found.report_a == f"built ({reports[0].key})"  # two of one label are told apart


def test_cells_of_axes_have_rows_and_what_has_no_number_no_interval(mean_answer: Any, make_subject: Any) -> None:
    a, b, c = (run(make_subject(rate, f"m{rate}"), mean_answer()) for rate in (1.0, 2.0, 3.0))
    table = compare([a, b, c])
    assert list(table[table.metric == "by_scale"].data) == ["scale=0.5", "scale=1.0"] * 2
    assert list(table.report_b.unique()) == ["m2.0", "m3.0"]
    assert set(table.report_a) == {"m1.0"}
    absent = row(table, "absent")
    assert (absent.method, absent.message) == ("none", "nothing to divide by")


def test_other_cells_are_left_out_and_nothing_in_common_is_an_error(mean_answer: Any, make_subject: Any) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(scales=(1.0, 3.0)))
    assert "by_scale" not in set(compare([a, b]).metric)
    one = np.array(1.0)
    c = replace(b, measures={"else": Measure(one, "u", (one, one), "none", 0, no_nulls="none")})
    with pytest.raises(UsageError, match="no measure in common"):
        compare([a, c])
    with pytest.raises(UsageError, match="at least 2"):
        compare([a])
