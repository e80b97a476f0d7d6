"""The page of a reproduction: every verdict, every name escaped, nothing from the network."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reproduction.figures import draw
from mesascope.analyses.reproduction.judging import FigureVerdict
from mesascope.analyses.reproduction.page import MARKS, REDUCED, page
from mesascope.analyses.reproduction.results import FigureResult, Made

from ..reports.test_page_in_a_browser import CONTRAST
from .made_up import FIGURES
from .records import CLAIMS, PAPER, plan, records


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a drawing of Figure 1, a narrow one of Figure 2, and none of the others."""
    folder = tmp_path_factory.mktemp("out")
    draw(FIGURES["several panels"], folder / "figure-01", formats=("svg",))
    draw(FIGURES["one panel"], folder / "figure-02", formats=("svg",))
    return folder


@pytest.fixture(scope="module")
def written(out: Path) -> str:
    return page(PAPER, records(), out)


def section(written: str, number: int) -> str:
    """What stands of a figure below the table of verdicts."""
    (found,) = re.findall(rf'<section id="figure-0{number}">.*?</section>', written, re.DOTALL)
    return re.sub(r"base64,[^\"]*", "", found)


def test_every_verdict_stands_in_the_table_and_with_its_figure(written: str) -> None:
    verdicts = [record["verdict"]["outcome"] for record in records()]
    assert sorted(verdicts) == sorted(MARKS)
    (table,) = re.findall(r'<section id="verdicts">.*?</section>', written, re.DOTALL)
    for number, outcome in enumerate(verdicts, 1):
        shown = f'<span class="verdict {outcome.replace(" ", "-")}">{MARKS[outcome]} {outcome}</span>'
        assert table.count(shown) == section(written, number).count(shown) == 1
        assert f"1 {outcome}</strong>" in written
        assert f'href="#figure-0{number}">{number}</a>' in table


def test_why_a_figure_is_not_reproduced_stands_beside_its_verdict(written: str) -> None:
    why = "the gap to &lt;gradient&gt; descent is 0.5 [0.4, 0.6], expected -0.02 to 0.02"
    assert written.count(why) == 2  # in the table and with Figure 3
    assert why in section(written, 3)
    assert written.count("the layer has &lt;no&gt; gauge") == 3  # and in the table of conditions
    assert "the layer has &lt;no&gt; gauge" in section(written, 4)


@pytest.mark.parametrize(
    ("number", "gap", "cosine"),
    [
        (1, ("0.01 [0, 0.015]", "yes"), ("0.99 [0.98, 1]", "yes")),
        (2, ("0.01 [0, 0.015]", "yes"), ("0.5 [0.4, 0.6]", "no")),
        (3, ("0.5 [0.4, 0.6]", "no"), ("0.5 [0.4, 0.6]", "no")),
        (4, ("the layer has &lt;no&gt; gauge", "no"), ("0.99 (one seed)", "yes")),
    ],
)
def test_conditions_with_what_was_found_and_expected(
    written: str, number: int, gap: tuple[str, str], cosine: tuple[str, str]
) -> None:
    rows = re.findall(r"<tr>(<td>(?:the gap|the cosine).*?)</tr>", section(written, number))
    cells = [[re.sub(r"<[^>]*>", "", cell) for cell in row.split("</td>")[1:4]] for row in rows]
    assert cells == [[gap[0], "-0.02 to 0.02", gap[1]], [cosine[0], "at least 0.9", cosine[1]]]
    assert "a detail beside the claim" in rows[1]


def test_how_it_was_made_how_large_and_where_text_and_code_differ(written: str) -> None:
    assert "<dd>full</dd>" in section(written, 1)
    how = "lsa-1layer-d5: 500 of 5,000 steps, 1 of 3 seeds, 500 of 1,000 tasks"
    assert f"<dd>reduced: {how}</dd>" in section(written, 2)
    assert "beside <code>lsa-1layer</code> of 5000 steps" in section(written, 2)
    assert "beside <code>" not in section(written, 1)
    assert "mesascope reproduce a-paper --figure 2" in section(written, 2)
    assert "the &lt;disk&gt; is full" in section(written, 2)
    assert "The text says 5 | the code &lt;1&gt;." in section(written, 1)
    assert "Text and code" not in section(written, 2)
    assert "Note 1 &lt;i&gt;" in section(written, 1)
    assert "Note 4 &lt;i&gt;" in section(written, 4)  # also without a picture
    assert REDUCED in written
    assert "0 differs" not in page(PAPER, records()[:1], Path("nowhere"))
    assert REDUCED not in page(PAPER, records()[:1], Path("nowhere"))


def test_pictures_are_the_drawings_of_the_folder_in_their_size(written: str, out: Path) -> None:
    shown = [base64.b64decode(data) for data in re.findall(r"data:image/svg\+xml;base64,([^\"]*)", written)]
    assert shown == [(out / f"figure-0{number}.svg").read_bytes() for number in (1, 2)]
    wide, narrow = (float(width) for width in re.findall(r'style="width: (\d+)pt"', written))
    assert wide == pytest.approx(6.75 * 72 * 1.28, abs=1)
    assert narrow == pytest.approx(3.25 * 72 * 1.28, abs=1)


def test_names_are_escaped_and_nothing_is_loaded(written: str) -> None:
    assert "Somebody 2023, A &lt;paper&gt;" in written
    for claim in CLAIMS.values():
        assert f"A layer is step {claim.number} &lt;b&gt;" in written
    assert not re.search(r"<paper>|<gradient>|<no>|<i>|<b>|<1>|<disk>|<script", written)
    assert "default-src 'none'" in written
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", written)


def test_the_same_records_make_the_same_page(written: str, out: Path) -> None:
    assert page(PAPER, records(), out) == written


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_legible_in_light_and_dark_and_fits_a_phone(
    browser: Any, tmp_path: Path, written: str, scheme: str
) -> None:
    file = tmp_path / "index.html"
    file.write_text(written, encoding="utf-8")
    browser.open(file, scheme=scheme)
    assert {name: ratio for name, ratio in browser.run(CONTRAST).items() if ratio < 4.5} == {}
    browser.open(file, width=360, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= 360


def test_needs_that_are_reduced_alike_are_said_together_and_full_ones_are_not() -> None:
    def reduced(*quick: bool) -> str:
        made = {f"need {n}": Made(plan(how), None) for n, how in enumerate(quick)}
        return FigureResult(CLAIMS[1], FigureVerdict("not measured"), None, made).reduced

    how = plan(True).reduced
    assert how.startswith("500 of 5,000 steps")
    assert reduced(False, False) == ""
    assert reduced(True, True) == how
    assert reduced(True, False, True) == f"need 0, need 2: {how}"
