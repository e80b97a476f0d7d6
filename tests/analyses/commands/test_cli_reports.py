"""Commands that read reports: show, verify, compare and figures, from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mesascope.analyses.commands import cli

pytestmark = pytest.mark.usefixtures("toy")
RUN = ["--figures", "none"]


def reports(folder: str = "reports") -> list[Path]:
    return sorted(path.parent for path in Path(folder).rglob("report.json"))


def test_a_report_can_be_shown_verified_and_compared(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = checkpoint("a"), checkpoint("b", rate=2.0)
    assert cli.main(["run", a, *RUN]) == 0
    assert cli.main(["run", b, *RUN, "--probe-args", "scale=3"]) == 0
    capsys.readouterr()
    assert cli.main(["show", "reports/a"]) == 0
    assert "toy_measure" in capsys.readouterr().out
    assert cli.main(["show", "reports/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["toy_measure"]["ci_low"] == 0.0
    assert cli.main(["verify", "reports"]) == 2
    assert "holds 2 reports; name one" in capsys.readouterr().err
    assert cli.main(["compare", "reports/a", "reports/b"]) == 0
    assert "toy_measure" in capsys.readouterr().out
    assert cli.main(["compare", "reports/a", "reports/b", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["report_a"], row["report_b"], row["difference"]) == ("a", "b", 2.0)
    assert cli.main(["verify", "reports/a"]) == 0
    assert "bit-identical" in capsys.readouterr().out
    assert cli.main(["verify", "reports/a", "--weights", "b.safetensors"]) == 1
    assert "weights differ" in capsys.readouterr().out


def test_a_number_that_was_edited_is_found_and_named(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    path = reports()[0] / "report.json"
    text = path.read_text()
    assert text.count('"values": 1.0') == 1
    path.write_text(text.replace('"values": 1.0', '"values": 1.25'))
    capsys.readouterr()
    assert cli.main(["verify", "reports", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "differs"
    assert any("toy_measure" in difference for difference in found["differences"])


def edit_a_number(label: str = "model") -> None:
    (path,) = Path("reports", label).rglob("report.json")
    text = path.read_text()
    assert text.count('"values": 1.0') == 1
    path.write_text(text.replace('"values": 1.0', '"values": 1.25'))


CHANGED = "report.json was changed after mesascope wrote it"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["show", "reports/a"], 0),
        (["show", "reports/a", "--json"], 0),
        (["verify", "reports/a"], 1),
        (["compare", "reports/b", "reports/a"], 0),
        (["figures", "reports/a", "--formats", "png"], 0),
    ],
)
def test_every_command_that_reads_a_report_says_that_it_was_edited(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], words: list[str], code: int
) -> None:
    for name in ("a", "b"):
        assert cli.main(["run", checkpoint(name), *RUN, "--force"]) == 0
    capsys.readouterr()
    assert cli.main(words) in (0, code)
    assert CHANGED not in capsys.readouterr().err, "before the edit"
    edit_a_number("a")
    assert cli.main(words) == code
    out, err = capsys.readouterr()
    assert err.startswith("mesascope: warning: reports/a/toy/")
    assert (err.count("\n"), err.count(CHANGED)) == (1, 1)
    assert "`mesascope verify`" in err
    if words[0] == "show":
        assert "1.25" in out, "it is shown all the same"
        assert json.loads(out)["edited"] == ["report.json"] if "--json" in words else "changed after" in out


def test_an_edited_report_is_not_found_again_but_measured(
    checkpoint: Callable[..., str], toy: type, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = checkpoint("a"), checkpoint("b", rate=2.0)
    assert cli.main(["run", a, b, *RUN]) == 0
    assert toy.runs == ["a", "b"]
    edit_a_number("a")
    capsys.readouterr()
    assert cli.main(["run", a, b, *RUN, "--dry-run", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [row["finished"] is None for row in json.loads(out)["would_run"]] == [True, False]
    assert cli.main(["run", a, b, *RUN, "-q"]) == 0
    err = capsys.readouterr().err
    assert "mesascope: warning: measuring again instead of reusing what is there: reports/a/toy/" in err
    assert (err.count("\n"), err.count(CHANGED)) == (1, 1)
    assert toy.runs == ["a", "b", "a"]
    assert cli.main(["run", a, b, *RUN, "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert toy.runs == ["a", "b", "a"]


@pytest.mark.parametrize("harm", ["mesascope-report-2", "no arrays"])
def test_a_damaged_report_or_one_of_another_format_is_measured_again(
    checkpoint: Callable[..., str], toy: type, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    name = checkpoint()
    assert cli.main(["run", name, *RUN]) == 0
    (folder,) = reports()
    if harm == "no arrays":
        (folder / "arrays.safetensors").unlink()
    else:
        text = (folder / "report.json").read_text()
        (folder / "report.json").write_text(text.replace("mesascope-report-3", harm))
    capsys.readouterr()
    assert cli.main(["run", name, *RUN]) == 0
    assert "warning: measuring again instead of reusing what is there" in capsys.readouterr().err
    assert toy.runs == ["model"] * 2
    assert cli.main(["show", str(folder)]) == 0


def test_show_lists_the_reports_of_a_folder(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    names = [checkpoint(f"m{rate}", rate=rate) for rate in (10, 2)]
    assert cli.main(["run", *names, *RUN, "-q"]) == 0
    assert "index.html" not in capsys.readouterr().out
    assert cli.main(["show", "reports"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = [line for line in out.splitlines() if "the toy found it" in line]
    assert [line.split()[0] for line in lines] == ["m10+m2", "m2", "m10"]
    assert [line.startswith("   m") for line in lines] == [False, True, True]
    assert "`mesascope show reports/CHECKPOINT/PROBE`" in out
    assert cli.main(["show", "reports", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["checkpoint"] for row in found] == ["m10+m2", "m2", "m10"]
    assert {row["member_of"] for row in found} == {None, found[0]["folder"]}


def test_the_list_goes_on_where_a_report_cannot_be_read(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abc":
        assert cli.main(["run", checkpoint(name), *RUN, "-q"]) == 0
    (a,), (b,) = (list(Path("reports", name).rglob("report.json")) for name in "ab")
    a.write_text(a.read_text().replace("mesascope-report-3", "mesascope-report-2"))
    edit_a_number("b")
    capsys.readouterr()
    assert cli.main(["show", "reports"]) == 1
    out, err = capsys.readouterr()
    assert "2 reports in reports" in out
    assert "changed after mesascope wrote it. the toy found it" in out
    assert "its format is 'mesascope-report-2'" in " ".join(out.split())
    assert err.splitlines() == [
        f"mesascope: warning: {b.parent}: report.json was changed after mesascope wrote it",
        "mesascope: error: 1 of the 3 reports in reports cannot be read; the list says why",
    ]
    assert cli.main(["show", "reports", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [row["problem"] is None for row in found] == [True, True, False]


def test_two_reports_of_one_name_are_told_apart_by_their_keys(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    name = checkpoint()
    assert cli.main(["run", name, *RUN, "-q"]) == 0
    assert cli.main(["run", name, *RUN, "-q", "--seed", "1"]) == 0
    capsys.readouterr()
    assert cli.main(["show", "reports"]) == 0
    out = capsys.readouterr().out
    assert all(folder.name in out for folder in reports())


def test_a_run_keeps_the_page_over_all_reports(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint("a"), *RUN]) == 0
    assert "All reports in reports: reports/index.html" in capsys.readouterr().out
    first = Path("reports/index.html").read_text()
    assert cli.main(["run", checkpoint("b"), *RUN, "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["index"] == "reports/index.html"
    assert err == ""
    second = Path("reports/index.html").read_text()
    assert (first.count("the toy found it"), second.count("the toy found it")) == (1, 2)
    assert cli.main(["run", "a.safetensors", *RUN, "-q"]) == 0
    assert Path("reports/index.html").read_text() == second
    Path("reports/index.html").write_text("mine")
    assert cli.main(["run", "a.safetensors", *RUN, "-q"]) == 0
    assert "index.html: not written by mesascope, so it was left as it is" in capsys.readouterr().err
    assert Path("reports/index.html").read_text() == "mine"


def test_figures_are_drawn_from_a_saved_report(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    capsys.readouterr()
    assert cli.main(["figures", "reports", "--formats", "png", "--style", "icml"]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.split()]
    assert {path.suffix for path in drawn} == {".png", ".csv", ".txt", ".tex"}
    assert all(path.is_file() and path.parts[0] == "model-icml" for path in drawn)  # the report stays as it is
    assert cli.main(["figures", "reports", "--style", "icmll", "-o", "elsewhere"]) == 2
    assert "did you mean icml" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("command", ["show", "compare", "show all"])
def test_reading_reports_needs_no_torch(checkpoint: Callable[..., str], command: str) -> None:
    for name in ("a", "b"):
        assert cli.main(["run", checkpoint(name, rate=ord(name)), *RUN]) == 0
    code = (
        "import sys; from mesascope.analyses.commands.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'pydantic'} & set(sys.modules); sys.exit(code)"
    )
    given = {"show": ["reports/a"], "compare": ["reports/a", "reports/b"], "show all": ["reports"]}[command]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, command.split()[0], *given], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def drawn(label: str) -> set[str]:
    (folder,) = Path("reports").glob(f"{label}/toy/*")
    return {path.suffix for path in (folder / "figures").glob("*")}


PICTURE, ALL = {".png", ".csv", ".txt", ".tex"}, {".pdf", ".svg", ".png", ".csv", ".txt", ".tex"}


def test_members_of_a_family_get_pictures_until_more_is_asked_for(checkpoint: Callable[..., str]) -> None:
    a, b = checkpoint("a"), checkpoint("b", rate=2.0)
    assert cli.main(["run", a, b, "-q"]) == 0
    assert (drawn("a"), drawn("b"), drawn("a-b-*")) == (PICTURE, PICTURE, ALL)
    assert cli.main(["verify", "reports/a", "-q"]) == 0
    assert cli.main(["run", b, "-q"]) == 0
    assert (drawn("a"), drawn("b")) == (PICTURE, ALL)
    assert cli.main(["run", a, b, "-q"]) == 0
    assert drawn("b") == ALL
    assert cli.main(["figures", "reports/a", "-o", "rest"]) == 0
    assert {path.suffix for path in Path("rest/figures").glob("*")} == ALL


@pytest.mark.parametrize(("kind", "expected"), [("none", set()), ("png", PICTURE)])
def test_other_kinds_of_figures_are_the_same_for_a_family_and_its_members(
    checkpoint: Callable[..., str], kind: str, expected: set[str]
) -> None:
    assert cli.main(["run", checkpoint("a"), checkpoint("b", rate=2.0), "-q", "--figures", kind]) == 0
    assert (drawn("a"), drawn("b"), drawn("a-b-*")) == (expected, expected, expected)
