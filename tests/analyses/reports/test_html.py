"""The page: self-contained, inert whatever the names are, and small."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import html
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure

PAYLOADS = [
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    '" style="background:url(//evil)" x="',
    "<a href='javascript:alert(1)'>x</a>",
    "<iframe src=//evil></iframe>",
    "<base href=//evil>",
    "<meta http-equiv=refresh content='0;url=//evil'>",
    "</style><style>@import '//evil'",
    "</title><script>1</script>",
    "-->",
    "{{ 7 * 7 }}{% for x in y %}",
    "&lt;script&gt;",
    '=HYPERLINK("//evil")',
    "\\input{/etc/passwd}",
    "\x1b]8;;//evil\x07link",
    "\u202egpj.exe",
    "a\nb\rc\td",
    "[x](javascript:alert(1))|`x`",
]


class Page(HTMLParser):
    """Tags, attributes and text, as a browser would read them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    @property
    def structure(self) -> list[tuple[str, list[str]]]:
        return [(tag, sorted(attributes)) for tag, attributes in self.tags]

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(report: Report, payload: str) -> Report:
    """The payload in every field that is text, names included."""
    like = report.measures["answer"]
    low, high = like.interval
    measures = {
        payload: replace(
            like, unit=payload, replicate=payload, message=payload, nulls={payload: like.nulls["normal"]}
        ),
        payload + "1": Measure(
            np.zeros(2), payload, (np.zeros(2), np.ones(2)), payload, 1, axes=(payload,), message=payload,
            coords={payload: (payload, "b")}, no_nulls=payload,
        ),
        payload + "2": Measure(
            np.zeros((1, 1)), payload, (np.zeros((1, 1)), np.ones((1, 1))), payload, 1, axes=("layer", payload),
            coords={payload: (payload,)}, no_nulls=payload,
        ),
        payload + "3": replace(report.measures["absent"], unit=payload, message=payload, no_nulls=payload),
        payload + "4": replace(like, nulls={}, no_nulls=payload, interval=(low, high)),
    }  # fmt: skip
    source = {
        **report.sources[0], "name": payload, "revision": payload, "path": payload, "layout": payload,
        "weights_sha256": payload, "notes": [payload], "facts": {payload: payload}, "record": {payload: [payload]},
    }  # fmt: skip
    environment = {
        **report.provenance["environment"],
        payload: payload,
        "packages": {payload: payload, "mesascope": "1"},
    }
    return replace(
        report,
        probe_version=payload,
        settings={payload: payload, "list": [payload]},
        sources=(source,),
        provenance={
            **report.provenance, "command": payload, "python": payload, "verification": payload,
            "environment": environment,
        },
        recipes={payload: {payload: payload}},
        claim=replace(
            report.claim, found=payload, rival=payload, evidence=payload, limits=(payload,), methods=payload,
            citations=(payload,),
        ),
        measures=measures,
    )  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_are_inert_wherever_they_stand(mean_answer: Any, make_subject: Any, tmp_path: Path, payload: str) -> None:
    report = hostile(run(make_subject(), mean_answer()), payload)
    folder = report.save(tmp_path / "out", figures="none")
    harmless = hostile(run(make_subject(), mean_answer()), "name")
    page = Page((folder / "report.html").read_bytes().decode())
    assert page.structure == Page(html.page(harmless, [])).structure
    assert page.text.count(payload) > 20  # it is shown, as text
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    json.loads((folder / "report.json").read_text(encoding="ascii"))
    table = io.StringIO((folder / "measures.csv").read_bytes().decode(), newline="")
    cells = [cell for row in csv.reader(table) for cell in row]
    texts = [cell for cell in cells if not re.fullmatch(r"-?[0-9.e+-]+", cell)]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert Page(report._repr_html_()).structure == Page(harmless._repr_html_()).structure


def test_the_page_needs_nothing_from_outside(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    folder = run(make_subject(), mean_answer()).save(tmp_path, figures="png")
    page = Page((folder / "report.html").read_text())
    policies = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies
    assert policies[0]
    assert policies[0].startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1
    assert all(image and image.startswith("data:image/png;base64,") for image in images)
    assert not [tag for tag, _ in page.tags if tag in {"script", "link", "a", "iframe", "object"}]
    assert "url(" not in (folder / "report.html").read_text()


def test_the_claim_comes_first_and_everything_is_said(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    report = run(make_subject(), mean_answer())
    text = Page((report.save(tmp_path, figures="none") / "report.html").read_text()).text
    places = [
        text.index(words)
        for words in (
            report.claim.found, report.claim.limits[0], "L0H0, L0H1, L1H0", "Measures", "0.1201",
            "Undefined: nothing to divide by",
            "by_head", report.claim.methods, "Reproduce this report",
            report.sources[0]["weights_sha256"], "n_tasks", "environment.packages.torch",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_family_says_of_which_step_its_numbers_are(mean_answer: Any, seeds: Any, tmp_path: Path) -> None:
    answer = run_family(seeds, mean_answer())
    assert isinstance(answer, tuple)
    text = Page((answer[1].save(tmp_path, figures="none") / "report.html").read_text()).text
    assert "Measures at step 20" in text
    assert "6 checkpoints" in text
    assert all(member["label"] in text for member in answer[1].members)


def test_the_page_stays_below_five_megabytes(
    mean_answer: Any, make_subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"figure{n}" for n in range(9)]
    for name in names:
        (tmp_path / f"{name}.png").write_bytes(bytes(600_000))
    monkeypatch.setattr(html, "figures_of", lambda probe: dict.fromkeys(names, html.page))
    text = html.page(run(make_subject(), mean_answer()), [tmp_path / f"{name}.png" for name in names])
    assert len(text.encode()) < 5_000_000
    page = Page(text)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 5
    assert "Left out to keep this page small (see the folder figures): figure5, figure6, figure7, figure8." in page.text


def test_large_measures_are_left_to_the_csv(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    many = np.zeros(html.MOST_ROWS + 1)
    curve = Measure(many, "u", (many, many), "none", 0, axes=("t",), no_nulls="none")
    text = Page(html.page(replace(report, measures={"curve": curve}), [])).text
    assert "Too large for this page" in text


def test_a_null_of_one_sample_has_neither_spread_nor_p(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    answer = replace(report.measures["answer"], nulls={"shuffled": np.array([0.25])})
    text = Page(html.page(replace(report, measures={"answer": answer}), [])).text
    assert "shuffled 0.25" in " ".join(text.split())
    assert "± nan" not in text
    assert "p =" not in text


def test_a_notebook_shows_the_finding(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    shown = Page(report._repr_html_()).text
    for words in (report.claim.found, "loss", "0.1201", "normal"):
        assert words in shown
