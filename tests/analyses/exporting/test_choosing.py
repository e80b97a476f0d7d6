"""Which numbers stand in a table, and what each report has of them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mesascope.analyses import Report
from mesascope.analyses.exporting.choosing import FIRST, MOST_ROWS, rows, unknown
from mesascope.analyses.exporting.numbers import cells, parsed
from mesascope.analyses.reports import parts
from mesascope.data.errors import UsageError
from mesascope.probes import PROBES
from mesascope.probes.measure import Measure, along, flat, missing

from .conftest import measure


def values(reports: Sequence[Report], *asked: str) -> dict[str, list[float]]:
    """Of each row the numbers of the reports; NaN where there is none."""
    found = rows(reports, asked)
    return {row.name: [float("nan") if m is None else m.estimate for m in row.of_each] for row in found}


def test_each_number_is_that_of_its_own_report(two: Sequence[Report]) -> None:
    assert values(two, "cosine", "loss") == {"cosine": [0.125, 0.875], "loss": [3.25, 4.75]}
    assert values(two[::-1], "loss") == {"loss": [4.75, 3.25]}


def test_a_measure_with_axes_has_a_row_a_cell_that_any_report_has(two: Sequence[Report]) -> None:
    found = values(two, "by_head")
    assert list(found) == [f"by_head[layer={layer},head={head}]" for layer in (0, 1) for head in (0, 1)]
    np.testing.assert_equal(list(found.values()), [[1.5, 5.5], [2.5, 6.5], [3.5, np.nan], [np.nan, np.nan]])
    assert values(two, "by_head[head=1,layer=0]") == {"by_head[layer=0,head=1]": [2.5, 6.5]}
    np.testing.assert_equal(values(two, "by_head[layer=1]")["by_head[layer=1,head=0]"], [3.5, np.nan])


def test_a_cell_keeps_its_own_interval_and_null(make_report: Any) -> None:
    matrix = np.arange(6.0).reshape(2, 3)
    whole = measure(matrix, axes=("layer", "head"), nulls={"n": np.stack([matrix, 10 * matrix])}, no_nulls="")
    (row,) = rows([make_report("a", {"m": whole})], ["m[layer=1,head=2]"])
    assert row.of_each[0] is not None
    assert [float(bound) for bound in row.of_each[0].interval] == [4.75, 5.5]
    assert row.of_each[0].nulls["n"].tolist() == [5, 50]


def test_what_is_not_applicable_says_so_in_every_row_of_the_others(make_report: Any) -> None:
    reports = [
        make_report("a", {"m": missing("nat", "not applicable", "one layer")}),
        make_report("b", {"m": measure([1.0, 2.0], axes=("layer",))}),
        make_report("c", {}),
    ]
    found = rows(reports, ["m"])
    assert [row.name for row in found] == ["m[layer=0]", "m[layer=1]"]
    for row in found:
        assert row.of_each[0] is not None
        assert (row.of_each[0].message, row.of_each[2]) == ("one layer", None)
    (alone,) = rows(reports[:1], ["m"])
    assert (alone.name, alone.has_number) == ("m", False)


def test_the_same_name_in_another_unit_is_another_row(make_report: Any) -> None:
    found = rows([make_report("a", {"m": measure(1.0, "nat")}), make_report("b", {"m": measure(2.0, "bit")})], ["m"])
    assert [(row.unit, [m and m.estimate for m in row.of_each]) for row in found] == [
        ("nat", [1.0, None]),
        ("bit", [None, 2.0]),
    ]


def test_a_number_that_is_asked_for_twice_stands_once(two: Sequence[Report]) -> None:
    found = rows(two, ["by_head[layer=0]", "loss", "by_head[layer=0,head=1]", "loss"])
    assert [row.name for row in found] == ["by_head[layer=0,head=0]", "by_head[layer=0,head=1]", "loss"]


def test_rows_of_one_unit_stand_together(make_report: Any) -> None:
    measures = {"a": measure(1.0, "x"), "b": measure(2.0, "y"), "c": measure(3.0, "x")}
    assert [row.name for row in rows([make_report("m", measures)], ["a", "b", "c"])] == ["a", "c", "b"]


def test_of_several_steps_it_is_the_last_unless_one_is_named(make_report: Any) -> None:
    steps = measure([[1.0, 2.0], [3.0, 4.0]], axes=("step", "head"), coords={"step": (10, 20)})
    report = make_report("a", {"m": steps})
    assert values([report], "m") == {"m[head=0]": [3.0], "m[head=1]": [4.0]}
    assert values([report], "m[step=10]") == {"m[step=10,head=0]": [1.0], "m[step=10,head=1]": [2.0]}


def test_of_candidates_each_has_its_own_name(make_report: Any) -> None:
    stacked = along("candidate", {"gd": measure(1.0), "zero": missing("nat", "undefined", "no slope")})
    report = make_report("a", {"cosine": stacked})
    np.testing.assert_equal(values([report], "cosine"), {"cosine_gd": [1.0], "cosine_zero": [np.nan]})
    assert values([report], "cosine_gd") == {"cosine_gd": [1.0]}


def test_by_default_a_probe_names_the_measures(two: Sequence[Report], monkeypatch: pytest.MonkeyPatch) -> None:
    assert [row.name for row in rows(two, [])] == ["loss", "gain", "cosine", "only_here"]  # all single numbers
    module = ModuleType("named")
    module.MEASURES = ("cosine", "loss", "nowhere")
    monkeypatch.setitem(sys.modules, "named", module)
    monkeypatch.setattr("mesascope.analyses.exporting.choosing.part", lambda probe, name: {"paper_table": module}[name])
    assert [row.name for row in rows(two, [])] == ["cosine", "loss"]
    module.MEASURES = ("gain",)
    assert [row.name for row in rows(two[:1], [])] == ["loss", "cosine", "only_here"]  # as if none were named
    assert len(rows(two[:1], ["gain"])) == 1  # who asks for it learns why it has no number


def test_by_default_no_measure_with_many_numbers_fills_the_page(make_report: Any, monkeypatch: Any) -> None:
    module = ModuleType("named")
    module.MEASURES = ("many", "one")
    monkeypatch.setattr("mesascope.analyses.exporting.choosing.part", lambda probe, name: module)
    report = make_report("a", {"many": measure(np.arange(FIRST + 1.0), axes=("head",)), "one": measure(1.0)})
    assert list(values([report])) == ["one"]
    singles = {f"s{n}": measure(float(n)) for n in range(FIRST + 5)}
    module.MEASURES = ()
    assert list(values([make_report("a", singles)])) == list(singles)[:FIRST]


def test_what_does_not_fit_or_is_not_there_is_refused(two: Sequence[Report], make_report: Any) -> None:
    long = make_report("a", {"long": measure(np.arange(MOST_ROWS + 1.0), axes=("head",))})
    with pytest.raises(UsageError, match=r"'long': 31 numbers of each report; expected at most 30 .*long\[head=0\]"):
        rows([long], ["long"])
    with pytest.raises(UsageError, match="31 numbers of each report"):
        rows([long], [f"long[head={n}]" for n in range(MOST_ROWS + 1)])
    with pytest.raises(UsageError, match=r"mean-answer: these reports have no single numbers; name .*: long"):
        rows([long], [])
    assert rows(two, ["los"]) == rows(two, ["by_head[layer=7]"]) == rows(two, ["loss[layer=0]"]) == []
    assert unknown(two, "los") == "measure 'los' is in no report; did you mean loss?"
    assert "did you mean by_head[layer=1,head=1] or" in unknown(two, "by_head[layer=1,head=7]")


def test_the_names_of_cells_are_read_back(two: Sequence[Report]) -> None:
    for name, whole in flat(two[0].measures).items():
        for cell_name, cell in cells(name, whole).items():
            measure_name, labels = parsed(cell_name)
            assert measure_name == name
            assert labels == {axis: str(whole.labels(axis)[i]) for axis, i in zip(whole.axes, cell, strict=True)}


@pytest.mark.parametrize("probe", sorted(PROBES))
def test_every_probe_names_few_and_each_once(probe: str) -> None:
    named = getattr(parts.part(probe, "paper_table"), "MEASURES", ())
    assert len(set(named)) == len(named) <= FIRST


def test_a_measure_is_left_as_it_is(two: Sequence[Report]) -> None:
    before = {name: (m.values.copy(), m.axes) for name, m in two[0].measures.items()}
    rows(two, ["by_head", "loss"])
    for name, (kept, axes) in before.items():
        found: Measure = two[0].measures[name]
        np.testing.assert_equal(found.values, kept)
        assert found.axes == axes
