"""One row a head: every number is the one that the report holds for that head, and what there is none of is said."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import heads, parts
from mesascope.analyses.reports.heads import MOST_COLUMNS, head_table
from mesascope.analyses.reports.latex import tables
from mesascope.analyses.reports.record import MOST_HEADS
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError
from mesascope.probes.head_columns import HeadColumn
from mesascope.probes.measure import Measure, along

NULL = "shuffled"


def per_head(values: Any, **fields: Any) -> Measure:
    values = np.asarray(values, dtype=float)
    given = {"no_nulls": "" if fields.get("nulls") else "none"} | fields
    return Measure(values, "score", (values - 0.1, values + 0.1), "task", 9, ("layer", "head"), message="m", **given)


@pytest.fixture
def answered(mean_answer: Any, make_subject: Any) -> Report:
    return run(make_subject(), mean_answer())


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a probe declare these columns."""

    def declare(*columns: HeadColumn) -> None:
        monkeypatch.setattr(heads, "part", lambda probe, name: SimpleNamespace(COLUMNS=columns))

    return declare


# -- the frame ---------------------------------------------------------------------------------------------------------


def test_a_row_holds_what_the_report_has_of_that_head(induction_report: Report) -> None:
    frame = induction_report.heads_frame()
    saved = induction_report.record()
    assert list(frame.index) == [f"L{layer}H{head}" for layer in range(2) for head in range(4)]
    assert dict(frame["verdict"]) == saved["heads"]
    excess, ablation = (saved["measures"][name] for name in ("excess", "ablation"))
    null = excess["nulls"]["W_Q and W_K permuted"]
    for name, layer, head in zip(frame.index, frame["layer"], frame["head"], strict=True):
        row = frame.loc[name]
        assert row["excess"] == excess["values"][layer][head]
        assert row["excess_low"] == excess["interval"]["low"][layer][head]
        assert row["excess_high"] == excess["interval"]["high"][layer][head]
        assert row["excess_null"] == pytest.approx(sum(draw[layer][head] for draw in null) / len(null))
        for place, how in enumerate(ablation["coords"]["replacement"]):
            assert row[f"ablation_{how}"] == ablation["values"][place][layer][head]
    assert frame["strength"].notna().sum() == (frame["verdict"] == "induction").sum() == 3
    assert {"copying", "k_composition", "p_adjusted"} <= set(frame.columns)


def test_without_columns_every_measure_of_heads_is_one(answered: Report) -> None:
    frame = answered.heads_frame()
    assert [name for name in frame if name.startswith("by_")] == [
        f"by_head{part}" for part in ("", "_low", "_high", "_null", "_p")
    ]
    assert np.isnan(frame.loc["L0H1", "by_head"])
    assert dict(frame["verdict"]) == {"L0H0": "none", "L0H1": "none", "L1H0": "none", "L1H1": "loud"}
    assert (frame.loc["L1H1", "layer"], frame.loc["L1H1", "head"]) == (1, 1)


def test_p_counts_the_samples_of_the_null_that_is_named(answered: Report, declared: Any) -> None:
    rng = np.random.default_rng(0)
    values, samples = rng.normal(size=(2, 3)), rng.normal(size=(19, 2, 3))
    samples[4, 0, 0] = np.nan  # a sample without a number is none
    measure = per_head(values, nulls={"even": np.zeros((1, 2, 3)), NULL: samples}, higher_is_better=True)
    declared(HeadColumn("x", "score", null=NULL), HeadColumn("y", "score"))
    frame = replace(answered, measures={"score": measure}, heads={}).heads_frame()
    for name, layer, head in (("L0H0", 0, 0), ("L1H2", 1, 2)):
        draws = [draw for draw in samples[:, layer, head] if not math.isnan(draw)]
        as_far = sum(draw >= values[layer, head] for draw in draws)
        assert frame.loc[name, "x_p"] == pytest.approx((1 + as_far) / (1 + len(draws)))
        assert frame.loc[name, "x_null"] == pytest.approx(sum(draws) / len(draws))
    assert (frame["y_null"] == 0).all()
    assert (frame["verdict"] == "").all()


def test_a_column_selects_labels_and_one_that_is_missing_is_empty(answered: Report, declared: Any) -> None:
    both = along("how", {"zero": per_head([[1.0, 2.0]]), "mean": per_head([[3.0, 4.0]])})
    columns = [HeadColumn(how, "rise", {"how": how}) for how in ("mean", "other")]
    declared(*columns, HeadColumn("gone", "gone"), HeadColumn("single", "answer"))
    frame = replace(answered, measures={"rise": both, "answer": answered.measures["answer"]}).heads_frame()
    assert list(frame.loc[["L0H0", "L0H1"], "mean"]) == [3.0, 4.0]
    assert frame[["other", "gone", "single"]].isna().all(axis=None)


def test_of_several_steps_it_is_the_last(mean_answer: Any, seeds: Any) -> None:
    members, over_steps = run_family(seeds[:2], mean_answer())
    assert over_steps.measures["by_head"].axes == ("step", "layer", "head")
    last = {member.sources[0]["step"]: member for member in members}[20]
    assert over_steps.heads_frame().loc["L0H0", "by_head"] == last.measures["by_head"].values[0, 0]


def test_measures_with_other_labels_and_verdicts_alone_have_rows_too(answered: Report) -> None:
    late = per_head([[7.0, 8.0]], coords={"layer": (5,)})
    called = {"L9H1": "loud", "my head": "none"}
    frame = replace(answered, measures={"late": late}, heads=called).heads_frame()
    assert list(frame.index) == ["L5H0", "L5H1", "L9H1", "my head"]
    assert frame.loc["L9H1", "layer"] == 9
    assert frame.loc["my head"].isna().sum() == len(frame.columns) - 1  # all but the verdict


def test_a_report_without_heads_says_what_it_has(answered: Report) -> None:
    without = replace(answered, measures={n: m for n, m in answered.measures.items() if n != "by_head"}, heads={})
    with pytest.raises(UsageError) as refusal:
        without.heads_frame()
    text = str(refusal.value)
    assert "mean-answer on built has no number for each head" in text
    assert "2 single numbers, and measures along scale: see report.to_frame()" in text
    assert "\n" not in text
    assert "heads" not in tables(without)


def test_over_seeds_the_reason_is_that_heads_do_not_correspond(mean_answer: Any, seeds: Any) -> None:
    _, over_seeds = run_family([seeds[1], seeds[3]], mean_answer())
    with pytest.raises(UsageError, match="heads of different seeds do not correspond: no mean over them"):
        over_seeds.heads_frame()


# -- order and words ---------------------------------------------------------------------------------------------------


def test_heads_with_a_verdict_come_first_and_the_strongest_of_them(answered: Report, declared: Any) -> None:
    strength = per_head([[0.5, np.nan, 3.0], [0.9, 0.1, np.nan]])
    verdicts = {"L0H0": "loud", "L0H1": "odd", "L0H2": "none", "L1H0": "loud", "L1H1": "odd", "L1H2": "none"}
    report = replace(answered, measures={"strength": strength}, heads=verdicts)
    declared(HeadColumn("strength", "strength"))
    table = head_table(report)
    assert table is not None
    assert [table.names[row] for row in table.by_rank] == ["L1H0", "L0H0", "L1H1", "L0H1", "L0H2", "L1H2"]
    assert [table.names[row] for row in table.called] == ["L1H0", "L0H0", "L1H1", "L0H1"]
    fewer = head_table(replace(report, heads={**verdicts, "L0H2": "odd"}))
    assert fewer is not None
    assert list(fewer.counts().items()) == [("loud", 2), ("odd", 3), ("none", 1)]  # who has no verdict comes last


def test_tables_for_people_hold_the_first_columns(answered: Report) -> None:
    measures = {f"score_{n}": per_head([[1.0, 2.0]]) for n in range(MOST_COLUMNS + 3)}
    report = replace(answered, measures=measures, heads={})
    table = head_table(report)
    assert table is not None
    assert [column.of.name for column in table.shown] == list(measures)[:MOST_COLUMNS]
    assert set(measures) <= set(report.heads_frame().columns)


def test_without_declared_columns_heads_stand_by_layer(answered: Report) -> None:
    table = head_table(replace(answered, measures={"a": per_head([[1.0, 2.0], [3.0, 4.0]])}, heads={}))
    assert table is not None
    assert table.by_rank == table.called == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.9857, -1e-16, np.nan], ["0.986", "0.000", "–"]),
        ([4.862, 0.0771, -1.5], ["4.86", "0.08", "-1.50"]),
        ([1.0, 0.0016, 0.25], ["1.000", "0.002", "0.250"]),
        ([1234.5, 3.0, -7.0], ["1234", "3", "-7"]),
        ([2e-5, 0.0, 1e-5], ["0.000020", "0.000000", "0.000010"]),
    ],
)
def test_numbers_of_a_column_have_the_decimals_of_the_largest(
    answered: Report, values: list[float], texts: list[str]
) -> None:
    table = head_table(replace(answered, measures={"a": per_head([values])}, heads={}))
    assert table is not None
    assert [table.columns[0].estimate(row) for row in range(3)] == texts


def test_a_p_value_that_rounds_to_nothing_is_below_a_limit(answered: Report) -> None:
    nothing = np.full((1, 3), np.nan)
    p = replace(per_head([[1.0, 1e-4, 0.0]]), interval=(nothing, nothing))
    table = head_table(replace(answered, measures={"p": p}, heads={}))
    assert table is not None
    assert [table.columns[0].estimate(row) for row in range(3)] == ["1.000", "<0.001", "0.000"]
    assert table.columns[0].interval(0) == ""


# -- where the columns come from ---------------------------------------------------------------------------------------


def test_columns_are_found_in_the_probes_package_or_by_an_entry_point(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert [column.name for column in parts.part("induction-heads", "heads").COLUMNS][:2] == ["strength", "excess"]
    assert parts.part("gd-alignment", "heads") is None
    assert parts.part("nobody's", "heads") is None
    info = tmp_path / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[mesascope.heads]\nloud-heads = loud_columns\n")
    (tmp_path / "loud_columns.py").write_text("COLUMNS = ('one',)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert parts.part("loud-heads", "heads").COLUMNS == ("one",)


# -- the table for a paper ---------------------------------------------------------------------------------------------


def test_the_table_for_a_paper_has_a_row_a_head(induction_report: Report) -> None:
    text = tables(induction_report)["heads"]
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert len({line.count("&") for line in rows[:-1]}) == 1
    strength = induction_report.measures["strength"].values
    strongest = sorted((-value, f"L{i}H{j}") for (i, j), value in np.ndenumerate(strength) if not math.isnan(value))
    assert [row[:4] for row in rows[1:4]] == [name for _, name in strongest]
    assert all("induction" in row for row in rows[1:4])
    assert "induction" not in "".join(rows[4:9])
    assert r"Null of Excess: W\_Q and W\_K permuted." in rows[-1]
    assert "[$" in rows[1]


def test_of_many_heads_the_first_are_listed_and_the_others_counted(answered: Report, declared: Any) -> None:
    strength = per_head(np.linspace(0, 1, 60).reshape(6, 10))
    declared(HeadColumn("strength", "strength", words="a_b & c"))
    verdicts = {f"L{i}H{j}": "lo_ud" for i, j in np.ndindex(6, 10)}
    text = tables(replace(answered, measures={"strength": strength}, heads=verdicts))["heads"]
    rows = [line for line in text.splitlines() if line.startswith("L")]
    assert len(rows) == MOST_HEADS
    assert rows[0].startswith(r"L5H9 & lo\_ud & $1.000$ [$0.900$, $1.100$]")
    assert "20 more heads stand in measures.csv." in text
    assert r"a\_b \& c" in text
