"""The overview as a page: in Chromium it sorts, searches and fits a phone. Names are inert, and writing is one step."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reports import index_page, saving
from mesascope.analyses.reports.index_page import write_index
from mesascope.analyses.reports.overview import Row, rows
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError

SHOWN = """[...document.querySelectorAll('#reports tbody tr')].filter((row) => row.offsetHeight > 0)
  .map((row) => row.cells[0].textContent.trim())"""
"""Checkpoints of the rows that can be seen, from above."""


@pytest.fixture
def out(mean_answer: Any, make_subject: Any, tmp_path: Path) -> Path:
    """Three steps, the report over them, and a checkpoint of its own; its page written."""
    subjects = [make_subject(1 + step, step=step, seed=0, revision=f"step{step}") for step in (10, 2, 100)]
    answer = run_family(subjects, mean_answer())
    assert isinstance(answer, tuple)
    for report in (*answer[0], answer[1], run(make_subject(3.0, "alone"), mean_answer())):
        report.save(tmp_path / "out", figures="none")
    write_index(tmp_path / "out")
    return tmp_path / "out"


STEPS = ["built-step2", "built-step10", "built-step100"]


def test_a_click_sorts_down_a_second_up_and_a_third_puts_back(out: Path, browser: Any) -> None:
    browser.open(out / "index.html")
    listed = ["alone", "built", *STEPS]
    assert browser.run(SHOWN) == listed
    click = "document.querySelectorAll('#reports th button')[{}].click()"
    state = "document.querySelectorAll('#reports th')[{}].getAttribute('aria-sort')"
    for direction, order in (
        ("ascending", ["built-step2", "built-step10", "built", "built-step100", "alone"]),
        ("descending", ["built", "built-step100", "built-step10", "built-step2", "alone"]),  # none has no place
        (None, listed),
    ):
        browser.run(click.format(1))
        assert browser.run(SHOWN) == order
        assert browser.run(state.format(1)) == direction
    browser.run(click.format(1))
    browser.run(click.format(0))
    assert browser.run(SHOWN) == listed, "by name, numbers as numbers"
    assert browser.run(state.format(1)) is None


def test_the_keyboard_does_it_all(out: Path, browser: Any) -> None:
    browser.open(out / "index.html")
    assert browser.run("document.body.tabIndex") == -1
    for _ in range(4):  # search, probe, two headings
        browser.press("Tab")
    assert browser.run("document.activeElement.textContent") == "Step"
    assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid", "one sees where one is"
    browser.press("Enter", "\r")
    assert browser.run(SHOWN)[0] == "built-step2"
    for _ in range(4):
        browser.press("Tab")
    assert browser.run("document.activeElement.getAttribute('href')").endswith("/report.html")


def test_search_shows_the_rows_that_hold_every_word(out: Path, browser: Any) -> None:
    browser.open(out / "index.html")
    search = "search.value = '{}'; search.dispatchEvent(new Event('input'))"
    browser.run(search.format("STEP10 answer"))
    assert browser.run(SHOWN) == ["built-step10", "built-step100"]
    assert browser.run("document.getElementById('shown').textContent") == "2 of 5"
    browser.run(search.format("nothing like that"))
    assert browser.run(SHOWN) == []
    browser.run(search.format(""))
    browser.run("probe.value = 'mean-answer'; probe.dispatchEvent(new Event('change'))")
    assert len(browser.run(SHOWN)) == 5
    browser.run("probe.value = ''; probe.dispatchEvent(new Event('change'))")
    browser.run("sort.value = '4'; sort.dispatchEvent(new Event('change'))")
    assert browser.run(SHOWN) != ["alone", "built", *STEPS]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_it_fits_a_phone_and_is_readable_by_night(out: Path, browser: Any, width: int, scheme: str) -> None:
    browser.open(out / "index.html", width, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert len(browser.run(SHOWN)) == 5
    phone = width == 390
    assert browser.run("getComputedStyle(document.querySelector('thead')).display !== 'none'") is not phone
    assert browser.run("getComputedStyle(document.getElementById('sort')).display !== 'none'") is phone
    for place in ("td.verdict", "td.number", "#reports a", "header .soft", "footer"):
        ink, paper = f"document.querySelector('{place}')).color", "document.documentElement).backgroundColor"
        words = [browser.run(f"getComputedStyle({of}") for of in (ink, paper)]
        colours = [[int(part) for part in re.findall(r"\d+", word)[:3]] for word in words]
        assert contrast(*colours) >= 4.5, (place, colours)


def contrast(one: list[int], other: list[int]) -> float:
    """Of two colours, by WCAG 2."""

    def luminance(colour: list[int]) -> float:
        parts = (part / 255 for part in colour)
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_links_lead_to_the_reports(out: Path, browser: Any) -> None:
    browser.open(out / "index.html")
    links = browser.run("[...document.querySelectorAll('#reports a')].map(a => a.href)")
    pages = [(out / row.folder / "report.html").resolve().as_uri() for row in rows(out)]
    assert links == pages
    assert browser.complaints == []


HOSTILE = [
    "<script>document.title = 'run'</script>",
    '"><img src=x onerror="document.title=1">',
    "</td></table><h1>x</h1>",
    "{{ 7 * 7 }}",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
]


class Structure(HTMLParser):
    """The tags of a page and their attributes, without what these say."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[str]]] = []
        self.links: list[str | None] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, sorted(name for name, _ in attrs)))
        self.links += [value for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("payload", HOSTILE)
def test_names_are_inert(payload: str, tmp_path: Path) -> None:
    plain = [Row("a/b/c", "model", probe="probe", verdict="words", checkpoints=1), Row("d", problem="damaged")]
    hostile = [
        replace(plain[0], folder=f"{payload}/b/c", checkpoint=payload, probe=payload, verdict=payload, key=payload),
        replace(plain[1], folder=payload, problem=payload),
    ]
    for row in (plain[0], hostile[0]):
        (tmp_path / row.folder).mkdir(parents=True)
        (tmp_path / row.folder / "report.html").touch()
    expected, found = (Structure(index_page.index_page(given, tmp_path)) for given in (plain, hostile))
    assert found.tags == expected.tags
    assert found.text.count(payload) == 7
    assert all(link.startswith("./") for link in found.links if link)


def test_only_its_own_script_may_run_and_nothing_is_fetched(out: Path) -> None:
    text = (out / "index.html").read_text()
    (script,) = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    policy = html.unescape(policy)
    assert policy.startswith("default-src 'none';")
    assert f"script-src 'sha256-{digest}';" in policy
    assert not re.search(r"(src|href)=\"?(https?:)?//", text)
    assert "innerHTML" not in script


def test_the_same_reports_give_the_same_bytes(out: Path, tmp_path: Path) -> None:
    before = (out / "index.html").read_bytes()
    write_index(out)
    assert (out / "index.html").read_bytes() == before
    shutil.copytree(out, tmp_path / "copied" / "elsewhere")
    (tmp_path / "copied" / "elsewhere" / "index.html").unlink()
    assert write_index(tmp_path / "copied" / "elsewhere").read_bytes() == before


def test_damaged_and_edited_reports_are_named(out: Path) -> None:
    first, second = (out / row.folder / "report.json" for row in rows(out)[:2])
    first.write_text("{")
    second.write_text(second.read_text().replace("mean answer is", "mean answer surely is"))
    page = Structure(write_index(out).read_text())
    assert "Not readable" in page.text
    assert "report.json: damaged" in page.text
    assert page.text.count("changed after mesascope wrote it") == 1
    assert "mean answer surely is" in page.text


def test_a_page_of_somebody_else_is_left_alone(out: Path) -> None:
    (out / "index.html").write_text("<h1>mine</h1>")
    with pytest.raises(UsageError, match="not written by mesascope"):
        write_index(out)
    assert (out / "index.html").read_text() == "<h1>mine</h1>"


def test_a_full_disk_leaves_the_page_as_it_was(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    before = (out / "index.html").read_bytes()
    monkeypatch.setattr(saving, "_flush", full)
    write_index(out)  # the page says everything already
    shutil.rmtree(next(out.glob("*/*/*/")))
    with pytest.raises(UsageError, match=r"index.html: cannot be written \(No space left on device\)"):
        write_index(out)
    assert (out / "index.html").read_bytes() == before
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_a_folder_in_its_place_is_one_line(out: Path) -> None:
    (out / "index.html").unlink()
    (out / "index.html").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write_index(out)


def test_a_report_that_comes_meanwhile_is_on_the_page(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another run saves a report between this one's look at the folder and its writing of the page."""
    late = out / rows(out)[0].folder
    shutil.move(late, out.parent / "kept")

    def meanwhile(folder: Path) -> list[Row]:
        found = rows(folder)
        if not late.exists():
            shutil.move(out.parent / "kept", late)
        return found

    monkeypatch.setattr(index_page, "rows", meanwhile)
    assert "alone" in write_index(out).read_text()


def test_what_a_kill_left_of_the_page_is_cleared_away(out: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    leftover = out / f".mesascope-new-{saving._host()}-{ended.pid}-00000000-index.html"
    leftover.write_text("half")
    saving.clear_leftovers(out)
    assert not leftover.exists()
