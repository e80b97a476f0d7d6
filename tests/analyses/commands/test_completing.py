"""What a shell suggests: asked as click's own classes for shells ask, and as a shell does."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import BashComplete
from mesascope.analyses.commands import cli
from mesascope.analyses.commands.arguments import MESASCOPE
from mesascope.analyses.commands.completing import VARIABLE, answer
from mesascope.analyses.commands.suggesting import SHELLS
from mesascope.models import shipped
from mesascope.probes import PROBES


def suggested(line: str, kind: str = "plain") -> list[str]:
    """What goes on as the last word of a line does."""
    *words, typed = line.split(" ")
    items = BashComplete(MESASCOPE, {}, "mesascope", VARIABLE).get_completions(words, typed)
    return [item.value for item in items if item.type == kind]


def test_commands_and_their_options() -> None:
    assert suggested("") == list(MESASCOPE.commands)  # pyright: ignore[reportAttributeAccessIssue]
    assert suggested("ex") == ["export"]
    assert suggested("run m --batch") == ["--batch-size"]
    assert suggested("export r --o") == ["--output", "--offline"]


def test_models_are_shipped_names_and_files() -> None:
    assert suggested("run ") == list(shipped())
    assert suggested("run x.npz tiny") == ["tiny-grammar"]
    assert suggested("run lsa", "file") == ["lsa"]
    assert suggested("run lsa-1layer,lsa-1") == []  # a name may hold a comma
    assert suggested("list revisions tiny") == ["tiny-grammar"]


def test_probes_also_behind_a_comma() -> None:
    assert set(suggested("run m -p ")) >= {*PROBES, "all"}
    assert suggested("run m -p gd-a") == suggested("run m --probe gd-a") == ["gd-alignment"]
    assert suggested("run m -p gd-alignment,tok") == ["gd-alignment,token-norms"]


def test_the_settings_of_probes_are_options_of_run_alone() -> None:
    assert suggested("run m --tw") == ["--twin", "--twins"]
    assert "--compatibility-scores" in suggested("run m --comp")
    assert suggested("verify m --tw") == []
    assert suggested("run m --tasks my", "file") == ["my"]


def test_predictors_are_files() -> None:
    assert suggested("run --predictor my", "file") == suggested("verify r --predictor my", "file") == ["my"]


def test_revisions_are_those_of_the_model_before() -> None:
    assert suggested("run lsa-1layer --revision seed1-step10") == ["seed1-step100", "seed1-step1000"]
    assert suggested("run lsa-1layer --revision seed1,step50") == ["seed1,step500", "seed1,step5000"]
    assert suggested("run lsa-1layer --revision al") == ["all"]
    assert "seed1" not in suggested("run induction-2layer --revision se")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("list l", ["layouts"]),
        ("train induction-2", ["induction-2layer"]),
        ("reproduce von", ["von-oswald-2023"]),
        ("export r --to ", ["wandb", "markdown", "latex"]),
        ("figures r --formats pdf,p", ["pdf,pdf", "pdf,png"]),
        ("run m --layout von", ["von-oswald-haiku"]),
        ("completion ", list(SHELLS)),
        ("run m --seed ", []),
    ],
)
def test_other_words(line: str, found: list[str]) -> None:
    assert suggested(line) == found


@pytest.mark.parametrize("line", ["show rep", "export a rep", "compare rep", "verify rep", "run m -o rep"])
def test_reports_are_folders(line: str) -> None:
    assert suggested(line, "dir") == ["rep"]


def test_every_argument_that_takes_a_value_has_been_thought_of() -> None:
    """An argument without suggestions would not even get files."""
    for name, command in MESASCOPE.commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        for parameter in command.params:
            if isinstance(parameter, click.Argument):
                found = BashComplete(MESASCOPE, {}, "mesascope", VARIABLE).get_completions([name], "")
                assert found, name


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_asks_for_the_answers(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert f"{VARIABLE}={shell}_complete" in out
    program = shutil.which(shell)
    if program is not None:
        assert subprocess.run([program, "-n"], input=out, text=True, capture_output=True).returncode == 0


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "tcsh"]) == 2
    assert "completion: shell 'tcsh' is not known; " in capsys.readouterr().err


def test_a_line_that_cannot_be_says_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMP_WORDS", "mesascope nonsense ")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert answer("bash_complete") == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_itself_completes(tmp_path: Path) -> None:
    program = tmp_path / "mesascope"
    ask = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -c "{ask}" "$@"\n')
    program.chmod(0o755)
    typed = (
        "source <(mesascope completion bash); compopt() { :; }\n"
        "COMP_WORDS=(mesascope run tiny); COMP_CWORD=2\n"
        '_mesascope_completion mesascope; echo "${COMPREPLY[*]}"\n'
    )
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", typed], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == ("tiny-grammar", "")


def test_answers_need_no_torch() -> None:
    code = (
        "import sys; from mesascope.analyses.commands.cli import main; code = main();"
        "assert not {'torch', 'numpy', 'pandas', 'pydantic'} & set(sys.modules); sys.exit(code)"
    )
    for words in ("run lsa-1layer -p gd", "run lsa-1layer --revision seed", "train l", "export r --to "):
        place = {"COMP_WORDS": f"mesascope {words}", "COMP_CWORD": str(len(words.split(" ")))}
        done = subprocess.run(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, **place, VARIABLE: "bash_complete"},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, ""), words
        assert done.stdout
