"""The page in Chromium: its table of heads sorts, searches, filters and opens, by mouse and by keyboard; it fits a
phone, is legible in light and dark, and nothing in it breaks its own policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import html
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure

NAMES = (
    "[...document.querySelectorAll('#heads > tbody > tr:not(.part):not([hidden]) > th')].map(cell => cell.textContent)"
)
STATUS = "document.querySelector('#heads-tools output').textContent"
PART = "document.querySelector('#heads tr.part')?.innerText ?? null"
CONTRAST = """(() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const color = parse(getComputedStyle(element).backgroundColor);
      if (color.length < 4 || color[3] === 1) return color;
      if (color[3] > 0) throw new Error("half transparent");
    }
    return [255, 255, 255];
  };
  const found = {};
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility({ visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(parse(style.color)), light(behind(element))].sort((a, b) => b - a);
    const name = `${element.tagName}.${element.className} ${style.color}`;
    found[name] = Math.min(found[name] ?? 99, (one + 0.05) / (other + 0.05));
  }
  return found;
})()"""

Open = Callable[..., Any]


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Open:
    """Open the page of a report, and give the browser."""

    def opened(report: Report, images: tuple[Path, ...] = (), **how: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(html.page(report, images), encoding="utf-8")
        browser.open(path, **how)
        return browser

    return opened


@pytest.fixture
def answered(mean_answer: Any, make_subject: Any) -> Report:
    return run(make_subject(), mean_answer())


def of_heads(report: Report, values: Any, verdicts: dict[str, str], **fields: Any) -> Report:
    values = np.asarray(values, dtype=float)
    given = {"no_nulls": "none"} | fields
    score = Measure(values, "score", (values - 0.1, values + 0.1), "task", 9, ("layer", "head"), message="m", **given)
    return replace(report, measures={"score": score}, heads=verdicts)


@pytest.fixture
def small(answered: Report) -> Report:
    values = [[0.2, -0.9, np.nan], [1e-3, 0.5, 0.11]]
    verdicts = {"L0H0": "loud", "L0H1": "odd", "L0H2": "none", "L1H0": "none", "L1H1": "loud", "L1H2": "none"}
    return of_heads(answered, values, verdicts)


# -- the table ---------------------------------------------------------------------------------------------------------


def test_a_click_on_a_heading_sorts(small: Report, opened: Open) -> None:
    page = opened(small)
    assert page.run(NAMES) == ["L0H0", "L0H1", "L1H1", "L0H2", "L1H0", "L1H2"]  # with a verdict first
    sorts = "[...document.querySelectorAll('#heads thead th')].map(head => head.getAttribute('aria-sort'))"
    page.click("#heads thead th:nth-child(3) button")
    assert page.run(NAMES) == ["L1H1", "L0H0", "L1H2", "L1H0", "L0H1", "L0H2"]  # no number: last
    assert page.run(sorts) == [None, None, "descending"]
    page.click("#heads thead th:nth-child(3) button")
    assert page.run(NAMES) == ["L0H1", "L1H0", "L1H2", "L0H0", "L1H1", "L0H2"]
    assert page.run(sorts) == [None, None, "ascending"]
    page.click("#heads thead th:nth-child(2) button")
    assert page.run(NAMES)[-1] == "L0H1"  # odd
    assert page.run(sorts) == [None, "ascending", None]
    page.click("#heads thead th:nth-child(1) button")
    assert page.run(NAMES) == ["L0H0", "L0H1", "L0H2", "L1H0", "L1H1", "L1H2"]
    assert page.complaints == []


def test_names_are_sorted_as_numbers(answered: Report, opened: Open) -> None:
    page = opened(of_heads(answered, np.arange(24.0).reshape(2, 12), {}))
    page.click("#heads thead th:nth-child(2) button")
    page.click("#heads thead th:nth-child(1) button")
    assert page.run(NAMES) == [f"L{layer}H{head}" for layer in range(2) for head in range(12)]


def test_heads_without_a_number_come_last_either_way(answered: Report, opened: Open) -> None:
    values = np.where(np.arange(12) % 2, np.nan, np.array([5, 0, 2, 0, 9, 0, 1, 0, 7, 0, 3, 0]))
    page = opened(of_heads(answered, values[None], {}))
    known = ["L0H4", "L0H8", "L0H0", "L0H10", "L0H2", "L0H6"]
    for order in (known, known[::-1]):
        page.click("#heads thead th:nth-child(2) button")
        assert page.run(NAMES)[:6] == order


def test_searching_and_filtering(small: Report, opened: Open) -> None:
    page = opened(small)
    assert page.run(STATUS) == "6 of 6 heads"
    page.click("#heads-tools input")
    page.type("l1h")
    assert page.run(NAMES) == ["L1H1", "L1H0", "L1H2"]
    assert page.run(STATUS) == "3 of 6 heads"
    page.run("document.querySelector('#heads-tools select').value = 'loud'")
    page.run("document.querySelector('#heads-tools select').dispatchEvent(new Event('change'))")
    assert page.run(NAMES) == ["L1H1"]
    page.run("document.querySelector('#heads-tools input').select()")
    page.type("nobody")
    assert page.run(NAMES) == []
    assert page.run(STATUS) == "0 of 6 heads"
    assert page.complaints == []


def test_every_verdict_can_be_chosen_with_its_number(small: Report, opened: Open) -> None:
    page = opened(small)
    options = page.run("[...document.querySelectorAll('#heads-tools option')].map(option => option.textContent)")
    assert options == ["all", "odd (1)", "loud (2)", "none (3)"]
    verdicts = page.run("[...document.querySelectorAll('#heads > tbody > tr')].map(row => row.dataset.verdict)")
    assert verdicts == ["loud", "odd", "loud", "none", "none", "none"]


def test_without_script_the_table_is_whole(small: Report, opened: Open, browser: Any) -> None:
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page = opened(small)
        rows = page.ask("DOM.getDocument", depth=0)["root"]["nodeId"]
        found = page.ask("DOM.querySelectorAll", nodeId=rows, selector="#heads > tbody > tr")["nodeIds"]
        assert len(found) == 6
        tools = page.ask("DOM.querySelector", nodeId=rows, selector="#heads-tools[hidden]")["nodeId"]
        assert tools  # nothing is offered that would not work
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


# -- a head's own part -------------------------------------------------------------------------------------------------


def test_a_row_opens_by_keyboard_and_closes_again(small: Report, opened: Open) -> None:
    page = opened(small)
    page.run("document.querySelector('#heads > tbody button').focus()")
    focused = "getComputedStyle(document.activeElement).outlineStyle"
    page.press("Tab")
    assert page.run("document.activeElement.textContent") == "L0H1"
    assert page.run(focused) == "solid"
    assert page.run(PART) is None
    page.press("Enter", "\r")
    part = " ".join(page.run(PART).split())
    assert part.startswith("L0H1: all that was measured of this head")
    assert "score m −0.9 [−1, −0.8] none score" in part
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "true"
    page.press("Enter", "\r")
    assert page.run(PART) is None
    assert page.run("document.activeElement.getAttribute('aria-expanded')") == "false"
    assert page.complaints == []


def test_a_part_stays_with_its_row(small: Report, opened: Open) -> None:
    page = opened(small)
    page.click("#heads > tbody > tr > td")
    page.click("#heads thead th:nth-child(3) button")
    before = "document.querySelector('#heads tr.part').previousElementSibling.cells[0].textContent"
    assert page.run(before) == "L0H0"
    page.click("#heads-tools input")
    page.type("l1h")
    assert page.run("document.querySelector('#heads tr.part').hidden") is True


def test_a_part_holds_every_number_of_its_head(induction_report: Report, opened: Open) -> None:
    page = opened(induction_report)
    page.run("[...document.querySelectorAll('#heads > tbody button')].find(b => b.textContent === 'L1H2').click()")
    part = page.run(PART).replace("−", "-")
    measures = induction_report.measures
    offsets = measures["attention_by_offset"].sel(period=20).at(layer=1, head=2)
    peak = int(np.nanargmax(offsets.values))
    assert f"offset {peak}" in part
    for number in (
        measures["excess"].values[1, 2], measures["excess"].interval[0][1, 2],
        measures["ov_copying_score"].values[1, 2], offsets.values[peak],
        measures["ablation"].sel(replacement="zero").values[1, 2],
        measures["prefix_matching_score"].nulls["no repeats"][:, 1, 2].mean(),
    ):  # fmt: skip
        assert f"{float(number):.3g}".rstrip("0") in part, number
    assert "W_Q and W_K permuted" in part
    assert page.run("document.querySelectorAll('#heads tr.part svg').length") == 3
    assert page.run("document.querySelector('#heads tr.part svg').getAttribute('aria-label')").startswith(
        "attention_by_off"
    )
    assert page.complaints == []


def test_a_curve_is_as_high_as_its_numbers(answered: Report, opened: Open) -> None:
    values = np.array([[[0.0, 0.5, np.nan, 1.0, 0.25, 0.0, 0.75, 0.125, 0.0]]])
    curve = Measure(values, "u", (values, values), "task", 9, ("layer", "head", "offset"), no_nulls="n", message="m")
    page = opened(replace(answered, measures={"curve": curve}, heads={"L0H0": "loud"}))
    page.click("#heads > tbody button")
    drawn = page.run("document.querySelector('#heads tr.part svg .estimate').getAttribute('d')")
    heights = [float(point.split()[1].removesuffix("h0")) for point in drawn.replace("L", "M").split("M")[1:]]
    known = values[np.isfinite(values)]
    np.testing.assert_allclose(heights, 70 * (1 - known), atol=70 / 63)
    assert drawn.count("M") == 2  # a gap where there is no number


def test_a_measure_leads_to_its_definition_and_on_to_the_paper(induction_report: Report, opened: Open) -> None:
    page = opened(induction_report)
    page.click("#heads > tbody button")
    link = "[...document.querySelectorAll('#heads tr.part a')].find(a => a.textContent === 'ov_copying_score')"
    page.run(f"{link}.click()")
    target = page.run("document.querySelector(':target').nextElementSibling.textContent")
    assert "eigenvalues of W_E W_V W_O W_U (Elhage et al. 2021)" in target
    page.run("document.querySelector(':target').nextElementSibling.querySelector('a').click()")
    assert "mathematical framework" in page.run("document.querySelector(':target').textContent")


# -- every reader ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(induction_report: Report, opened: Open, width: int) -> None:
    page = opened(induction_report, width=width, height=844)
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.click("#heads > tbody button")
    assert page.run("innerWidth") == width
    assert page.run("document.scrollingElement.scrollWidth") <= width
    assert page.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(
    induction_report: Report, opened: Open, scheme: str, tmp_path: Path
) -> None:
    page = opened(induction_report, scheme=scheme)
    page.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.click("#heads > tbody button")
    page.run("location.hash = '#definition-1'")
    ratios = page.run(CONTRAST)
    assert len(ratios) > 20
    assert {name: ratio for name, ratio in ratios.items() if ratio < 4.5} == {}
    ground = page.run("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(map(int, ground[4:-1].split(","))) < 150) == (scheme == "dark")
    assert page.run("getComputedStyle(document.querySelector('.curves svg')).backgroundColor") == "rgb(255, 255, 255)"


def test_another_script_would_not_run_and_be_noticed(small: Report, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    text = html.page(small, [])
    path.write_text(text.replace("</main>", "<script>document.title = 'harmed'</script></main>"), encoding="utf-8")
    browser.open(path)
    assert browser.run("document.title") == "built · mean-answer"
    assert any("Content Security Policy" in complaint for complaint in browser.complaints)


def test_names_that_want_to_be_scripts_stay_names(answered: Report, opened: Open) -> None:
    payload = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    values = np.zeros((2, 2, 9))
    measure = Measure(
        values, payload, (values, values), payload, 9, ("layer", "head", payload), {payload: (*range(8), payload)},
        nulls={payload: values[None]}, message=payload,
    )  # fmt: skip
    source = {**answered.sources[0], "name": payload}
    hostile = replace(answered, sources=(source,), measures={payload: measure}, heads={"L0H0": payload, payload: "x"})
    page = opened(hostile)
    page.run("alert = () => { document.body.dataset.harmed = 'yes' }")
    page.click("#heads > tbody button")
    assert payload in page.run(PART)
    assert page.run("[document.querySelectorAll('script').length, document.querySelectorAll('img').length]") == [2, 0]
    assert page.run("document.body.dataset.harmed ?? null") is None
    assert page.complaints == []


def test_1200_heads_stay_small_and_open(answered: Report, opened: Open) -> None:
    """48 layers of 25 heads, with as many measures as induction-heads has, and three curves."""
    rng = np.random.default_rng(0)

    def scored(*more: int, nulls: int = 1) -> Measure:
        values = rng.uniform(size=(48, 25, *more))
        axes = ("layer", "head", "offset")[: values.ndim]
        draws = {f"null {n}": rng.uniform(size=(8, *values.shape)) for n in range(nulls)}
        no_nulls = "" if nulls else "none"
        return Measure(values, "score", (values - 0.1, values + 0.1), "task", 9, axes, nulls=draws, no_nulls=no_nulls)

    measures = {f"score_{n}": scored(nulls=n % 3) for n in range(22)} | {f"curve_{n}": scored(51) for n in range(3)}
    verdicts = {f"L{i}H{j}": "loud" if j == 3 else "none" for i, j in np.ndindex(48, 25)}
    report = replace(answered, measures=measures, heads=verdicts)
    assert len(html.page(report, []).encode()) < 3_000_000
    page = opened(report)
    assert page.run("document.querySelectorAll('#heads > tbody > tr').length") == 1200
    page.click("#heads > tbody > tr:nth-child(48) button")
    assert page.run(PART).startswith("L47H3")
    assert page.run("document.querySelectorAll('#heads tr.part svg').length") == 3
    assert page.complaints == []
