"""`--predictor FILE.py:function`: what it measures, when its file runs and when it never does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.commands import cli
from mesascope.analyses.commands.arguments import parse
from mesascope.analyses.commands.planning import Outcome, opened
from mesascope.analyses.commands.run_options import run_options
from mesascope.models.opening.catalogue import DECLARED, HUGGING_FACE, LAYOUTS, PREDICTOR_FILE
from mesascope.probes import PROBES, probe_class
from mesascope.probes.icl_algorithm import contest
from mesascope.probes.icl_algorithm import probe as icl_probe
from mesascope.probes.regression import nulls
from mesascope.probes.regression.probe import RegressionProbe

TEXT = """
from pathlib import Path
import torch
from torch import nn
Path(__file__).with_name("ran").write_text("x")

def gd(tokens):
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    return torch.einsum("td,tnd,tn->t", query, x, y) / x.shape[1]

def least_squares(tokens):
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1:], tokens[:, -1, :-1]
    return (query[:, None] @ torch.linalg.pinv(x) @ y)[:, 0, 0]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.rate = nn.Parameter(torch.tensor([0.5]))
    def forward(self, tokens):
        return self.rate * gd(tokens)

net = Net()

def failing(tokens):
    raise ValueError("not today")

def nan(tokens):
    return tokens[:, -1, 0] * torch.nan

def endless(tokens):
    import time
    Path(__file__).with_name("asked").write_text("x")
    time.sleep(60)
"""
RUN = ["run", "--figures", "none", "--d-in", "3", "--predictor"]


@pytest.fixture(autouse=True)
def file(mean_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in the folder that everything happens in; sources as they were committed."""
    for place in ("reports.provenance", "runs.running"):
        clean = {"commit": "c" * 40, "dirty": False}
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda clean=clean: clean)
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(TEXT)
    return Path("mine.py")


def measured(function: str = "gd", *words: str) -> Path:
    """The folder of a new report, made by a probe that takes no time."""
    assert cli.main([*RUN, f"mine.py:{function}", "-p", "mean-answer", *words]) == 0
    Path("ran").unlink(missing_ok=True)
    (path,) = Path("reports").rglob("report.json")
    return path.parent


def refusal(capsys: pytest.CaptureFixture[str], *words: str, code: int = 2) -> str:
    assert cli.main(words) == code
    error = capsys.readouterr().err
    assert error.startswith("mesascope: error: ")
    assert error.count("\n") == 1
    return error


def regression_probes() -> list[str]:
    return [name for name in PROBES if name != "mean-answer" and issubclass(probe_class(name), RegressionProbe)]


@pytest.mark.parametrize("probe", regression_probes())
def test_every_probe_of_regression_models(
    probe: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It measures functions and a module, or says why it cannot."""
    few = tuple(family for family in icl_probe.FAMILIES if family.name in ("gd", "min_norm", "zero"))
    monkeypatch.setattr(icl_probe, "FAMILIES", few)
    for room in (contest, nulls):
        monkeypatch.setattr(room, "SHUFFLES", 1)  # every rule is fitted to each of them again
    words = [*RUN[:3], "--d-in", "2", "-p", probe, "--json"]
    words += ["--limit", "24", "--n-context", "4"] if probe != "gd-certificate" else []  # which draws no tasks
    for function in ("gd", "least_squares", "net"):
        assert cli.main([*words, "--predictor", f"mine.py:{function}"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["failed"] == []
        (answer,) = [*found["reports"], *found["not_applicable"]]
        assert (answer["probe"], answer["label"]) == (probe, f"mine.{function}")
        if probe == "icl-algorithm":
            named = "gradient descent" if function != "least_squares" else "minimum-norm least squares"
            assert named in answer["claim"]["found"]
            assert any("the SHA-256 of mine.py" in limit for limit in answer["claim"]["limits"])


def test_a_finished_report_is_found_until_the_file_changes(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = measured()
    measured()
    assert "(found finished)" in capsys.readouterr().out
    assert cli.main([*RUN, "mine.py:gd", "-p", "mean-answer", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["would_run"][0]["finished"] == str(first)
    file.write_text(TEXT + "\n")
    assert cli.main([*RUN, "mine.py:gd", "-p", "mean-answer"]) == 0
    assert "(found finished)" not in capsys.readouterr().out
    assert len(list(Path("reports").rglob("report.json"))) == 2


def test_a_dry_run_says_what_would_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "mine.py:net", "--dry-run", "--time", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["probe"] for row in found["would_run"]} >= {"gd-alignment"}
    assert {row["probe"] for row in found["only_when_named"]} >= {"icl-algorithm"}
    assert {row["checkpoint"] for row in found["would_run"]} == {"mine.net"}
    assert not Path("reports").exists()


def test_options_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.toml").write_text('predictor = "mine.py:gd"\nd-in = 3\nprobe = "mean-answer"\nfigures = "none"\n')
    assert cli.main(["run", "--config", "run.toml", "--json"]) == 0
    assert [report["label"] for report in json.loads(capsys.readouterr().out)["reports"]] == ["mine.gd"]
    assert cli.main(["run", "--config", "run.toml", "--predictor", "mine.py:net", "--json"]) == 0
    assert [report["label"] for report in json.loads(capsys.readouterr().out)["reports"]] == ["mine.net"]


def test_widths_and_precision_are_those_that_are_given() -> None:
    for words, d_out, dtype in (([], 1, torch.float32), (["--d-out", "2", "--dtype", "float64"], 2, torch.float64)):
        (subject,) = opened(run_options(parse([*RUN, "mine.py:gd", *words])[1]), Outcome())
        assert isinstance(subject, models.Regressor)
        assert (subject.layout, subject.dtype) == (models.TokenLayout(3, d_out), dtype)


# -- when the file runs, and when it never does -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["show", "reports"],
        ["show", "reports", "--json"],
        ["compare", "REPORT", "REPORT"],
        ["export", "REPORT", "--to", "markdown"],
        ["figures", "REPORT", "--formats", "png"],
        ["list"],
        ["list", "layouts"],
        ["completion", "bash"],
    ],
)
def test_reading_a_report_runs_nothing(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    folder = measured()
    capsys.readouterr()
    cli.main([str(folder) if word == "REPORT" else word for word in words])
    assert not Path("ran").exists()


def test_verifying_runs_the_file_that_is_given_and_no_other(capsys: pytest.CaptureFixture[str], file: Path) -> None:
    folder = str(measured())
    message = refusal(capsys, "verify", folder)
    assert "this report is of a predictor, 'gd' of a file with SHA-256 " in message
    assert "--predictor FILE.py:gd" in message
    assert not Path("ran").exists()
    assert cli.main(["verify", folder, "--predictor", "mine.py:gd", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "bit-identical"
    Path("ran").unlink()
    file.write_text(TEXT + "\n")
    assert "the report was made with" in refusal(capsys, "verify", folder, "--predictor", "mine.py:gd")
    assert not Path("ran").exists()


@pytest.mark.parametrize("place", [{"path": "mine.py"}, {"path": "mine.py:gd"}, {"name": "mine.py", "path": None}])
def test_no_report_can_have_a_file_run(place: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever it says of a model, and wherever it says that this is."""
    folder = measured()
    record = json.loads((folder / "report.json").read_text())
    record["sources"][0] |= {"options": {"model_args": {}, "declaration": "mine.py"}, **place}
    record["label"] = record["sources"][0]["name"]
    shutil.copy("mine.py", "mine.toml")
    for layout in (*LAYOUTS, PREDICTOR_FILE, DECLARED, HUGGING_FACE, "mine.py", "mine.toml", "predictor", "in-memory"):
        record["sources"][0]["layout"] = layout
        (folder / "report.json").write_text(json.dumps(record))
        capsys.readouterr()
        assert cli.main(["verify", str(folder)]) in (2, 3)
        assert "mesascope: error: " in capsys.readouterr().err
        assert cli.main(["show", str(folder)]) == 0
        assert not Path("ran").exists()


@pytest.mark.parametrize("words", [["mine.py"], ["mine.py:gd"], ["./mine.py", "--layout", "mine.py"],
                                   ["lsa-1layer", "--layout", "mine.py"], ["lsa-1layer", "--model-config", "mine.py"],
                                   ["lsa-1layer", "-p", "gd-alignment", "--tasks", "mine.py"]])  # fmt: skip
def test_no_other_option_runs_a_file(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", *words]) in (1, 2, 3)
    assert not Path("ran").exists()


def test_code_as_a_model_is_refused_with_what_to_say(capsys: pytest.CaptureFixture[str]) -> None:
    for model in ("mine.py", "./mine.py", "mine.py:gd", "none.py:gd"):
        message = refusal(capsys, "run", model, code=3)
        assert f"{model}: Python code" in message
        assert "--predictor FILE.py:function --d-in N" in message


def test_the_refusal_of_an_unknown_state_dict_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"attention.weight": torch.ones(3, 3)}, "state.pt")
    message = refusal(capsys, "run", "state.pt", code=3)
    assert "--predictor FILE.py:function" in message
    assert "models.from_predictor" in message


# -- what cannot be ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["lsa-1layer", "--predictor", "mine.py:gd", "--d-in", "3"], "MODEL lsa-1layer and --predictor mine.py:gd"),
        (["--predictor", "mine.py:gd"], "--predictor without --d-in"),
        (["lsa-1layer", "--d-in", "3"], "--d-in without --predictor"),
        (["lsa-1layer", "--d-out", "3"], "--d-out without --predictor"),
        ([], "or a function of yours with --predictor FILE.py:function --d-in N"),
        (["--predictor", "mine.py:gd", "--d-in", "0"], "d_in = 0; expected a whole number of at least 1"),
        (["--predictor", "mine.py:gd", "--d-in", "x"], "expected a whole number"),
        (["--predictor", "mine.py:gd", "--d-in", "3", "--layout", "mesascope"], "--layout with --predictor"),
        (["--predictor", "mine.py:gd", "--d-in", "3", "--revision", "seed0"], "--revisions with --predictor"),
        (["--predictor", "mine.py:gd", "--d-in", "3", "--model-args", "a=1"], "--model-args with --predictor"),
        (["--predictor", "mine.py:gd", "--d-in", "3", "--model-config", "a"], "--model-config with --predictor"),
        (["--predictor", "mine.py:g", "--d-in", "3"], "has no 'g'; did you mean gd?"),
        (["--predictor", "none.py:gd", "--d-in", "3"], "none.py: no such file"),
        (["--predictor", "mine.py", "--d-in", "3"], "expected FILE.py:function"),
        (
            ["--predictor", "mine.py:failing", "--d-in", "3", "-p", "gd-alignment"],
            "ValueError: not today; it was given",
        ),
        (["--predictor", "mine.py:nan", "--d-in", "3", "-p", "gd-alignment"], "returned [nan] for task 0"),
    ],
)
def test_what_is_refused(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert told in refusal(capsys, "run", *words)
    assert not Path("reports").exists()


def test_the_arguments_are_refused_before_anything_is_imported() -> None:
    for words in (["--predictor", "none.py:gd", "--d-in", "3"], ["--predictor", "mine.py:gd"]):
        code = f"""if True:
            import sys
            from mesascope.analyses.commands.cli import main
            assert main(["run", *{words}]) == 2
            assert "torch" not in sys.modules
        """
        assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_ctrl_c_while_the_function_runs() -> None:
    """No half-written report is left, and no traceback shown."""
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    call = f"from mesascope.analyses.commands.cli import main; sys.exit(main({[*RUN, 'mine.py:endless']!r}))"
    with subprocess.Popen([sys.executable, "-c", f"{start}; {call}"], stderr=subprocess.PIPE, text=True) as running:
        while not Path("asked").exists():
            assert running.poll() is None
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGINT)
        assert running.communicate()[1].endswith("interrupted (Ctrl-C); no half-written report is left\n")
    assert running.returncode == 130
    assert not Path("reports").exists()


# -- how it is shown --------------------------------------------------------------------------------------------------


def test_the_digests_of_the_code_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    Path("helper.py").write_text("")
    Path("mine.py").write_text(TEXT + "import helper\n")
    for function in ("gd", "net"):
        shutil.rmtree("reports", ignore_errors=True)
        folder = measured(function)
        capsys.readouterr()
        assert cli.main(["show", str(folder)]) == 0
        shown, page = capsys.readouterr().out, (folder / "report.html").read_text()
        source = json.loads((folder / "report.json").read_text())["sources"][0]
        for digest in (source["facts"]["file_sha256"], *source["facts"]["beside_sha256"].values()):
            assert digest in shown
            assert page.count(digest) >= 2  # among the checkpoints, and in the configuration
        assert f"mine.py:{function}" in shown
        assert "helper.py: " in shown
        assert "code (SHA-256)" in shown
        assert ("weights (SHA-256)" in shown) == (function == "net")
        assert str(Path.cwd()) not in (folder / "report.json").read_text()
    assert "unknown: a wrapped predictor" not in page


def test_of_others_nothing_changes(make_subject: Any, mean_answer: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from mesascope.analyses.runs.running import run

    wrapped = models.from_predictor(lambda tokens: tokens[:, -1, 0], models.TokenLayout(3), "mine")
    for subject in (make_subject(), wrapped):
        folder = run(subject, mean_answer()).save("others", figures="none")
        page = (folder / "report.html").read_text()
        assert cli.main(["show", str(folder)]) == 0
        shown = capsys.readouterr().out
        assert "SHA-256 of the weights" in page
        assert "SHA-256 of the code" not in page
        assert "weights (SHA-256)" in shown
        assert "code (SHA-256)" not in shown
