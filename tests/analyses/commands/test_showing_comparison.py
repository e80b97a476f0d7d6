"""Two reports in the terminal: what differs is shown, the largest first; what is not shown is counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.commands import showing_comparison
from mesascope.analyses.commands.showing_comparison import count_of, print_comparison
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.comparing import compare
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure, without_interval


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What is printed of these reports, its blanks made one."""

    def printed(*reports: Report) -> str:
        print_comparison(reports, compare(reports).to_dict("records"))
        return re.sub(r" +", " ", capsys.readouterr().out)

    return printed


@pytest.fixture
def pair(mean_answer: Any, make_subject: Any) -> tuple[Report, Report]:
    a, b = (run(make_subject(1.0, name), mean_answer()) for name in "ab")
    return replace(a, measures={}, heads={}), replace(b, measures={}, heads={})


def cells(values: list[float], half: float, axis: str = "cell") -> Measure:
    array = np.array(values)
    bounds = (array - half, array + half)
    return Measure(array, "u", bounds, "sequence", 100, axes=(axis,), no_nulls="none", message="NaN: undefined")


def test_single_numbers_are_all_there_with_their_method(
    mean_answer: Any, make_subject: Any, shown: Callable[..., str]
) -> None:
    a, b = (run(make_subject(rate, name), mean_answer(n_tasks=400)) for rate, name in ((1.0, "a"), (2.0, "b")))
    text = shown(a, b)
    assert text.startswith("a: a\nb: b\n")
    assert re.search(r"\n loss .* paired bootstrap over 400 tasks", text)
    assert re.search(r"\n absent undefined undefined undefined none", text)
    assert "intervals combined: both intervals combined, as if independent; where the inputs are the same" in text
    assert text.rstrip().endswith("report.to_frame()")


def test_what_differs_along_axes_is_shown_the_largest_first(
    pair: tuple[Report, Report], shown: Callable[..., str]
) -> None:
    a, b = pair
    a = replace(a, measures={"low": cells([0, 0, 0, 0], 0.5), "high": cells([0, 0, 0], 0.5)})
    b = replace(b, measures={"low": cells([0.1, 2, 3, -4], 0.5), "high": cells([9, 0.2, np.nan], 0.5)})
    text = shown(a, b)
    found = re.findall(r"\n (low|high) cell=(\d)", text)
    assert found == [("high", "0"), ("low", "3"), ("low", "2"), ("low", "1")]
    assert "of each measure the largest: 4 of 4" in text
    assert "7 numbers along axes: 4 differ (their 95 % interval excludes 0), 2 do not, 1 have no interval" in text
    assert "Of 6 intervals 4 exclude 0. Each covers 95 % by itself: if nothing differed, about 0 would, too." in text
    assert "4 of the 4 stand." in text
    assert " *" not in text


def test_each_measure_has_its_turn_on_a_small_screen(
    pair: tuple[Report, Report], shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(showing_comparison, "height", lambda: 4)
    a, b = pair
    names = {"large": 10.0, "middle": 5.0, "small": 2.0}
    a = replace(a, measures={name: cells([0.0] * 9, 0.5) for name in names})
    b = replace(b, measures={name: cells([size + i for i in range(9)], 0.5) for name, size in names.items()})
    text = shown(a, b)
    assert re.findall(r"\n (\w+) cell=(\d)", text) == [("large", "8"), ("large", "7"), ("middle", "8"), ("small", "8")]
    assert "of each measure the largest: 4 of 27" in text


def test_what_many_comparisons_make_doubtful_is_marked(pair: tuple[Report, Report], shown: Callable[..., str]) -> None:
    """One of a hundred cells just excludes 0, another does so by far."""
    a, b = pair
    a = replace(a, measures={"many": cells([0.0] * 100, 0.5)})
    b = replace(b, measures={"many": cells([0.75, 5.0, *[0.0] * 98], 0.5)})
    text = shown(a, b)
    assert re.search(r"\n many cell=0 \* ", text)
    assert re.search(r"\n many cell=1 0 5 ", text)
    assert "Of 100 intervals 2 exclude 0. Each covers 95 % by itself: if nothing differed, about 5 would, too." in text
    assert "1 of the 2 stand. The others are marked *." in text


def test_where_nothing_differs_no_table_says_so(pair: tuple[Report, Report], shown: Callable[..., str]) -> None:
    a, b = (replace(report, measures={"many": cells([0.0] * 5, 0.5)}) for report in pair)
    text = shown(a, b)
    assert "Numbers along axes that differ" not in text
    assert "5 numbers along axes: 0 differ" in text
    assert "Corrected" not in text


def test_numbers_of_weights_are_counted_as_without_an_interval(
    pair: tuple[Report, Report], shown: Callable[..., str]
) -> None:
    weights = without_interval(np.arange(3.0), "u", ("layer",), message="weights", no_nulls="weights")
    a, b = (replace(report, measures={"weights": weights}) for report in pair)
    text = shown(a, b)
    assert "3 numbers along axes: 0 differ (their 95 % interval excludes 0), 0 do not, 3 have no interval" in text
    assert "intervals combined" not in text
    assert "exclude 0. Each" not in text


def test_heads_whose_verdict_changed_are_shown(mean_answer: Any, make_subject: Any, shown: Callable[..., str]) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(offset=2.0))
    text = shown(a, b)
    assert "1 of 4 heads have another verdict" in text
    assert "head a b By head in a By head in b" in text
    assert re.search(r"\n L0H0 none loud \S+ \[0.00, 1.00\] \S+ \[0.00, 1.00\]", text)
    assert "No head has another verdict in b: 4 heads" in shown(a, a)
    assert "another verdict" not in shown(a, replace(b, heads={}))


def test_many_changed_heads_are_counted(mean_answer: Any, make_subject: Any, shown: Callable[..., str]) -> None:
    a, b = (run(make_subject(1.0, name), mean_answer()) for name in "ab")
    names = [f"L{layer}H{head}" for layer in range(10) for head in range(10)]
    a = replace(a, heads=dict.fromkeys(names, "none"))
    b = replace(b, heads={name: "loud" if i < 50 else "silent" if i < 60 else "none" for i, name in enumerate(names)})
    text = shown(a, b)
    assert "60 of 100 heads have another verdict" in text.replace("\n", " ")
    assert "20 more; 20 of them have a verdict in b" in text


def test_what_is_not_compared_is_named_and_many_names_counted(
    mean_answer: Any, make_subject: Any, shown: Callable[..., str]
) -> None:
    a = run(make_subject(1.0, "a"), mean_answer())
    b = run(make_subject(2.0, "b"), mean_answer(scales=(1.0, 3.0)))
    more = {f"more{i}": a.measures["loss"] for i in range(11)}
    text = shown(a, replace(b, measures={**b.measures, **more}))
    assert "Not compared, other axes or labels: by_scale\n" in text
    assert "Not compared, only in b: more0, more1, more2, more3, more4, more5, more6, more7, and 3 more\n" in text
    assert "only in a" not in text


def test_several_reports_stand_beside_the_first_also_where_nothing_is_in_common(
    mean_answer: Any, make_subject: Any, shown: Callable[..., str]
) -> None:
    a, b, c = (run(make_subject(rate, f"m{rate}"), mean_answer()) for rate in (1.0, 2.0, 3.0))
    text = shown(a, replace(b, measures={"other": b.measures["loss"]}), c)
    assert re.findall(r"^b: (.*)$", text, re.MULTILINE) == ["m2.0", "m3.0"]
    assert len(re.findall(r"\n loss ", text)) == 1


def test_names_are_counted_as_they_come() -> None:
    assert count_of("abacab") == [0, 0, 1, 0, 2, 1]
