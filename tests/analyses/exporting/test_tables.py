"""Tables of several models: the numbers of the reports are read back from what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt
from mesascope.analyses import Report
from mesascope.analyses.exporting.markdown import escape, markdown
from mesascope.analyses.exporting.tables import Cell, Line, Table, table
from mesascope.probes.measure import Measure

from .conftest import NULL, measure

PAGE = MarkdownIt("commonmark").enable("table")
"""The Markdown of tables as GitHub reads it, but for raw HTML, which it gives back as it is."""
NUMBER = re.compile(r"([-\d.e+]+)(?: \[([-\d.e+]+), ([-\d.e+]+)\])?(?: ± ([-\d.e+]+))?")


def made(reports: Sequence[Report], *asked: str) -> Table:
    found = table(reports, asked)
    assert found is not None
    return found


def cells_of(text: str) -> list[list[str]]:
    """The cells of the first table, as plain text: what a reader of the page sees, marks included."""
    rows: list[list[str]] = []
    for token in PAGE.parse(text):
        if token.type == "tr_open":
            rows.append([])
        if token.type == "inline" and rows:
            rows[-1].append("".join(child.content for child in token.children or ()))
        if token.type == "table_close":
            break
    return rows


def numbers(cell: str) -> list[float]:
    """Estimate, low and high, and standard deviation."""
    match = NUMBER.match(cell)
    return [] if match is None else [float(text) for text in match.groups() if text]


def four_digits(number: Any) -> float:
    return float(f"{float(number):.4g}")


def by_measure(text: str) -> dict[str, list[str]]:
    """Unit and cells of each measure that a page shows."""
    return {row[0].split(" <sup>")[0]: row[1:] for row in cells_of(text)[1:] if not row[0].startswith("↳")}


def of(report: Report, name: str) -> Measure | None:
    """What a report has under the name of a row: `by_head[layer=0,head=1]`."""
    whole, *place = re.findall(r"\w+(?==)|(?<==)\w+|^\w+", name)
    found = report.measures.get(whole)
    if found is None or found.status != "ok":
        return found
    labels = dict(zip(place[::2], map(int, place[1::2]), strict=True))
    return found.sel(**labels) if all(label in found.labels(axis) for axis, label in labels.items()) else None


def notes_of(text: str) -> Mapping[str, str]:
    return dict(re.findall(r"^<sup>(\w+)</sup> (.*?)  $", text, re.M))


def test_every_number_is_read_back_under_its_model(two: Sequence[Report]) -> None:
    text = markdown(made(two, "loss", "cosine", "by_head", "gain", "only_here"))
    assert cells_of(text)[0] == ["Measure", "Unit", "alpha", "beta"]
    found = by_measure(text)
    for name, (unit, *shown) in found.items():
        for cell, report in zip(shown, two, strict=True):
            one = of(report, name)
            assert one is None or one.unit == unit
            if one is None or not one.has_number:
                assert cell[:3] in ("– <", "n/a"), name
            else:
                assert numbers(cell) == [four_digits(x) for x in (one.estimate, *one.interval)], name
    assert found["gain"][1].startswith("n/a <sup>")
    assert len(found) == 8


def test_null_models_stand_below_their_measure(two: Sequence[Report]) -> None:
    rows = cells_of(markdown(made(two, "cosine", "loss")))
    assert [row[0] for row in rows[1:]] == ["cosine <sup>a</sup>", "loss", "↳ null: untrained", "↳ null: shuffled"]
    sd = float(f"{np.std(NULL, ddof=1):.2g}")
    assert [numbers(cell) for cell in rows[3][2:]] == [[2.333, sd], [23.33, float(f"{10 * np.std(NULL, ddof=1):.2g}")]]
    assert [numbers(cell) for cell in rows[4][2:]] == [[], [-2.333, sd]]


def test_each_note_says_what_it_stands_at(two: Sequence[Report]) -> None:
    text = markdown(made(two, "loss", "cosine", "by_head", "gain", "only_here"))
    notes, found = notes_of(text), by_measure(text)

    def at(cell: str) -> list[str]:
        return [notes[mark] for mark in re.findall(r"<sup>(.*)</sup>", cell)[0].split(",")] if "<sup>" in cell else []

    assert at(found["gain"][1]) == ["not applicable: there is nothing to gain."]
    assert at(found["gain"][2]) == ["no null model: a count."]
    assert at(found["only_here"][1]) == ["interval over 5 × seed.", "no null model: a count."]
    assert at(found["only_here"][2]) == at(found["by_head[layer=1,head=1]"][2]) == ["not in this report."]
    assert "one head is silent." in at(found["by_head[layer=1,head=1]"][1])
    assert at(found["loss"][1]) == []
    assert list(notes) == sorted(notes)
    assert len(set(notes.values())) == len(notes)


def test_what_holds_for_every_model_is_said_once_at_the_measure(two: Sequence[Report]) -> None:
    (line,) = made(two, "cosine").lines
    assert line.notes == ("no null model: a count.",)
    assert [cell.notes for cell in line.cells] == [(), ()]


def test_more_notes_than_letters() -> None:
    notes = [f"note {n}" for n in range(60)]
    report = Table("p", ("m",), (), (), (), ())
    many = replace(report, lines=tuple(Line("x", "u", (Cell(1.0, notes=(note,)),)) for note in notes))
    marks = [many.marks[note] for note in notes]
    assert (marks[0], marks[25], marks[26], marks[51], marks[52]) == ("a", "z", "aa", "az", "ba")
    assert len(set(marks)) == 60


def test_the_caption_says_what_was_resampled_and_where_the_numbers_come_from(two: Sequence[Report]) -> None:
    caption = made(two, "loss", "only_here", "cosine").caption
    first, second = caption[2:4]
    assert first.startswith("alpha (one checkpoint; intervals over 64 × task; report aaaaaaaaaaaaaaaa): ")
    assert second.startswith("beta (one checkpoint; intervals over 64 × task; report bbbbbbbbbbbbbbbb): ")
    assert first.endswith(two[0].claim.found)
    assert caption[:2] == (
        "mean-answer: estimates [95 % confidence intervals].",
        "Below a measure, its null models: mean ± standard deviation.",
    )
    assert len(caption) == 4  # the settings are the same


def test_without_intervals_and_nulls_nothing_is_said_of_them(make_report: Any) -> None:
    nan = np.array(np.nan)
    bare = Measure(np.array(2.0), "nat", (nan, nan), "none", 1, no_nulls="a count", message="a count")
    found = made([make_report("a", {"m": bare})])
    assert found.caption[0] == "mean-answer: estimates."
    assert found.caption[1].startswith("a (one checkpoint; no intervals; report 0000000000000000): ")
    assert by_measure(markdown(found))["m"] == ["nat", "2"]


def test_settings_that_differ_and_edits_are_told(two: Sequence[Report]) -> None:
    other = replace(two[1], settings={**two[1].settings, "offset": 2.5}, seed=7, edited=("report.json",))
    caption = made([two[0], other], "loss").caption
    assert caption[4:] == (
        "The setting offset differs: 0.0 (alpha), 2.5 (beta).",
        "The setting seed differs: 0 (alpha), 7 (beta).",
    )
    third = replace(two[0], key="c" * 16, sources=({**two[0].sources[0], "name": "gamma"},))
    assert made([two[0], other, third], "loss").caption[5].endswith("0.0 (alpha, gamma), 2.5 (beta).")
    assert "report bbbbbbbbbbbbbbbb, changed after mesascope wrote it)" in caption[3]


def test_two_reports_of_one_name_are_told_apart_by_their_keys(two: Sequence[Report], make_report: Any) -> None:
    same = replace(make_report("alpha", two[1].measures), key="c" * 16)
    assert made([two[0], same], "loss").models == ("alpha (aaaaaaaaaaaaaaaa)", "alpha (cccccccccccccccc)")


def test_columns_of_a_table_keep_their_numbers(two: Sequence[Report]) -> None:
    whole = made([*two, two[0]], "loss", "cosine")
    part = whole.columns(slice(1, 2))
    assert (part.models, len(part.sources)) == (whole.models[1:2], 1)
    assert by_measure(markdown(part))["loss"] == [by_measure(markdown(whole))["loss"][n] for n in (0, 2)]
    alone = whole.columns(slice(0, 1))
    assert [line.name for line in alone.lines if line.is_null] == ["untrained"]  # it has no null called shuffled


HOSTILE = ["a|b", "[x](http://y)", "<b>x</b>", "*x* _y_", "`x`", "\\", "~~x~~", "&lt;", "# x", "a\nb\x1b[2J"]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_name_is_more_than_text(name: str, make_report: Any) -> None:
    report = replace(make_report(name, {name: measure(1.5, name, no_nulls=name)}))
    rows = cells_of(markdown(made([report])))
    seen = "".join(char for char in " ".join(name.split()) if char.isprintable())
    assert rows[0] == ["Measure", "Unit", seen]
    assert [row[1] for row in rows[1:]] == [seen]
    assert len(rows) == 2
    kinds = {child.type for token in PAGE.parse(escape(name)) for child in token.children or ()}
    assert kinds <= {"text", "text_special"}
