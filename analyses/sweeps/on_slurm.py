"""The engine slurm: one job a worker, each with a share of the sweep. The jobs do not need whoever submitted them.

submitit writes the script and the pickle of a job, and puts a job into the queue again that was preempted or ran out of
time. It is never asked whether a job is done: without accounting it does not know, and `sacct` burdens a cluster. The
output folder says what is finished, and `squeue` which jobs there still are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from .engines import EngineSettings, Outcome, Work, needed_package
from .shares import in_share
from .state import SweepFolder
from .tasks import ItemResult, ItemTask

FOLDER = Path(".sweep", "slurm")
LOOK_AGAIN, ASK_AGAIN = 2.0, 30.0
"""Seconds until the folder is looked at again, and until `squeue` is asked again."""
_OWN = ("array", "output", "error")
"""What Slurm is asked for by this engine alone."""


@dataclass(frozen=True)
class Share:
    """What a job does."""

    measure: Callable[[tuple[int, int]], object]
    i: int
    n: int

    def __call__(self) -> None:
        self.measure((self.i, self.n))

    def checkpoint(self) -> Any:
        """What submitit puts into the queue again: the same, because what is finished is found."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def on_slurm(work: Work, tasks: Sequence[ItemTask], settings: EngineSettings) -> Iterator[Outcome]:
    """Submit one job for each share that has something to measure. Gives nothing, unless it is asked to wait."""
    needed_package("submitit", "slurm", "slurm")
    needed_package("pebble", "slurm", "slurm")  # each job starts its worker with it
    if shutil.which("sbatch") is None:
        raise UsageError("engine slurm: sbatch is not on this machine; call it where you submit jobs, or use --shard")
    if settings.share is None:
        raise UsageError("engine slurm: what it should do is no whole sweep; expected a call by `analyses.sweep`")
    return _outcomes(tasks, settings, settings.share, _parameters(settings.slurm, tasks[0]))


def _outcomes(
    tasks: Sequence[ItemTask],
    settings: EngineSettings,
    measure: Callable[[tuple[int, int]], object],
    parameters: Mapping[str, Any],
) -> Iterator[Outcome]:
    n = min(settings.workers or 1, len(tasks))
    shares = [Share(measure, i, n) for i in range(n) if any(in_share(task.item, i, n) for task in tasks)]
    answered_before = {task.item for task in tasks if _answer(task)}  # of an earlier sweep: nobody sees when it is new
    jobs = _submitted(shares, Path(tasks[0].out, FOLDER), parameters)
    settings.submitted(jobs)
    if not settings.wait:
        return
    over = False
    try:
        unanswered = [task for task in tasks if task.item not in answered_before]
        yield from _watched(jobs, unanswered, settings, to_the_end=bool(answered_before))
        over = True
    finally:
        if not over:  # whoever waits for jobs and stops does not want them
            _slurm("scancel", *_ids(jobs))
    yield from ((task, found) for task in tasks if task.item in answered_before and (found := _answer(task)))


def _submitted(shares: Sequence[Share], folder: Path, parameters: Mapping[str, Any]) -> list[str]:
    """The names of the jobs."""
    import submitit
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    # -P: files in the folder that somebody stands in are not imported
    executor = submitit.SlurmExecutor(folder.absolute(), python=f"{shlex.quote(sys.executable)} -P")
    executor.update_parameters(**parameters)
    try:
        with executor.batch():
            jobs = [executor.submit(share) for share in shares]
    except (FailedJobError, FailedSubmissionError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"Slurm refuses the jobs: {said[-500:]}; change what --slurm asks for") from error
    return [job.job_id for job in jobs]


def _parameters(asked: Mapping[str, str], task: ItemTask) -> dict[str, Any]:
    """As submitit takes them. What it does not read itself goes to sbatch as it is."""
    if refused := [name for name in asked if name in _OWN]:
        raise UsageError(f"slurm: {refused[0]} is not yours to choose; --workers says how many jobs there are")
    defaults = {} if task.threads is None else {"cpus_per_task": task.threads}
    if task.device == "cuda" and not any(name.startswith("gpus") or name == "gres" for name in asked):
        defaults["gpus_per_node"] = 1
    words = {"job_name": "mesascope", **defaults, **{name: True if on == "true" else on for name, on in asked.items()}}
    numbers = {name: _whole(name, words.pop(name)) for name in ("array_parallelism", "signal_delay_s") if name in words}
    minutes = minutes_of(str(words["time"])) if "time" in words else None  # else the cluster's default
    # of a job's processors its steps take what they are told
    steps = [f"--cpus-per-task={words['cpus_per_task']}"] if "cpus_per_task" in words else []
    return {
        **numbers,
        "time": minutes,
        "wckey": None,
        "setup": ["export HF_HUB_OFFLINE=1"],
        "srun_args": steps,
        "additional_parameters": words,
    }


def minutes_of(text: str) -> int:
    """Minutes of Slurm's `minutes`, `minutes:seconds`, `hours:minutes:seconds` and `days-hours[:minutes[:seconds]]`.
    Seconds count as one more.
    """
    found = re.fullmatch(r"(?:(\d{1,4})-)?(\d{1,7})(?::(\d{1,2}))?(?::(\d{1,2}))?", text.strip())
    if not found:
        raise UsageError(f"slurm: time = {text!r:.80}; expected minutes or a time such as 2:30:00 or 1-12")
    days, *rest = (int(part or 0) for part in found.groups())
    hours_first = found[1] is not None or found[4] is not None
    hours, minutes, seconds = rest if hours_first else (0, *rest[:2])
    return days * 1440 + hours * 60 + minutes + (seconds > 0)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,6}", text):
        raise UsageError(f"slurm: {name} = {text!r:.80}; expected a whole number of at least 1")
    return int(text)


# -- waiting ----------------------------------------------------------------------------------------------------------


def _watched(
    jobs: Sequence[str], tasks: Sequence[ItemTask], settings: EngineSettings, to_the_end: bool
) -> Iterator[Outcome]:
    """What becomes of the items, until no job is left, or all are finished. A job that ended early is told."""
    left = {task.item: task for task in tasks}
    running, asked = True, -ASK_AGAIN
    while running and (left or to_the_end):
        time.sleep(LOOK_AGAIN)
        if time.monotonic() - asked >= ASK_AGAIN:
            running, asked = _are_there(jobs, settings), time.monotonic()
        for item, task in list(left.items()):  # after squeue: what a job has left behind is there by now
            if found := _answer(task):
                del left[item]
                yield task, found
    if left:
        n = f"{len(left)} checkpoint{'s' if len(left) > 1 else ''}"
        settings.say(f"no job is left, but {n} without a report; the same command goes on from there")
        for job in jobs:
            if (how := _ended_badly(job)) is not None:
                log = Path(tasks[0].out, FOLDER, f"{job}_0_log.err")
                settings.say(f"Slurm job {job} ended as {how}; what it printed: {log}")


def _answer(task: ItemTask) -> ItemResult | None:
    """What the folder says of an item."""
    from .finding import finished_item  # with torch, which jobs do not wait for here

    folder = SweepFolder(task.out)
    if (failure := folder.failure_of(task.item, task.asked)) is not None:
        return ItemResult(task.item, error=failure)
    if (reports := folder.reports_of(task.item, task.asked)) is None:
        return None
    return finished_item(task) or ItemResult(task.item, reports)


def _are_there(jobs: Sequence[str], settings: EngineSettings) -> bool:
    """Whether any of the jobs waits or runs. Where nobody knows, because Slurm does not answer, they may."""
    code, out, err = _slurm("squeue", "-h", "-o", "%i", "-j", ",".join(_ids(jobs)))
    if code and "Invalid job id" not in err:  # which it says of jobs that ended a while ago
        settings.say(f"squeue does not answer ({err.strip()[:200]}); mesascope asks again in {ASK_AGAIN:g} s")
        return True
    return bool(out.split())


def _ended_badly(job: str) -> str | None:
    """`FAILED (exit code 137:0)`; None of a job that ended as it should, or where Slurm has forgotten it."""
    _, out, _ = _slurm("scontrol", "show", "job", job)
    state, code = (re.search(rf"\b{name}=(\S+)", out) for name in ("JobState", "ExitCode"))
    if state is None or state[1] == "COMPLETED":
        return None
    return f"{state[1]} (exit code {code[1]})" if code else state[1]


def _ids(jobs: Sequence[str]) -> list[str]:
    """Of the arrays that these are part of."""
    return list(dict.fromkeys(job.partition("_")[0] for job in jobs))


def _slurm(*words: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command of Slurm."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, env={**os.environ, "LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, "", str(error)
    return done.returncode, done.stdout, done.stderr
