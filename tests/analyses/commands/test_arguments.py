"""The grammar of the command line: spellings, values, settings of probes, help, and what is said about mistakes."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import click
import pytest
from mesascope import probes
from mesascope.analyses.commands.arguments import RUN_PARAMETERS, SWEEP_PARAMETERS, parse, probe_settings
from mesascope.analyses.commands.run_options import RunOptions, option_names, run_options
from mesascope.analyses.commands.sweep_options import SweepOptions
from mesascope.data.errors import UsageError
from mesascope.models.opening.catalogue import MODEL_ARGS
from mesascope.probes import PROBES, RESERVED, Probe


@dataclass(frozen=True)
class Foreign(Probe):
    """A probe of another package.

    strength:  how much of it
    careful:   whether it takes
               its time
    """

    name: ClassVar[str] = "foreign"
    version: ClassVar[str] = "1"

    strength: float = 1.0
    careful: bool = False

    def applies(self, subject: Any) -> None:
        return None

    def measure(self, *arguments: Any) -> Any:
        raise AssertionError("nobody measures here")

    claim = measure


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe as an installed package would declare it."""
    monkeypatch.setitem(sys.modules, "foreign_probe", sys.modules[__name__])
    registered = {**PROBES, "foreign": "foreign_probe:Foreign"}
    for place in ("mesascope.probes.registered", "mesascope.analyses.commands.arguments.registered"):
        monkeypatch.setattr(place, lambda: registered)


def options(*words: str) -> RunOptions:
    return run_options(parse(["run", *words])[1])


def helped(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stopped:
        parse([*words, "--help"])
    assert stopped.value.code == 0
    return capsys.readouterr().out


def test_what_is_not_given_has_the_default() -> None:
    assert options("m") == RunOptions(models=("m",))


def test_both_spellings_of_an_option_mean_the_same() -> None:
    hyphens = options("m", "--batch-size", "7", "--output-dir=a_b", "--model-args", "n_heads=2", "--n-context", "3")
    underscores = options("m", "--batch_size", "7", "--output_dir=a_b", "--model_args", "n-heads=2", "--n_context", "3")
    assert hyphens == underscores
    assert hyphens.output_dir == "a_b", "only the option's name is respelled, never its value"


def test_revisions_and_probes_add_up_and_models_may_stand_anywhere() -> None:
    found = options("a", "--revisions", "seed1,seed2", "b", "--revision", "step500", "-p", "x,y", "--probe", "z")
    assert found.models == ("a", "b")
    assert found.revisions == ("seed1", "seed2", "step500")
    assert found.probe == ("x", "y", "z")


def test_every_setting_of_our_probes_is_an_option() -> None:
    for name, settings in probe_settings().items():
        kind = probes.probe_class(name)
        assert [setting.name for setting in settings] == [field.name for field in fields(kind)]
        for setting in settings:
            words = [f"--{setting.name}"] if setting.switch else [f"--{setting.name}", "-1"]
            assert options("m", *words).settings == {setting.name: True if setting.switch else "-1"}
            assert setting.meaning, f"{name}: the docstring has no line for {setting.name}"


def test_a_switch_has_two_names() -> None:
    assert options("m", "--compatibility-scores").settings == {"compatibility_scores": True}
    assert options("m", "--no-compatibility-scores").settings == {"compatibility_scores": False}


def test_settings_may_also_be_given_together() -> None:
    assert options("m", "--probe-args", "twins=gd,limit=3", "--limit", "4").settings == {"twins": "gd", "limit": "4"}
    assert options("m", "--probe-args", 'text="a,b"').settings == {"text": '"a,b"'}


@pytest.mark.usefixtures("foreign")
@pytest.mark.parametrize("chosen", ["foreign", "all", "gd-alignment,foreign"])
def test_settings_of_another_packages_probe_are_options_when_it_is_named(
    chosen: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = options("m", "--strength", "2", "-p", chosen, "--no-careful")
    assert found.settings == {"strength": "2", "careful": False}
    text = helped(capsys, "run", "-p", chosen)
    assert re.search(r"--strength VALUE +how much of it \(default 1.0\)", text)
    assert re.search(r"--careful, --no-careful +whether it takes its\s+time\n", text)
    with pytest.raises(UsageError, match="option --strength is not known"):
        options("m", "--strength", "2")


def test_names_of_options_are_reserved() -> None:
    """A setting with such a name would hide the option, or be hidden by it."""
    params = [*RUN_PARAMETERS, *SWEEP_PARAMETERS]
    names = {param.name for param in params} | {name.strip("-").replace("-", "_") for p in params for name in p.opts}
    names |= option_names(RunOptions) | option_names(SweepOptions)
    assert {name for name in names if len(name) > 1} <= RESERVED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "m"], "command 'rnu' is not known; did you mean run"),
        ([], "no command; expected one of run, sweep, list"),
        (["--bad"], "mesascope: option --bad is not known"),
        (["run"], "run: no MODEL; expected"),
        (["run", "m", "--batchsize", "3"], "run: option --batchsize is not known; did you mean --batch-size"),
        (["run", "m", "--perids", "3"], "run: option --perids is not known; did you mean --periods"),
        (["run", "m", "--batch-size", "0"], "run: batch_size = 0; expected a whole number of at least 1 or none"),
        (["run", "m", "--batch-size", "ten"], "run: batch_size = 'ten'; expected a whole number of at least 1"),
        (["run", "m", "--threads", "0"], "threads = 0; expected a whole number from 1 to 1024 or none; leave --thr"),
        (["run", "m", "--threads", "-2"], "run: threads = -2; expected a whole number from 1 to 1024"),
        (["run", "m", "--threads", "1025"], "run: threads = 1025; expected a whole number from 1 to 1024"),
        (["run", "m", "--threads", "two"], "run: threads = 'two'; expected a whole number from 1 to 1024"),
        (["run", "m", "--seed", "-1"], "run: seed = -1; expected a whole number of at least 0"),
        (["run", "m", "--dtype", "float3"], "dtype = 'float3'; expected float16, bfloat16, float32, float64 or none"),
        (["run", "m", "--figures", "papre"], "figures = 'papre'; expected none, png or paper; did you mean paper"),
        (["run", "m", "--model-args", "tied"], "'tied' has no name; expected name=value"),
        (["run", "m", "--seed"], "run: option '--seed' requires an argument; see `mesascope run --help`"),
        (["run", "m", "--config", "missing.toml"], "missing.toml: cannot be read"),
        (["show"], "show: missing argument 'REPORT'; see `mesascope show --help`"),
        (["show", "a", "b"], "show: got unexpected extra argument (b)"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        run_options(parse(words)[1])


@pytest.mark.parametrize(("command", "params"), [("run", RUN_PARAMETERS), ("sweep", SWEEP_PARAMETERS)])
def test_help_lists_every_option_and_model_argument_and_setting_by_probe(
    command: str, params: list[click.Parameter], capsys: pytest.CaptureFixture[str]
) -> None:
    text = helped(capsys, command)
    assert [name for name in MODEL_ARGS if f"\n  {name} " not in text] == []
    own, *groups = text.split("\nSettings of ")
    assert [option for param in params for option in param.opts if option.startswith("-") and option not in own] == []
    by_probe = {group.partition(":")[0]: group for group in groups}
    assert list(by_probe) == list(PROBES)
    assert [name for name, group in by_probe.items() if "--twins VALUE" in group] == ["gd-alignment"]


def test_help_lists_commands_in_the_order_of_work(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped(capsys)
    found = re.findall(r"^  (run|sweep|list|show|verify|compare|figures|train) ", text, flags=re.MULTILINE)
    assert found == ["run", "sweep", "list", "show", "verify", "compare", "figures", "train"]
    assert "exit codes:\n" in text
