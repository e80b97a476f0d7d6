"""`report.attention`: a view for notebooks, a map on somebody's axes, figures and pages; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from mesascope.analyses import verify
from mesascope.analyses.reports.report import Report
from mesascope.data import UsageError
from mesascope.probes.kept_attention import KeptAttention


def test_all_heads_or_some_in_their_order(induction_report: Report) -> None:
    everybody = induction_report.attention()
    kept = KeptAttention.of(induction_report.findings)
    assert kept is not None
    assert everybody.kept.names == kept.names
    some = induction_report.attention(["L0H1", "L1H0"])
    assert some.kept.names == ("L0H1", "L1H0")
    place = kept.names.index("L0H1")
    np.testing.assert_array_equal(some.kept.pattern[0], kept.pattern[place])
    assert induction_report.attention("L1H0").kept.names == ("L1H0",)
    assert "L0H1, L1H0" in repr(some)
    assert "BOS and 20 random tokens, 2 times" in repr(some)


def test_a_notebook_gets_one_view_that_needs_nothing_else(induction_report: Report) -> None:
    cell = induction_report.attention(["L1H0"])._repr_html_()
    assert cell.count('class="attention-view"') == 1
    assert "<script>" in cell
    assert "<html" not in cell
    for outside in ("http", "src=", "import(", "fetch("):
        assert outside not in cell
    assert cell == induction_report.attention(["L1H0"])._repr_html_()


def test_a_saved_report_shows_the_same(induction_report: Report, tmp_path: Path) -> None:
    again = Report.load(induction_report.save(tmp_path, figures="none"))
    assert again.attention()._repr_html_() == induction_report.attention()._repr_html_()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_map_on_somebodys_axes(induction_report: Report, weighted: bool) -> None:
    figure, ax = pyplot.subplots(figsize=(4, 4))
    view = induction_report.attention(value_weighted=weighted)
    table = view.plot(ax, head="L1H0")
    (image,) = ax.images
    place = view.kept.names.index("L1H0")
    expected = view.kept.values("value-weighted" if weighted else "attention")[place]
    below = np.tri(len(expected), dtype=bool)
    np.testing.assert_array_equal(np.asarray(image.get_array())[below], expected[below])
    assert ax.get_title() == "L1H0 induction"
    assert set(table["panel"].dropna()) <= {"L1H0 induction", ""}
    pyplot.close(figure)


def test_without_axes_it_is_the_current_ones_and_the_first_head(induction_report: Report) -> None:
    view = induction_report.attention(["L0H1", "L1H0"])
    view.plot()
    assert pyplot.gca().get_title() == "L0H1 previous-token"
    pyplot.close("all")


@pytest.mark.parametrize(("name", "begins"), [("a.pdf", b"%PDF"), ("b.v2.svg", b"<?xml"), ("c.png", b"\x89PNG")])
def test_figures_are_the_same_bytes_each_time(
    induction_report: Report, tmp_path: Path, name: str, begins: bytes
) -> None:
    view = induction_report.attention(["L0H1", "L1H0"])
    first = view.save(tmp_path / name)
    assert first == tmp_path / name
    content = first.read_bytes()
    assert content.startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert view.save(tmp_path / name, style="neurips").read_bytes() == content
    assert view.save(tmp_path / name, width=3.25).read_bytes() != content
    assert induction_report.attention(["L0H1", "L1H0"], value_weighted=True).save(first).read_bytes() != content


def test_a_page_of_its_own(induction_report: Report, tmp_path: Path) -> None:
    page = induction_report.attention(["L1H0"]).save(tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert "default-src 'none'" in page.replace("&#39;", "'")
    assert "induction-2layer" in page.split("</h1>")[0]


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        (["L9H9"], "L9H9: no head of this model; expected L0H0 to L1H3"),
        (["L1H0", "banana"], "banana: no head of this model"),
        ([], r"heads = \[\]: expected some of L1H"),
    ],
)
def test_heads_that_do_not_exist(induction_report: Report, heads: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        induction_report.attention(heads)


def test_heads_that_are_not_kept(induction_report: Report) -> None:
    kept = KeptAttention.of(induction_report.findings)
    assert kept is not None
    some = kept.only(["L1H0", "L0H1"])
    report = replace(induction_report, arrays=some.arrays)
    with pytest.raises(UsageError, match=r"keeps the attention of L1H0, L0H1 only; .* again with --attention L1H2"):
        report.attention("L1H2")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"settings": {"attention": "called"}}, "no head has a verdict; .*--attention L0H0"),
        ({"settings": {"attention": "nothing"}}, "attention = nothing; run the probe again with --attention called"),
        ({"settings": {}, "probe": "token-norms"}, "token-norms keeps none; run induction-heads"),
    ],
)
def test_a_report_that_keeps_none(induction_report: Report, change: dict[str, Any], said: str) -> None:
    recipes = {name: recipe for name, recipe in induction_report.recipes.items() if name != "attention"}
    with pytest.raises(UsageError, match=f"keeps no attention: {said}"):
        replace(induction_report, recipes=recipes, **change).attention()


def test_over_several_seeds_there_is_none(induction_report: Report) -> None:
    arrays = {name: np.stack([array] * 2) for name, array in induction_report.arrays.items()}
    with pytest.raises(UsageError, match="over several checkpoints, whose heads do not correspond"):
        replace(induction_report, arrays=arrays).attention()


def test_verify_makes_the_attention_again(induction_report: Report, tmp_path: Path) -> None:
    again = verify(induction_report)
    assert (again.verdict, again.differences) == ("bit-identical", ())
    name, pattern = "attention_pattern", induction_report.arrays["attention_pattern"].copy()
    pattern[2, 7, 3] += 0.01
    other = verify(replace(induction_report, arrays={**induction_report.arrays, name: pattern}))
    assert other.verdict == "differs"
    assert any("attention_pattern[2, 7, 3]" in line for line in other.differences)


def test_lengths_that_are_not_known_are_refused_before_anything_is_drawn(induction_report: Report) -> None:
    arrays = {name: array for name, array in induction_report.arrays.items() if name != "attention_value_norms"}
    recipe = dict(induction_report.recipes["attention"])
    recipe["settings"] = {**recipe["settings"], "not_weighted": "there is no v"}
    report = replace(induction_report, arrays=arrays, recipes={**induction_report.recipes, "attention": recipe})
    with pytest.raises(UsageError, match="value-weighted attention: not applicable, because there is no v"):
        report.attention(value_weighted=True)
    assert "not applicable, because there is no v" in report.attention()._repr_html_()


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.html/b.pdf"])
def test_places_that_cannot_be_written(induction_report: Report, tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"a name that ends in \.pdf, \.svg, \.png or \.html|cannot be written"):
        induction_report.attention().save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
