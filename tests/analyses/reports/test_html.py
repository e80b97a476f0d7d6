"""The page: self-contained, inert whatever the names are, and small."""

from __future__ import annotations

import base64
import csv
import hashlib
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
    """Tags, attributes and text that is seen, as a browser would read them."""

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
        if self.lasttag not in {"script", "style"}:
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
        payload + "5": Measure(
            np.zeros((2, 2, 9)), payload, (np.zeros((2, 2, 9)), np.ones((2, 2, 9))), payload, 1,
            axes=("layer", "head", payload), coords={payload: tuple(range(9))}, message=payload,
            nulls={payload: np.zeros((3, 2, 2, 9))},
        ),
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
            citations=(payload,), badge=payload,
        ),
        measures=measures | {"by_head": report.measures["by_head"]},
        heads={"L0H0": payload, "L0H1": "none", payload: payload},
    )  # fmt: skip


@pytest.mark.parametrize("payload", PAYLOADS)
def test_names_are_inert_wherever_they_stand(mean_answer: Any, make_subject: Any, tmp_path: Path, payload: str) -> None:
    report = hostile(run(make_subject(), mean_answer()), payload)
    folder = report.save(tmp_path / "out", figures="none")
    harmless = hostile(run(make_subject(), mean_answer()), "name")
    page = Page((folder / "report.html").read_bytes().decode())
    assert page.structure == Page(html.page(harmless, [])).structure
    blocks = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [attributes.get("type") for attributes in blocks] == ["application/json", None]
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
    text = (folder / "report.html").read_text()
    page = Page(text)
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1
    assert all(image and image.startswith("data:image/png;base64,") for image in images)
    assert not [tag for tag, _ in page.tags if tag in {"link", "iframe", "object"}]
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    places = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert links
    assert all(link.removeprefix("#") in places for link in links)
    assert "url(" not in text


def policy(page: Page) -> str:
    (found,) = [a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    return found or ""


def test_the_policy_allows_one_script_and_by_its_digest_alone(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    text = html.page(report, [])
    (script,) = re.findall(r"<script>(.*?)</script>", text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy(Page(text)) == (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}';"
        " base-uri 'none'; form-action 'none'"
    )
    without = replace(report, measures={"answer": report.measures["answer"]}, heads={})
    assert "script-src" not in policy(Page(html.page(without, [])))
    assert "<script" not in html.page(without, [])


def test_the_claim_comes_first_and_everything_is_said(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    report = run(make_subject(), mean_answer())
    text = Page((report.save(tmp_path, figures="none") / "report.html").read_text()).text
    places = [
        text.index(words)
        for words in (
            report.claim.found, "one checkpoint", report.claim.limits[0], "L0H0, L0H1, L1H0", "label", "0.1201",
            "Undefined: nothing to divide by", "by_scale", report.claim.methods, "Reproduce this report",
            report.sources[0]["weights_sha256"], "n_tasks", "environment.packages.torch",
        )
    ]  # fmt: skip
    assert places == sorted(places)


def test_a_family_says_of_which_step_its_numbers_are(mean_answer: Any, seeds: Any, tmp_path: Path) -> None:
    answer = run_family(seeds, mean_answer())
    assert isinstance(answer, tuple)
    text = Page((answer[1].save(tmp_path, figures="none") / "report.html").read_text()).text
    assert "Measures at step 20" in text
    assert "6 checkpoints, training seeds 0, 1, 2, step 20, the last of 2" in text
    assert all(member["label"] in text for member in answer[1].members)


def test_the_page_stays_below_three_megabytes(
    mean_answer: Any, make_subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"figure{n}" for n in range(9)]
    for name in names:
        (tmp_path / f"{name}.png").write_bytes(bytes(600_000))
    monkeypatch.setattr(html, "caption", lambda report, name: f"What {name} shows.")
    text = html.page(run(make_subject(), mean_answer()), [tmp_path / f"{name}.png" for name in names])
    assert 2_400_000 < len(text.encode()) <= 3_000_000
    page = Page(text)
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert [image["alt"] for image in images] == [f"Figure{n}. What figure{n} shows." for n in range(3)]
    assert "Left out to keep this page small (see the folder figures): figure3, figure4" in page.text


def test_what_is_left_for_figures_is_what_the_rest_does_not_take(
    mean_answer: Any, make_subject: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = run(make_subject(), mean_answer())
    monkeypatch.setattr(html, "caption", lambda report, name: "What it shows.")
    (tmp_path / "figure.png").write_bytes(bytes(1_200_000))
    assert "<img" in html.page(report, [tmp_path / "figure.png"])
    long = replace(report, claim=replace(report.claim, methods="word " * 300_000))
    text = html.page(long, [tmp_path / "figure.png"])
    assert "<img" not in text
    assert len(text.encode()) <= 3_000_000


def with_measure(report: Report, measure: Measure) -> str:
    return html.page(replace(report, measures={"curve": measure}, heads={}), [])


def test_large_measures_are_left_to_the_csv(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    many = np.zeros(html.MOST_CELLS + 1)
    curve = Measure(many, "u", (many, many), "none", 0, axes=("t",), no_nulls="none")
    assert "401 numbers. All are in measures.csv." in " ".join(Page(with_measure(report, curve)).text.split())


def test_sixty_four_numbers_along_four_axes_are_printed(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    values = np.arange(64.0).reshape(2, 4, 2, 4) / 100
    axes = ("earlier_layer", "earlier_head", "layer", "head")
    measure = Measure(values, "ratio", (values - 1, values + 1), "task", 9, axes=axes, no_nulls="none")
    text = " ".join(Page(with_measure(report, measure)).text.split())
    assert "earlier layer 1, earlier head 3" in text
    assert "layer ↓ head →" in text
    for value in values.ravel():
        assert f"{value:.4g} [" in text
    assert "0.63 [−0.37, 1.63]" in text


def test_a_null_of_one_sample_has_neither_spread_nor_p(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    answer = replace(report.measures["answer"], nulls={"shuffled": np.array([0.25])})
    text = Page(html.page(replace(report, measures={"answer": answer}), [])).text
    assert "shuffled 0.25" in " ".join(text.split())
    assert "± nan" not in text
    assert "p =" not in text


def test_p_at_the_floor_of_its_draws_says_so(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    answer = replace(report.measures["answer"], values=np.asarray(9.0), nulls={"shuffled": np.linspace(-1, 1, 8)})
    text = " ".join(Page(html.page(replace(report, measures={"answer": answer}), [])).text.split())
    assert "p ≤ 1/9 (8 draws)" in text
    nearer = replace(answer, values=np.asarray(0.9))
    text = " ".join(Page(html.page(replace(report, measures={"answer": nearer}), [])).text.split())
    assert "p ≤" not in text
    assert "p = 0.44" in text  # 3 of 8 are at least as far from the mean of all nine


def test_the_headline_is_the_badge_or_the_first_sentence(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    found = replace(report.claim, found="The mean is 0.5 (95 % CI 0.4 to 0.6). And more.")
    assert '<strong class="badge">The mean is 0.5 (95 % CI 0.4 to 0.6).</strong>' in html.page(
        replace(report, claim=found), []
    )
    short = replace(found, badge="Half")
    assert '<strong class="badge">Half</strong>' in html.page(replace(report, claim=short), [])


def test_a_notebook_shows_the_finding(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(), mean_answer())
    shown = Page(report._repr_html_()).text
    for words in (report.claim.found, "loss", "0.1201", "normal"):
        assert words in shown
