"""The view of attention in Chromium: by mouse, by finger and by keyboard; in the page, and twice in a notebook."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import html
from mesascope.analyses.reports.report import Report
from mesascope.probes.kept_attention import KeptAttention

Open = Callable[..., Any]
TOKEN = ".attention-tokens span:nth-of-type({})"
COLOURS = (
    "[...document.querySelectorAll('.attention-tokens span')].map(s => getComputedStyle(s).backgroundColor"
    ".match(/[\\d.]+/g).map(Number))"
)
SELECTED = "[...document.querySelectorAll('.attention-tokens span')].findIndex(s => s.ariaSelected === 'true')"
TITLES = "[...document.querySelectorAll('.attention-tokens span')].map(s => s.title)"
NUMBERS = "[...document.querySelectorAll('.attention-numbers p')].map(p => p.innerText)"
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture
def opened(browser: Any, tmp_path: Path, induction_report: Report) -> Open:
    """Open the page of the report, or another text, and give the browser."""

    def opened(text: str = "", **how: Any) -> Any:
        path = tmp_path / "report.html"
        path.write_text(text or html.page(induction_report, []), encoding="utf-8")
        browser.open(path, **how)
        return browser

    return opened


@pytest.fixture(scope="module")
def kept(induction_report: Report) -> KeptAttention:
    found = KeptAttention.of(induction_report.findings)
    assert found is not None
    return found


def point_at(page: Any, selector: str) -> None:
    box = f"document.querySelector({selector!r}).getBoundingClientRect()"
    page.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
    x, y = page.run(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def choose(page: Any, selector: str) -> None:
    page.run(f"document.querySelector({selector!r}).click()")


def shares(page: Any) -> list[float]:
    return [float(title.split(": ")[1]) for title in page.run(TITLES)]


def test_pointing_at_a_token_shows_both_sides(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    point_at(page, TOKEN.format(28))  # position 27, in the second repeat
    assert page.run(SELECTED) == 27
    first = kept.pattern[0]
    expected = np.concatenate([first[27, :28], first[28:, 27]])
    np.testing.assert_allclose(shares(page), expected, atol=5.1e-4)
    assert [title.split(":")[0] for title in page.run(TITLES)] == ["attends to"] * 28 + ["is read by"] * 13
    attends, reads = page.run(NUMBERS)
    largest = int(first[27].argmax())
    assert re.search(rf"L\dH\d: \S+27 attends to \S+{largest} {first[27, largest]:.3f}", attends.replace("\n", ""))
    assert attends.endswith(")")
    assert "share of its attention" in attends
    assert "is read by" in reads
    red, _, blue = page.run(COLOURS)[largest]
    assert blue - red > 100
    assert page.complaints == []


def test_who_reads_a_key_is_another_colour(opened: Open, kept: KeptAttention) -> None:
    """A previous-token head: the next token reads it, and no other."""
    page = opened()
    place = kept.verdicts.index("previous-token")
    choose(page, f".attention-heads label:nth-child({place + 1}) input")
    point_at(page, TOKEN.format(11))
    colours = page.run(COLOURS)
    assert colours[11][0] - colours[11][2] > 80  # vermilion: position 11 reads position 10
    assert colours[9][2] - colours[9][0] > 80  # blue: position 10 reads position 9
    assert kept.names[place] in page.run(NUMBERS)[0]
    np.testing.assert_allclose(shares(page)[11], kept.pattern[place, 11, 10], atol=5.1e-4)


def test_weighted_by_values_with_its_unit(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    choose(page, ".attention-weightings input[value='weighted']")
    point_at(page, TOKEN.format(28))
    weighted = kept.values("value-weighted")[0]
    expected = np.concatenate([weighted[27, :28], weighted[28:, 27]])
    np.testing.assert_allclose(shares(page), expected, rtol=6e-3, atol=1e-2)
    assert "norm in the residual stream" in page.run(NUMBERS)[0]
    choose(page, ".attention-weightings input[value='']")
    assert "share of its attention" in page.run(NUMBERS)[0]


def test_every_head_has_its_map(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    labels = page.run("[...document.querySelectorAll('.attention-heads label')].map(l => l.innerText.trim())")
    assert [label.split() for label in labels] == [list(both) for both in zip(kept.names, kept.verdicts, strict=True)]
    n = len(kept.texts)
    alpha = "(at) => [...document.querySelectorAll('canvas')][at].getContext('2d').getImageData(0, 0, {n}, {n}).data"
    for place in (0, len(kept.names) - 1):
        drawn = page.run(f"[...({alpha.format(n=n)})({place})].filter((_, at) => at % 4 === 3)")
        below = np.tri(n, dtype=bool)
        shown = np.array(drawn).reshape(n, n)
        np.testing.assert_allclose(shown[below] / 255, kept.pattern[place][below], atol=1 / 255)
        assert np.all(shown[~below] == 50)


def test_leaving_goes_back_to_the_token_that_was_chosen(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    last = len(kept.texts) - 1
    assert page.run(SELECTED) == last  # something is shown before anybody points
    page.click(TOKEN.format(6))
    point_at(page, TOKEN.format(31))
    assert page.run(SELECTED) == 30
    point_at(page, "h1")
    assert page.run(SELECTED) == 5


def test_by_keyboard(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    last = len(kept.texts) - 1
    page.run("document.querySelector('.attention-tokens [tabindex=\"0\"]').focus()")
    for key, position in (("ArrowLeft", last - 1), ("ArrowUp", last - 11), ("ArrowRight", last - 10), ("Home", 0),
                          ("ArrowLeft", 0), ("End", last)):  # fmt: skip
        page.press(key)
        assert page.run(SELECTED) == position
        assert page.run("document.querySelectorAll('.attention-tokens [tabindex=\"0\"]').length") == 1
        assert page.run("document.activeElement.ariaSelected") == "true"


def test_by_finger(opened: Open) -> None:
    page = opened(width=390, height=844)
    page.run(f"document.querySelector({TOKEN.format(9)!r}).scrollIntoView({{block: 'center'}})")
    box = f"document.querySelector({TOKEN.format(9)!r}).getBoundingClientRect()"
    x, y = page.run(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
    page.ask("Input.dispatchTouchEvent", type="touchStart", touchPoints=[{"x": x, "y": y}])
    page.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    assert page.run(SELECTED) == 8
    assert page.run("document.scrollingElement.scrollWidth") <= 390


def test_text_can_be_selected(opened: Open, kept: KeptAttention) -> None:
    page = opened()
    page.run("getSelection().selectAllChildren(document.querySelector('.attention-tokens'))")
    assert page.run("String(getSelection())").strip() == "".join(kept.texts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_every_colour(opened: Open, scheme: str) -> None:
    page = opened(scheme=scheme)
    for head in range(1, 5):
        choose(page, f".attention-heads label:nth-child({head}) input")
        point_at(page, TOKEN.format(28))
        ink = page.run(
            "getComputedStyle(document.querySelector('.attention-tokens span')).color.match(/\\d+/g).map(Number)"
        )
        strong = [colour for colour in page.run(COLOURS) if len(colour) == 3]
        strong += page.run(
            "[...document.querySelectorAll('.attention-legend span')].map(s => getComputedStyle(s).backgroundColor"
            ".match(/\\d+/g).map(Number))"
        )
        assert min(contrast(ink, colour) for colour in strong) >= 4.5


def contrast(one: list[float], other: list[float]) -> float:
    channels = np.array([one, other]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    low, high = sorted((linear @ LUMINANCE).tolist())
    return (high + 0.05) / (low + 0.05)


def test_several_outputs_of_a_notebook_stay_apart(opened: Open, induction_report: Report) -> None:
    """Each output brings the script along; each view listens to its own head."""
    cells = [induction_report.attention(heads)._repr_html_() for heads in (["L1H0", "L0H1"], ["L1H2", "L0H2"])]
    page = opened(f"<!DOCTYPE html><body>{''.join(cells)}</body>")
    assert page.run("document.querySelectorAll('canvas').length") == 4
    choose(page, ".attention-view input")
    page.run("document.querySelectorAll('.attention-heads')[1].querySelectorAll('input')[1].click()")
    named = page.run("[...document.querySelectorAll('.attention-numbers')].map(n => n.innerText.slice(0, 4))")
    assert named == ["L1H0", "L0H2"]
    checked = page.run("[...document.querySelectorAll('.attention-heads input')].map(i => i.checked)")
    assert checked == [True, False, False, True]
    assert page.complaints == []


def test_a_saved_page_runs_under_its_own_policy(
    opened: Open, induction_report: Report, tmp_path: Path, browser: Any
) -> None:
    path = induction_report.attention(["L1H0"]).save(tmp_path / "one.html")
    browser.open(path)
    assert browser.run("document.querySelectorAll('canvas').length") == 1
    assert browser.complaints == []


def test_without_script_the_tokens_are_there(opened: Open, kept: KeptAttention, browser: Any) -> None:
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page = opened()
        root = page.ask("DOM.getDocument", depth=0)["root"]["nodeId"]
        found = page.ask("DOM.querySelectorAll", nodeId=root, selector=".attention-tokens span")["nodeIds"]
        assert len(found) == len(kept.texts)
        assert page.ask("DOM.querySelector", nodeId=root, selector=".attention-tools[hidden]")["nodeId"]
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)


def test_where_lengths_are_not_known_there_is_nothing_to_switch(opened: Open, induction_report: Report) -> None:
    arrays = {name: array for name, array in induction_report.arrays.items() if name != "attention_value_norms"}
    recipe = {**induction_report.recipes["attention"]}
    recipe["settings"] = {**recipe["settings"], "not_weighted": "there is no v"}
    recipes = {**induction_report.recipes, "attention": recipe}
    page = opened(html.page(replace(induction_report, arrays=arrays, recipes=recipes), []))
    point_at(page, TOKEN.format(5))
    assert page.run(SELECTED) == 4
    assert page.run("document.querySelectorAll('.attention-weightings').length") == 0
    assert page.complaints == []
