"""Engines, with processes that are killed, that hang, and that answer with what cannot be sent."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mesascope.analyses.sweeps import choosing, engines
from mesascope.analyses.sweeps.choosing import engine_named
from mesascope.analyses.sweeps.engines import EngineSettings, inline, local, usable_workers
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.tasks import ItemResult, ItemTask
from mesascope.data.errors import UsageError

CHORES = Path(__file__).with_name("chores.py")


@pytest.fixture
def chores(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The functions for workers, in a module that other processes find."""
    monkeypatch.syspath_prepend(str(CHORES.parent))
    return importlib.import_module(CHORES.stem)


def wait_until(true: Callable[[], Any], seconds: float = 20) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


def alive(pid: int) -> bool:
    """A process that has ended and that nobody has asked for its exit code is not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:  # it has ended by now, or this system has no /proc
        return not Path("/proc/self").exists()


def test_an_item_that_ends_its_process_costs_no_other(chores: Any, tmp_path: Path) -> None:
    whats = ["die", "crash", "fine 1", "die-once", "exit 7", "leave 5", "raise it", "sleep 60", "fine 2", "fine 3"]
    tasks = [chores.task_of(what, tmp_path) for what in whats]
    outcomes = list(local(chores.chore, tasks, EngineSettings(workers=2, timeout=1.0, retries=1)))
    assert sorted(task.item.model for task, _ in outcomes) == sorted(whats)
    assert all(task.item == result.item for task, result in outcomes)
    found = {task.item.model: result for task, result in outcomes}
    for what in ("fine 1", "fine 2", "fine 3", "die-once"):
        assert (found[what].made, found[what].error) == (1, None)
    errors = {what: result.error for what, result in found.items() if result.error}
    assert {what: (error.kind, error.attempts, error.signal) for what, error in errors.items()} == {
        "die": ("killed", 2, 9),
        "crash": ("killed", 2, 11),
        "exit 7": ("killed", 2, None),
        "leave 5": ("error", 1, None),
        "raise it": ("error", 1, None),
        "sleep 60": ("timeout", 2, None),
    }
    assert errors["die"].sentence == (
        "its process was killed by signal 9 (SIGKILL), which often means that memory ran out"
    )
    assert errors["exit 7"].sentence == "its process ended with exit code 7, without an answer"
    assert errors["sleep 60"].sentence == "timed out after 1 s"
    assert errors["raise it"].sentence == "Stubborn: it does not work"
    assert 'raise Stubborn("it does' in errors["raise it"].traceback
    assert Path(errors["raise it"].log or "").read_text() == "printed before\nby a library\n"
    assert "Segmentation fault" in Path(errors["crash"].log or "").read_text()
    assert errors["die"].log is None  # nothing was printed
    starts = chores.started(tmp_path)
    assert {what: len(pids) for what, pids in starts.items()} == {
        what: 2 if what in ("die", "die-once", "crash", "exit 7", "sleep 60") else 1 for what in whats
    }
    assert not any(alive(pid) for pids in starts.values() for pid in pids)


def test_outcomes_come_as_they_finish_and_each_worker_has_its_gpu(
    chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "_visible_gpus", lambda: ["4", "7"])
    tasks = [chores.task_of(what, tmp_path, "cuda") for what in ("sleep 1.5", "sleep 0", "sleep 0.1")]
    with closing(local(chores.chore, tasks, EngineSettings(workers=2))) as outcomes:
        first, second, last = list(outcomes)
    assert [task.item.model for task, _ in (first, second, last)] == ["sleep 0", "sleep 0.1", "sleep 1.5"]
    assert {first[1].reports["gpu"], last[1].reports["gpu"]} == {"4", "7"}
    assert first[1].reports == second[1].reports
    assert len({pid for pids in chores.started(tmp_path).values() for pid in pids}) == 2


def test_a_caller_that_stops_early_leaves_no_worker(chores: Any, tmp_path: Path) -> None:
    tasks = [chores.task_of(what, tmp_path) for what in ("sleep 60", "fine", "never")]
    with closing(local(chores.chore, tasks[:2], EngineSettings(workers=2))) as outcomes:
        assert next(outcomes)[0].item.model == "fine"
        assert wait_until(lambda: "sleep 60" in chores.started(tmp_path))
    assert not any(alive(pid) for pids in chores.started(tmp_path).values() for pid in pids)


def test_an_item_that_a_dying_process_takes_along_unnoticed_is_begun_again(
    chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    give, given = engines._Worker.give, list[str]()

    def lost_at_first(worker: Any, task: Any, timeout: float | None) -> Future[Any]:
        given.append(task.item.model)
        return Future() if len(given) == 1 else give(worker, task, timeout)  # no process, and no answer ever

    monkeypatch.setattr(engines._Worker, "give", lost_at_first)
    monkeypatch.setattr(engines, "LOOK_AGAIN", 0.05)
    outcomes = list(local(chores.chore, [chores.task_of("fine", tmp_path)], EngineSettings(retries=1)))
    assert [(result.made, result.error) for _, result in outcomes] == [(1, None)]
    assert given == ["fine", "fine"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_worker_outlives_the_sweep(chores: Any, tmp_path: Path, number: signal.Signals) -> None:
    """Killed, the program cannot end its workers: they notice. Ctrl-C reaches the workers, too."""
    line = [sys.executable, "-P", str(CHORES), str(tmp_path)]
    program = subprocess.Popen(line, start_new_session=True, stderr=subprocess.PIPE)
    try:
        assert wait_until(lambda: (tmp_path / "answered").exists() and "sleep 60" in chores.started(tmp_path))
        pids = [pid for pids in chores.started(tmp_path).values() for pid in pids]
        assert len(pids) == 2
        assert all(map(alive, pids))
        (program.kill if number == signal.SIGKILL else lambda: os.killpg(program.pid, number))()
        program.wait(10)
        assert program.returncode == (-9 if number == signal.SIGKILL else 130)
        assert wait_until(lambda: not any(map(alive, pids)), seconds=2)
    finally:
        program.kill()
        program.communicate()
    assert chores.started(tmp_path).keys() == {"sleep 60", "fine"}


def test_workers_that_cannot_begin_are_an_error_at_once(
    tmp_path: Path, chores: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here = ModuleType("only_in_this_process")
    exec("def work(task): ...", here.__dict__)
    monkeypatch.setitem(sys.modules, here.__name__, here)
    tasks = [chores.task_of(str(k), tmp_path) for k in range(50)]
    with pytest.raises(UsageError, match=r'no worker process of the engine local could begin.*__name__ == "__main__"'):
        list(local(here.work, tasks, EngineSettings(retries=0)))
    assert "No module named 'only_in_this_process'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("engine", "package", "extra"),
    [("local", "pebble", "sweep"), ("slurm", "submitit", "slurm"), ("slurm", "pebble", "slurm"), ("ray", "ray", "ray")],
)
def test_a_missing_package_is_one_sentence_before_anything_begins(
    engine: str, package: str, extra: str, chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught:
        engine_named(engine)(chores.chore, [chores.task_of("fine", tmp_path)], EngineSettings())
    assert str(caught.value) == (
        f"the engine {engine} needs the package {package}: pip install 'mesascope[{extra}]'. --shard needs no package"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_kill_is_told_with_what_the_item_was_expected_to_need(chores: Any, tmp_path: Path) -> None:
    task = chores.task_of("die", tmp_path)
    note = tmp_path / ".sweep" / "memory" / f"{task.item.name}.asked.json"
    note.parent.mkdir(parents=True)
    note.write_text('{"probe": "token-norms", "needed": 7000000000, "free": 8000000000}')
    ((_, result),) = local(chores.chore, [task], EngineSettings(retries=0))
    assert result.error is not None
    assert result.error.sentence == (
        "its process was killed by signal 9 (SIGKILL), which often means that memory ran out. token-norms was expected"
        " to need about 7 GB beside the model, of 8 GB that were free"
    )


def test_inline_works_off_items_here_and_in_order(chores: Any, tmp_path: Path) -> None:
    tasks = [chores.task_of(what, tmp_path) for what in ("fine 2", "fine 1")]
    outcomes = inline(chores.chore, tasks, EngineSettings(workers=8))
    assert chores.started(tmp_path) == {}
    assert next(outcomes)[0] is tasks[0]
    assert chores.started(tmp_path) == {"fine 2": [os.getpid()]}
    assert [task for task, _ in outcomes] == tasks[1:]
    with pytest.raises(UsageError, match="timeout 5 s: the engine inline works in this process"):
        inline(chores.chore, tasks, EngineSettings(timeout=5.0))


def test_engines_of_other_packages_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = SimpleNamespace(name="cluster", load=lambda: inline)
    monkeypatch.setattr(choosing, "entry_points", lambda group: [theirs] if group == "mesascope.engines" else [])
    assert engine_named("cluster") is inline
    assert engine_named("local") is local
    with pytest.raises(UsageError, match=r"engine 'locale' is not known; did you mean local\?"):
        engine_named("locale")


def test_workers_that_fit_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_visible_gpus", lambda: ["0", "1", "2"])
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)), raising=False)
    assert usable_workers("cuda", 1) == 3
    begun = list[int]()

    def crew(workers: list[Any], tasks: list[Any], settings: EngineSettings) -> Any:
        begun.append(len(workers))
        return SimpleNamespace(outcomes=lambda: iter(()))

    monkeypatch.setattr(engines, "Crew", crew)
    tasks = [ItemTask(Item(str(k)), (), "out", "asked", threads=2) for k in range(9)]
    for workers, n_tasks in ((None, 9), (None, 3), (5, 9)):
        list(local(lambda task: ItemResult(task.item), tasks[:n_tasks], EngineSettings(workers=workers)))
    assert begun == [4, 3, 5]
    assert [usable_workers("cpu", threads) for threads in (1, 2, 20, None)] == [9, 4, 1, 1]
