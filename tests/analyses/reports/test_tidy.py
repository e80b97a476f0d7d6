"""The tidy table: its columns, its statistics beside SciPy's, and its CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mesascope import analyses
from mesascope.analyses.reports.tidy import COLUMNS, compared_with_null, csv_text, short
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure
from scipy import stats

CONVENTIONS = (
    "model, revision, step, weights_sha256, probe, probe_version, metric, candidate, layer, head, position, data, seed,"
    " estimate, ci_low, ci_high, replicate, n, null, null_mean, null_sd, effect, p, p_adjusted, higher_is_better,"
    " status, message"
)


def test_columns_are_those_of_the_conventions(mean_answer: Any, make_subject: Any) -> None:
    table = run(make_subject(), mean_answer()).to_frame()
    assert tuple(table.columns) == COLUMNS == tuple(CONVENTIONS.split(", "))
    assert set(table.model) == {"built"}
    assert set(table.probe) == {"mean-answer"}
    assert table.estimate.dtype == np.float64
    assert str(table.layer.dtype) == "Int64"


def test_a_row_for_each_number_and_null(mean_answer: Any, make_subject: Any) -> None:
    table = run(make_subject(), mean_answer()).to_frame()
    rows = {metric: len(group) for metric, group in table.groupby("metric")}
    assert rows == {"answer": 2, "loss": 1, "by_scale": 2, "by_head": 4, "absent": 1}
    answer = table[table.metric == "answer"]
    assert list(answer.null) == ["normal", "wide"]
    assert answer.estimate.nunique() == 1
    assert list(table[table.metric == "by_scale"].data) == ["scale=0.5", "scale=1.0"]
    heads = table[table.metric == "by_head"]
    assert [*zip(heads.layer, heads["head"], strict=True)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert list(heads.estimate.isna()) == [False, True, False, False]
    absent = table[table.metric == "absent"].iloc[0]
    assert (absent.status, absent.message) == ("undefined", "nothing to divide by")


def test_steps_of_a_family_have_their_column(mean_answer: Any, seeds: Any) -> None:
    answer = run_family(seeds, mean_answer())
    assert isinstance(answer, tuple)
    table = answer[1].to_frame()
    loss = table[table.metric == "loss"]
    assert list(loss.step) == [10, 20]
    assert set(loss.replicate) == {"seed"}
    assert set(loss.n) == {3}
    assert table.weights_sha256.isna().all()


def null_measure(values: Any, samples: np.ndarray, better: bool | None) -> Measure:
    values = np.asarray(values, dtype=float)
    axes = ("head",) if values.ndim else ()
    return Measure(
        values, "u", (values, values), "task", 9, axes=axes, nulls={"null": samples}, higher_is_better=better,
        message="none" if np.isnan(values).any() else "",
    )  # fmt: skip


@pytest.mark.parametrize(("better", "expected"), [(True, 3 / 6), (False, 4 / 6), (None, 5 / 6)])
def test_p_counts_the_null_samples_at_least_as_extreme(better: bool | None, expected: float) -> None:
    samples = np.array([0.0, 1.0, 2.0, 3.0, 9.0])  # mean 3; the distances are 3, 2, 1, 0, 6
    found = compared_with_null(null_measure(2.5 if better is not None else 2.0, samples, better), samples)
    assert float(found["p"]) == pytest.approx(expected)
    assert float(found["null_mean"]) == 3.0
    assert float(found["null_sd"]) == pytest.approx(samples.std(ddof=1))
    assert float(found["effect"]) == pytest.approx(((2.5 if better is not None else 2.0) - 3) / samples.std(ddof=1))


def test_p_is_never_zero_and_samples_without_a_number_do_not_count() -> None:
    samples = np.array([0.0, np.nan, 0.1, np.inf])
    assert float(compared_with_null(null_measure(100.0, samples, True), samples)["p"]) == pytest.approx(1 / 3)
    nothing = np.array([np.nan])
    found = compared_with_null(null_measure(1.0, nothing, True), nothing)
    assert all(np.isnan(found[name]) for name in ("null_mean", "null_sd", "effect", "p", "p_adjusted"))


def test_null_models_that_explode_have_an_infinite_spread() -> None:
    nulls = {"untrained": np.array([1e200, 1.0, 1e300])}
    measure = Measure(
        np.array(1.0), "share", (np.array(0.5), np.array(2.0)), replicate="task", n=10, nulls=nulls,
        higher_is_better=False,
    )  # fmt: skip
    found = compared_with_null(measure, nulls["untrained"])
    assert (float(found["null_sd"]), float(found["effect"])) == (np.inf, 0.0)
    assert float(found["p"]) == 0.5


def test_p_adjusted_is_the_false_discovery_rate_over_the_cells() -> None:
    rng = np.random.default_rng(0)
    values = np.array([0.0, 3.0, 2.0, np.nan, 0.5])
    samples = rng.normal(size=(99, 5))
    found = compared_with_null(null_measure(values, samples, True), samples)
    defined = ~np.isnan(values)
    np.testing.assert_allclose(found["p_adjusted"][defined], stats.false_discovery_control(found["p"][defined]))
    assert np.isnan(found["p_adjusted"][~defined]).all()
    assert found["p_adjusted"][1] > found["p"][1]


def test_a_constant_null_has_no_effect_size() -> None:
    samples = np.ones(5)
    assert np.isnan(compared_with_null(null_measure(2.0, samples, None), samples)["effect"])


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-x", "@SUM", "\tx", "\rx"])
def test_text_is_no_formula_and_numbers_stay_numbers(text: str) -> None:
    table = pd.DataFrame({text: [text], "x": [-1.5], "n": [None]})
    header, row = csv.reader(io.StringIO(csv_text(table), newline=""))
    assert header[0] == row[0] == f"'{text}".replace("\r", " ")
    assert row[1:] == ["-1.5", ""]


def test_csv_is_what_the_csv_module_writes_of_every_kind_of_cell() -> None:
    table = pd.DataFrame({
        "mixed": pd.Series([True, 1, 1.0, "1", 'a "b", c', "two\nlines", None, float("nan"), ""], dtype=object),
        "whole": pd.Series([3, None, 3, 1, 0, -2, 7, 7, 10**12], dtype="Int64"),
        "number": [0.1, -0.0, 1e-300, 1e22, np.nan, np.inf, -np.inf, 1 / 3, 2.0],
    })  # fmt: skip
    expected = io.StringIO()
    writer = csv.writer(expected, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.itertuples(index=False):
        writer.writerow(["" if pd.isna(cell) else cell for cell in row])
    assert csv_text(table) == expected.getvalue()


def test_csv_holds_every_digit(mean_answer: Any, make_subject: Any) -> None:
    table = run(make_subject(), mean_answer()).to_frame()
    again = list(csv.DictReader(io.StringIO(csv_text(table))))
    for column in ("estimate", "ci_low", "p_adjusted"):
        np.testing.assert_array_equal([float(row[column] or "nan") for row in again], table[column])


def test_short_numbers() -> None:
    assert [short(x) for x in (0.99934, 1234567.0, 1e-9, float("nan"), None)] == [
        "0.9993",
        "1.235e+06",
        "1e-09",
        "–",
        "–",
    ]


def test_the_package_exports_the_report() -> None:
    assert analyses.Report.to_frame.__doc__
