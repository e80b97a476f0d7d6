"""The user's list: names, reports of induction-heads, and refusals in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mesascope.data.errors import UsageError
from mesascope.probes.few_shot_heads.given import given_digest, given_heads

from .subjects import subject_of

REPORT: dict[str, Any] = {
    "probe": "induction-heads",
    "label": "mine-step4",
    "heads": {"L0H0": "previous-token", "L1H0": "induction", "L1H3": "induction", "L1H1": "anti-induction"},
    "sources": [{"weights_sha256": "abc"}],
}


def saved(folder: Path, **changes: Any) -> Path:
    (folder / "report.json").write_text(json.dumps(REPORT | changes))
    return folder


def test_names_are_read_in_their_order_and_once() -> None:
    found = given_heads("L1H3, L0H1,L1H3")
    assert found.heads == ((1, 3), (0, 1))
    assert found.note(subject_of("gpt2")) == "named by the user"
    assert given_digest("L1H3") == {}


@pytest.mark.parametrize("form", ["folder", "file"])
def test_a_report_gives_its_induction_heads(form: str, tmp_path: Path) -> None:
    folder = saved(tmp_path)
    found = given_heads(str(folder if form == "folder" else folder / "report.json"))
    assert found.heads == ((1, 0), (1, 3))
    assert "mine-step4" in found.source
    before = given_digest(str(folder))
    saved(tmp_path, label="another")
    assert given_digest(str(folder)) != before


def test_a_report_of_other_weights_is_said(tmp_path: Path) -> None:
    subject = subject_of("gpt2")
    own = subject.source.weights_sha256
    other = given_heads(str(saved(tmp_path)))
    assert own is not None
    assert "other weights" in other.note(subject)
    same = given_heads(str(saved(tmp_path, sources=[{"weights_sha256": own}])))
    assert "other weights" not in same.note(subject)


def test_a_report_without_induction_heads_gives_none(tmp_path: Path) -> None:
    assert given_heads(str(saved(tmp_path, heads={"L0H0": "none"}))).heads == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"probe": "token-norms"}, "token-norms"),
        ({"heads": {}}, "several checkpoints"),
        ({"heads": {"first": "induction"}}, "damaged"),
    ],
)
def test_another_report_is_refused(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        given_heads(str(saved(tmp_path, **changes)))


@pytest.mark.parametrize("text", ["L1", "L1H2 L0H1", "no/such/folder", ""])
def test_what_is_no_list_and_no_file_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="L1H0,L1H2"):
        given_heads(text or " ")


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no report\.json"):
        given_heads(str(tmp_path))
    for text in ("[1]", "{"):
        (tmp_path / "report.json").write_text(text)
        with pytest.raises(UsageError, match="report"):
            given_heads(str(tmp_path))


def test_heads_that_the_model_lacks_are_refused() -> None:
    subject = subject_of("gpt2")
    given_heads("L1H3").check(subject)
    for name in ("L2H0", "L0H4"):
        with pytest.raises(UsageError, match=f"no head {name}; expected L0H0 to L1H3"):
            given_heads(name).check(subject)
