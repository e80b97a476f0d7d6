"""What `mesascope sweep` is asked for: its own options, those it shares with `run`, and what does not go together."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from mesascope.analyses.commands.arguments import SWEEP_PARAMETERS, parse
from mesascope.analyses.commands.run_options import MeasuringOptions, RunOptions
from mesascope.analyses.commands.sweep_options import SweepOptions, seconds_of, share_of, sweep_options
from mesascope.data.errors import UsageError


def options(*words: str) -> SweepOptions:
    return sweep_options(parse(["sweep", *words])[1])


def test_what_is_not_given_has_the_default_of_run() -> None:
    found = options("m")
    assert found == SweepOptions(models=("m",))
    differ = [f.name for f in fields(MeasuringOptions) if getattr(found, f.name) != getattr(RunOptions(("m",)), f.name)]
    assert differ == ["threads"], "of each worker: one"
    assert (found.seconds, found.share) == (None, None)


def test_every_option_is_read() -> None:
    words = "m n -p a,b --revisions step{0,10..30..10} --seeds 0-2,5 --workers 3 --timeout 30m --retries 0"
    found = options(*words.split(), "--retry-failed", "--limit", "20", "--batch_size", "8")
    assert found == SweepOptions(
        models=("m", "n"), probe=("a", "b"), revisions=("step{0", "10..30..10}"), seeds=("0-2", 5), workers=3,
        timeout="30m", retries=0, retry_failed=True, settings={"limit": "20"}, batch_size=8,
    )  # fmt: skip
    assert ",".join(found.revisions) == "step{0,10..30..10}", "braces are whole again where they are expanded"
    assert found.seconds == 1800.0


def test_what_slurm_is_asked_for_stays_text() -> None:
    slurm, ray = ("m", "--engine", "slurm"), ("m", "--engine", "ray")
    found = options(*slurm, "--wait", "--slurm", "partition=gpu,time=1:30:00", "--slurm", "mem-per-cpu=010")
    assert (found.slurm, found.wait) == ({"partition": "gpu", "time": "1:30:00", "mem_per_cpu": "010"}, True)
    assert options(*slurm, "--no-wait").wait is False
    assert options(*ray, "--ray-address", "here:6379").ray_address == "here:6379"


def test_a_share_has_no_workers() -> None:
    assert options("m", "--shard", "0/2", "--engine", "inline").share == (0, 2)


def test_options_may_stand_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text('model = "m"\nseeds = [0, 1]\nretry-failed = true\nshard = "1/4"\nlimit = 5')
    found = options("--config", str(path), "--shard", "2/4")
    assert found == SweepOptions(("m",), seeds=(0, 1), retry_failed=True, shard="2/4", settings={"limit": 5})
    assert found.share == (2, 4)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("30m", 1800.0), ("2h", 7200.0), ("1.5h", 5400.0)])
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["90", "0s", "h", "-1s", "2 hours", "1e3s", ""])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match=r"expected a time above 0 such as 90s, 30m or 2h"):
        seconds_of(text)


@pytest.mark.parametrize("text", ["3/3", "1/0", "1", "-1/3", "0.5/2", "a/b", ""])
def test_what_is_no_share(text: str) -> None:
    assert share_of("0/1") == (0, 1)
    with pytest.raises(UsageError, match=r"expected i/n with i from 0 to n - 1, such as 0/3"):
        share_of(text)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "sweep: no MODEL; expected shipped names"),
        (["m", "--audit", "--status"], "sweep: --audit and --status are both given; expected one of them"),
        (["a", "b", "--status"], "sweep: --status of 2 folders; expected one output folder"),
        (["m", "--shard", "0/2", "--workers", "2"], "sweep: --workers with --shard; leave it out"),
        (["m", "--shard", "0/2", "--timeout", "2h"], "sweep: --timeout with --shard; leave it out"),
        (["m", "--shard", "0/2", "--engine", "mine"], "sweep: --engine mine with --shard; leave one of them out"),
        (["m", "--slurm", "time=5"], "sweep: --slurm without --engine slurm; give both, or neither"),
        (["m", "--no-wait", "--engine", "ray"], "sweep: --wait without --engine slurm; give both, or neither"),
        (["m", "--ray-address", "a:1"], "sweep: --ray-address without --engine ray; give both, or neither"),
        (["m", "--engine", "slurm", "--slurm", "gpu"], "'gpu' has no name; expected name=value"),
        (["m", "--timeout", "90"], "sweep: timeout = '90'; expected a time"),
        (["m", "--workers", "0"], "sweep: workers = 0; expected a whole number of at least 1"),
        (["m", "--retries", "-1"], "sweep: retries = -1; expected a whole number of at least 0"),
        (["m", "--predictor", "f.py:f"], "sweep: option --predictor is not known"),
        (["m", "--time"], "sweep: option --time is not known"),
        (["m", "--shrad", "0/2"], "sweep: option --shrad is not known; did you mean --shard"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        options(*words)


def test_every_option_of_the_command_line_is_a_field() -> None:
    known = {field.name for field in fields(SweepOptions)} | {"config", "probe_args"}
    assert {param.name for param in SWEEP_PARAMETERS} == known - {"settings"}
