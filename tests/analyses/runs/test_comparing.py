"""Differences between reports, each interval beside an independent way to the same number."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope import analyses, models, probes
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.comparing import changed_heads, compare, not_compared, p_of_interval
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


def test_means_over_fewer_inputs_are_paired_beside_those_over_all(
    mean_answer: Any, make_subject: Any, rng: np.random.Generator
) -> None:
    """As losses over the sequences of one period, and scores over those of all periods."""
    reports = []
    scores, losses = rng.normal(size=(2, 48, 2)), rng.normal(size=(2, 16))
    for name, score, loss in zip("ab", scores, losses, strict=True):
        wide, one = np.full(2, 9.0), np.asarray(9.0)
        made = {
            "score": Measure(score.mean(0), "u", (-wide, wide), "sequence", 48, axes=("head",), no_nulls="none"),
            "loss": Measure(np.asarray(loss.mean()), "u", (one, one), "sequence", 16, no_nulls="none"),
        }
        arrays = {"score": score, "loss": loss}
        reports.append(replace(run(make_subject(1.0, name), mean_answer()), measures=made, arrays=arrays))
    table = compare(reports)
    assert list(table.method) == [f"paired bootstrap over {n} sequences" for n in (48, 48, 16)]
    for found, (a, b) in zip(
        table.itertuples(), [*zip(scores[0].T, scores[1].T, strict=True), tuple(losses)], strict=True
    ):
        expected = stats.ttest_rel(b, a).confidence_interval()
        np.testing.assert_allclose((found.ci_low, found.ci_high), expected, atol=0.1)


def test_two_steps_of_training_are_compared_on_the_sequences_that_both_read() -> None:
    """Of the shipped two-layer model, before and after its induction heads form."""
    probe = probes.InductionHeads(periods=(20, 15, 10), n_sequences=8, ablate="nothing")
    a, b = (analyses.run(models.load("induction-2layer", revision=f"step{step}"), probe) for step in (1000, 4000))
    assert isinstance(a, Report)
    assert isinstance(b, Report)
    table = compare([a, b])
    for metric, n in (("excess", 24), ("prefix_matching_score", 24), ("loss_second_repeat", 8), ("order_gain", 8)):
        found = table[table.metric == metric]
        assert set(found.method) == {f"paired bootstrap over {n} sequences"}, metric
        differences = b.arrays[metric] - a.arrays[metric]
        np.testing.assert_allclose(found.difference, differences.mean(axis=0).ravel(), atol=1e-12)
        half = 2.0 * differences.std(axis=0, ddof=1).ravel() / np.sqrt(n)  # about that of a t-interval
        np.testing.assert_allclose((found.ci_high - found.ci_low) / 2, half, rtol=0.35, atol=1e-6)
    changed = {head.head: (head.verdict_a, head.verdict_b) for head in changed_heads(a, b)}
    assert {name for name, (_, verdict) in changed.items() if verdict == "induction"} == {"L1H0", "L1H2", "L1H3"}
    assert all(before != "induction" for before, _ in changed.values())


def test_the_p_of_an_interval_is_that_of_the_t_test_it_came_from(rng: np.random.Generator) -> None:
    for shift in (0.0, 0.3, -1.0, 2.0):
        x = rng.normal(size=12) + shift
        test = stats.ttest_1samp(x, 0.0)
        low, high = test.confidence_interval()
        found = p_of_interval(np.asarray(x.mean()), np.asarray(low), np.asarray(high), 11)
        np.testing.assert_allclose(found, test.pvalue, rtol=1e-9)


def test_p_without_an_interval_a_width_or_a_difference() -> None:
    nan = np.nan
    difference = np.array([1.0, 1.0, 0.0, 0.0, nan])
    low, high = np.array([nan, 1.0, 0.0, -1.0, nan]), np.array([nan, 1.0, 0.0, 1.0, nan])
    np.testing.assert_array_equal(p_of_interval(difference, low, high, 5), [nan, 0.0, 1.0, 1.0, nan])


def test_p_is_below_5_percent_where_the_interval_excludes_0(rng: np.random.Generator) -> None:
    difference = rng.normal(size=500)
    low, high = difference - rng.exponential(size=500), difference + rng.exponential(size=500)
    excludes = (low > 0) | (high < 0)
    assert 50 < excludes.sum() < 450
    for freedom in (1, 7, 1000):
        np.testing.assert_array_equal(p_of_interval(difference, low, high, freedom) < 0.05, excludes)


def test_p_is_adjusted_over_all_numbers_of_a_pair(
    mean_answer: Any, make_subject: Any, rng: np.random.Generator
) -> None:
    """Of many cells of which none differs, intervals exclude 0 in one of 20, and adjusted p values hardly ever."""
    reports = []
    for name in "ab":
        values = rng.normal(size=(64, 400))
        half = np.full(400, 2.0) / 8
        mean = values.mean(axis=0)
        many = Measure(mean, "u", (mean - half, mean + half), "sequence", 64, axes=("cell",), no_nulls="none")
        made = run(make_subject(1.0, name), mean_answer())
        reports.append(replace(made, measures={"many": many}, arrays={"many": values}))
    table = compare(reports)
    excludes = (table.ci_low > 0) | (table.ci_high < 0)
    assert 5 < excludes.sum() < 45
    assert (table.p_adjusted <= 0.05).sum() < 3
    by_hand = np.sort(table.p)[::-1] * 400 / np.arange(400, 0, -1)  # Benjamini and Hochberg's step up
    np.testing.assert_allclose(np.sort(table.p_adjusted)[::-1], np.minimum.accumulate(np.minimum(by_hand, 1)))


def test_numbers_of_a_head_have_its_verdicts(mean_answer: Any, make_subject: Any) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(offset=2.0))
    assert (a.heads["L0H0"], b.heads["L0H0"]) == ("none", "loud")
    table = compare([a, b])
    of_heads = table[table["head"].notna()]
    assert list(zip(of_heads.layer, of_heads["head"], of_heads.verdict_a, of_heads.verdict_b, strict=True)) == [
        (0, 0, "none", "loud"), (0, 1, "none", "none"), (1, 0, "none", "none"), (1, 1, "loud", "loud"),
    ]  # fmt: skip
    assert table[table["head"].isna()].verdict_a.isna().all()


def test_heads_with_another_verdict_come_with_a_number_of_both(mean_answer: Any, make_subject: Any) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(offset=2.0))
    (head,) = changed_heads(a, b)
    assert (head.head, head.verdict_a, head.verdict_b, head.of) == ("L0H0", "none", "loud", "By head")
    for found, report in ((head.value_a, a), (head.value_b, b)):
        assert float(found.split()[0]) == pytest.approx(report.measures["by_head"].values[0, 0], abs=0.01)
        assert found.endswith("[0.00, 1.00]")
    assert changed_heads(a, a) == []
    assert changed_heads(a, replace(b, heads={})) == []
    assert changed_heads(a, replace(b, probe="another")) == []


def test_heads_that_both_lack_a_number_are_named_without_one(mean_answer: Any, make_subject: Any) -> None:
    a, b = (run(make_subject(1.0, name), mean_answer()) for name in "ab")
    b = replace(b, heads={**b.heads, "L0H1": "loud"})  # whose number is NaN
    (head,) = changed_heads(a, b)
    assert (head.head, head.of, head.value_a, head.value_b) == ("L0H1", "", "", "")


def test_what_is_not_compared_is_named(mean_answer: Any, make_subject: Any) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(scales=(1.0, 3.0)))
    measures = {name: measure for name, measure in b.measures.items() if name != "loss"}
    b = replace(b, measures=measures | {"more": a.measures["loss"]})
    assert not_compared(a, b) == {"only in a": ["loss"], "only in b": ["more"], "other axes or labels": ["by_scale"]}


def test_other_cells_are_left_out_and_nothing_in_common_is_an_error(mean_answer: Any, make_subject: Any) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(scales=(1.0, 3.0)))
    assert "by_scale" not in set(compare([a, b]).metric)
    one = np.array(1.0)
    c = replace(b, measures={"else": Measure(one, "u", (one, one), "none", 0, no_nulls="none")})
    with pytest.raises(UsageError, match="no measure has the same axes and labels in both"):
        compare([a, c])
    with pytest.raises(UsageError, match="no measure in common; compare reports of the same probe"):
        compare([a, replace(c, probe="another")])
    with pytest.raises(UsageError, match="at least 2"):
        compare([a])
