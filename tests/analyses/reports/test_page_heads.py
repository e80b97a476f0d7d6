"""The numbers behind a head's own part: those of the report, with three digits, and so few that a page stays small."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import html, page_heads
from mesascope.analyses.reports.heads import HeadTable, head_table
from mesascope.analyses.reports.page_heads import LEVELS, parts, table_context
from mesascope.analyses.reports.pages import data_block
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure


@pytest.fixture
def answered(mean_answer: Any, make_subject: Any) -> Report:
    return run(make_subject(), mean_answer())


def measure(values: np.ndarray, axes: tuple[str, ...] = ("layer", "head"), **fields: Any) -> Measure:
    given = {"no_nulls": "" if fields.get("nulls") else "none"} | fields
    return Measure(values, "score", (values - 1, values + 1), "task", 9, axes, message="m", **given)


def tabled(report: Report, measures: dict[str, Measure]) -> tuple[Report, HeadTable]:
    """The report with these measures and one of every head, and its table."""
    everyone = measure(np.ones(next(iter(measures.values())).values.shape[:2]))
    made = replace(report, measures=measures | {"everyone": everyone}, heads={})
    table = head_table(made)
    assert table is not None
    return made, table


def block(report: Report, measures: dict[str, Measure], name: str) -> tuple[list[str], dict[str, Any]]:
    made = parts(*tabled(report, measures), {name: "definition-1"})
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    return made["heads"], next(one for one in made["measures"] if one["name"] == name)


def test_numbers_stand_head_by_head_beside_intervals_and_nulls(answered: Report) -> None:
    rng = np.random.default_rng(0)
    values, draws = rng.normal(size=(2, 3, 4)), rng.normal(size=(9, 2, 3, 4))
    values[1, 2, 3] = np.nan
    given = measure(values, ("layer", "head", "place"), nulls={"even": draws[:1], "random": draws})
    heads, made = block(answered, {"x": given}, "x")
    assert (made["n"], made["of"], made["axes"], made["link"]) == (4, 4, ["place"], "definition-1")
    for row, name in enumerate(heads):
        layer, head = int(name[1]), int(name[3])
        for cell in range(4):
            at, value = row * 4 + cell, values[layer, head, cell]
            if np.isnan(value):
                assert made["values"][at] is None
                continue
            assert made["values"][at] == float(f"{value:.3g}")
            assert made["low"][at] == float(f"{value - 1:.3g}")
            even, random = made["nulls"]
            assert even["mean"][at] == float(f"{draws[0, layer, head, cell]:.3g}")
            assert "p" not in even  # one sample says nothing of chance
            together = [*draws[:, layer, head, cell], value]
            far = [abs(other - np.mean(together)) for other in together]
            assert random["p"][at] == pytest.approx(sum(one >= far[-1] for one in far) / 10, abs=6e-4)


def test_axes_may_stand_in_any_order(answered: Report) -> None:
    values = np.arange(24.0).reshape(4, 2, 3)
    _, made = block(answered, {"x": measure(np.moveaxis(values, 0, 2), ("layer", "head", "place")),
                               "y": measure(values, ("place", "layer", "head"))}, "y")  # fmt: skip
    assert made["values"] == np.moveaxis(values, 0, 2).ravel().tolist()


def test_where_heads_are_many_the_largest_are_listed(answered: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_heads, "MOST_NUMBERS", 6 * (2 * 3 + 3))
    values = np.array([[[0.1, -9.0, 5.0, np.nan, 2.0]] * 3] * 2)
    _, made = block(answered, {"x": measure(values, ("layer", "head", "place"))}, "x")
    assert (made["n"], made["of"]) == (2, 5)
    assert made["cells"] == [1, 2] * 6
    assert made["values"] == [-9, 5] * 6


def test_a_curve_is_a_line_of_characters(answered: Report) -> None:
    values = np.array([[[0.0, 1.0, np.nan, 0.5, 63 / 63, 1 / 63, 62 / 63, 0.0, 0.0]]])
    null = np.zeros((2, 1, 1, 9))
    _, made = block(answered, {"x": measure(values, ("layer", "head", "t"), nulls={"zero": null})}, "x")
    curve = made["curve"]
    (line,) = curve["lines"]
    assert line[:3] == f"0{LEVELS[-1]}."
    assert [LEVELS.index(char) for char in line[4:]] == [63, 1, 62, 0, 0]
    assert curve["nulls"] == {"zero": ["0" * 9]}
    assert (curve["low"], curve["high"], curve["axis"]) == (0, 1, "t")


@pytest.mark.parametrize(("room", "nulls"), [(27, 2), (26, 1), (17, 0), (8, None)])
def test_curves_give_up_null_models_first(
    answered: Report, monkeypatch: pytest.MonkeyPatch, room: int, nulls: int | None
) -> None:
    monkeypatch.setattr(page_heads, "MOST_POINTS", room)
    values = np.zeros((1, 1, 9))
    draws = dict.fromkeys(("one", "two"), values[None])
    _, made = block(answered, {"x": measure(values, ("layer", "head", "t"), nulls=draws)}, "x")
    assert (len(made["curve"]["nulls"]) if "curve" in made else None) == nulls


@pytest.mark.parametrize(
    ("shape", "more", "labels"),
    [
        ((1, 1, 7), ("t",), range(7)),
        ((1, 1, 9), ("t",), "abcdefghi"),
        ((1, 1, 3, 9), ("k", "t"), range(9)),
        ((1, 1), (), ()),
    ],
)
def test_no_other_measure_has_a_curve(
    answered: Report, shape: tuple[int, ...], more: tuple[str, ...], labels: Any
) -> None:
    axes = ("layer", "head", *more)
    coords = {"t": tuple(labels)} if labels else {}
    _, made = block(answered, {"x": measure(np.zeros(shape), axes, coords=coords)}, "x")
    assert "curve" not in made


def test_heads_beyond_the_table_are_counted(answered: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_heads, "MOST_ROWS", 4)
    report, table = tabled(answered, {"x": measure(np.zeros((2, 3)))})
    shown = table_context(table)
    assert (
        [row["name"] for row in shown["rows"]] == parts(report, table, {})["heads"] == ["L0H0", "L0H1", "L0H2", "L1H0"]
    )
    assert shown["more"] == 2


@pytest.mark.parametrize(("n_heads", "first"), [(30, "all-heads"), (31, "figures")])
def test_a_long_table_stands_below_the_figures(answered: Report, n_heads: int, first: str) -> None:
    report, _ = tabled(answered, {"x": measure(np.zeros((1, n_heads)))})
    text = html.page(report, [])
    with_figures = html.template("report.html.jinja").render(**html._context(report), figures=[], left_out=["one"])
    order = sorted(("all-heads", "figures"), key=lambda place: with_figures.index(f'<section id="{place}"'))
    links = sorted(("all-heads", "figures"), key=lambda place: with_figures.index(f'href="#{place}"'))
    assert order[0] == links[0] == first
    assert ('wide tall"' in text) == (first == "figures")


def test_nothing_in_a_block_of_data_ends_it() -> None:
    hostile = {"</script><!--": ["<script>", "]]>", "\u2028", "&lt;"]}
    text = str(data_block(hostile))
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == hostile
