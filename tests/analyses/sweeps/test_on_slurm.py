"""The engine slurm, on a Slurm of this machine: jobs go on without their driver, and only what is killed is lost.

Without accounting, as on clusters that have none. What is asked of Slurm, and what is read of its answers, is checked
without it.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.sweeps import on_slurm as module
from mesascope.analyses.sweeps.engines import EngineSettings
from mesascope.analyses.sweeps.on_slurm import minutes_of, on_slurm
from mesascope.analyses.sweeps.shares import in_share
from mesascope.analyses.sweeps.state import SweepFolder, status
from mesascope.data.errors import UsageError

from .slurm_here import MISSING, PLACES, WHY, slurm

CHORES = Path(__file__).with_name("chores.py")
ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
with_slurm = pytest.mark.skipif(bool(MISSING), reason=WHY)


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with ExitStack() as stack:
        try:
            found = stack.enter_context(slurm(tmp_path_factory.mktemp("slurm")))
        except (RuntimeError, subprocess.CalledProcessError) as error:
            pytest.skip(f"the Slurm of this machine does not start: {error}")
        yield found


@pytest.fixture
def cluster(configuration: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Slurm where commands find it. What it answers, as lines."""
    monkeypatch.setenv("SLURM_CONF", str(configuration))
    monkeypatch.setenv("PATH", PLACES)
    monkeypatch.setenv(
        "PYTHONPATH", str(CHORES.parent), prepend=os.pathsep
    )  # jobs take the environment along, and find the chores
    monkeypatch.syspath_prepend(str(CHORES.parent))
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.1)
    monkeypatch.setattr(module, "ASK_AGAIN", 1.0)

    def asked(*words: str) -> list[str]:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()

    return asked


@pytest.fixture
def chores() -> Any:
    return importlib.import_module(CHORES.stem)


def wait_until(true: Callable[[], Any], seconds: float = 200) -> Any:
    end = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def in_shares(words: str, n: int, out: Path, chores: Any) -> list[Any]:
    """Of each share of n one chore that does what it says: `words` with a number behind it."""
    tasks = [chores.task_of(f"{words} {k}", out) for k in range(50)]
    return [next(task for task in tasks if in_share(task.item, i, n)) for i in range(n)]


@with_slurm
def test_a_killed_share_loses_its_item_and_the_next_call_makes_the_rest(
    cluster: Callable[..., list[str]], chores: Any, tmp_path: Path
) -> None:
    fast, slow = in_shares("fine", 2, tmp_path, chores)[0], in_shares("sleep-once 60", 2, tmp_path, chores)[1]
    behind = next(
        task for k in range(50) if in_share((task := chores.task_of(f"fine behind {k}", tmp_path)).item, 1, 2)
    )
    tasks, said, jobs = [fast, slow, behind], list[str](), list[str]()
    settings = EngineSettings(
        workers=2, share=partial(chores.measure_share, tasks), wait=True, say=said.append, submitted=jobs.extend
    )
    with closing(on_slurm(chores.chore, tasks, settings)) as outcomes:
        assert next(outcomes)[0] == fast
        assert len(jobs) == 2
        (pid,) = wait_until(lambda: chores.started(tmp_path).get(slow.item.model))
        os.kill(pid, signal.SIGKILL)
        assert list(outcomes) == [], "it ends, though no accounting says that a job has failed"
    assert said[0] == "no job is left, but 2 checkpoints without a report; the same command goes on from there"
    assert said[1].startswith(f"Slurm job {jobs[1]} ended as FAILED (exit code 137:0); what it printed: {tmp_path}")
    assert len(said) == 2
    assert SweepFolder(tmp_path).failure_of(slow.item, "asked") is None, "it is lost, not failed"
    rest = EngineSettings(workers=3, share=partial(chores.measure_share, tasks), wait=True)
    found = list(on_slurm(chores.chore, [slow, behind], rest))  # another number of shares
    assert {task.item for task, result in found if result.error is None} == {slow.item, behind.item}
    assert {what: len(pids) for what, pids in chores.started(tmp_path).items()} == {
        fast.item.model: 1, slow.item.model: 2, behind.item.model: 1,
    }  # fmt: skip


@with_slurm
def test_who_stops_waiting_ends_the_jobs_and_each_had_a_gpu_of_its_own(
    cluster: Callable[..., list[str]], chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = [chores.task_of(task.item.model, tmp_path, "cuda") for task in in_shares("sleep 90", 2, tmp_path, chores)]
    jobs = list[str]()
    settings = EngineSettings(
        workers=2, share=partial(chores.measure_share, tasks), wait=True, slurm={"comment": "told,so", "time": "1:0:0"},
        submitted=jobs.extend,
    )  # fmt: skip

    def interrupted(jobs: list[str], settings: EngineSettings) -> bool:
        """Ctrl-C, as soon as both jobs are at work."""
        if len(chores.started(tmp_path)) == 2:
            raise KeyboardInterrupt
        return bool(cluster("squeue", "-h"))  # else the jobs have ended without a start, and so does the test

    monkeypatch.setattr(module, "_are_there", interrupted)
    monkeypatch.setattr(module, "ASK_AGAIN", 0.0)
    with closing(on_slurm(chores.chore, tasks, settings)) as outcomes, pytest.raises(KeyboardInterrupt):
        next(outcomes)
    assert {chores.gpus(tmp_path)[task.item.model] for task in tasks} == {"0", "1"}
    shown = "\n".join(cluster("scontrol", "show", "job", jobs[0].partition("_")[0]))
    assert "Comment=told,so" in shown
    assert "TimeLimit=01:00:00" in shown
    assert wait_until(lambda: not cluster("squeue", "-h"))
    assert set(status_of(cluster, jobs)) == {"CANCELLED"}


def status_of(cluster: Callable[..., list[str]], jobs: list[str]) -> Iterator[str]:
    for job in jobs:
        (line,) = (line for line in cluster("scontrol", "show", "job", job) if "JobState=" in line)
        yield line.strip().split()[0].partition("=")[2]


@with_slurm
def test_jobs_go_on_when_their_driver_is_killed(cluster: Callable[..., list[str]], tmp_path: Path) -> None:
    """The command, with real checkpoints: a process each for the driver, the jobs and their workers."""
    words = "sweep lsa-1layer -p gd-certificate --figures none --seeds 0 --revisions step{0,500} --engine slurm -o"
    line = [sys.executable, "-P", "-c", ENTRY, *words.split(), str(tmp_path / "a"), "--workers", "2"]
    driver = subprocess.Popen([*line, "--wait", "-q"])
    jobs = tmp_path / "a" / ".sweep" / "slurm"
    # what a job does lies under the job's own name only when all have been submitted
    assert wait_until(lambda: driver.poll() is not None or len(list(jobs.glob("*_submitted.pkl"))) == 2)
    driver.kill()
    assert driver.wait() == -signal.SIGKILL
    assert wait_until(lambda: not cluster("squeue", "-h"))
    assert [row.state for row in status(tmp_path / "a")] == ["done", "done"]
    assert list((tmp_path / "a" / "lsa-1layer").glob("gd-certificate/*/report.json")), "over steps, by the last job"


@with_slurm
def test_what_slurm_refuses_is_said(cluster: Callable[..., list[str]], chores: Any, tmp_path: Path) -> None:
    tasks = [chores.task_of("fine", tmp_path)]
    settings = EngineSettings(share=partial(chores.measure_share, tasks), slurm={"partition": "nowhere"})
    with pytest.raises(UsageError, match=r"Slurm refuses the jobs: .*invalid partition.*; change what --slurm asks"):
        list(on_slurm(chores.chore, tasks, settings))
    assert cluster("squeue", "-h") == []


def test_a_machine_without_slurm_says_so(chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UsageError, match="engine slurm: sbatch is not on this machine"):
        on_slurm(chores.chore, [chores.task_of("fine", tmp_path)], EngineSettings())


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90:00", 90), ("90:01", 91), ("2:30:00", 150), ("1-0", 1440), ("1-12", 2160), ("1-12:30", 2190),
     ("1-0:0:5", 1441)],
)  # fmt: skip
def test_times_as_slurm_writes_them(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"time": "2h"}, "slurm: time = '2h'; expected minutes or a time such as 2:30:00"),
        ({"array": "0-3"}, "slurm: array is not yours to choose; --workers says how many jobs there are"),
        ({"array_parallelism": "0"}, "slurm: array_parallelism = '0'; expected a whole number of at least 1"),
    ],
)
def test_what_nobody_can_ask_of_slurm(asked: dict[str, str], said: str, chores: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        module._parameters(asked, chores.task_of("fine", tmp_path))
    assert str(caught.value).startswith(said)


def test_what_slurm_is_asked_for(chores: Any, tmp_path: Path) -> None:
    plain = module._parameters({"gres": "gpu:a100:1", "exclusive": "true"}, chores.task_of("fine", tmp_path, "cuda"))
    assert plain["additional_parameters"] == {
        "job_name": "mesascope", "cpus_per_task": 1, "gres": "gpu:a100:1", "exclusive": True,
    }  # fmt: skip
    assert (plain["time"], plain["srun_args"]) == (None, ["--cpus-per-task=1"]), "the cluster's own time"
    more = module._parameters(
        {"time": "1-0", "cpus_per_task": "8", "array_parallelism": "3"}, chores.task_of("fine", tmp_path, "cuda")
    )
    assert more["additional_parameters"] == {
        "job_name": "mesascope", "cpus_per_task": "8", "gpus_per_node": 1, "time": "1-0",
    }  # fmt: skip
    assert (more["time"], more["array_parallelism"], more["srun_args"]) == (1440, 3, ["--cpus-per-task=8"])


@pytest.mark.parametrize(
    ("answer", "there", "warned"),
    [
        ((0, "7_1\n", ""), True, False),
        ((0, "", ""), False, False),
        ((1, "", "slurm_load_jobs error: Invalid job id specified"), False, False),
        ((1, "", "slurm_load_jobs error: Unable to contact slurm controller"), True, True),
    ],
)
def test_jobs_are_there_until_squeue_says_that_they_are_not(
    answer: tuple[int, str, str], there: bool, warned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, said = list[tuple[str, ...]](), list[str]()
    monkeypatch.setattr(module, "_slurm", lambda *words: asked.append(words) or answer)
    assert module._are_there(["7_0", "7_1", "9"], EngineSettings(say=said.append)) == there
    assert asked == [("squeue", "-h", "-o", "%i", "-j", "7,9")]
    assert [line.startswith("squeue does not answer (slurm_load_jobs error: Unable") for line in said] == [
        True
    ] * warned
