"""The engine ray: with a Ray that is made up, and with one of this machine where it is installed and slow tests run."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mesascope.analyses.sweeps import on_ray as module
from mesascope.analyses.sweeps.engines import EngineSettings
from mesascope.analyses.sweeps.on_ray import on_ray
from mesascope.analyses.sweeps.tasks import ItemResult, ItemTask
from mesascope.data.errors import OutputError, UsageError

CHORES = Path(__file__).with_name("chores.py")


@pytest.fixture
def chores(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(CHORES.parent))
    monkeypatch.setenv("PYTHONPATH", str(CHORES.parent), prepend=os.pathsep)  # of workers
    return importlib.import_module(CHORES.stem)


class RayError(Exception):
    pass


class GetTimeoutError(RayError, TimeoutError):
    pass


class MadeUpRay(ModuleType):
    """As much of Ray as the engine uses: what is asked of it is noted, and a worker does what its item says."""

    exceptions = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError)

    def __init__(self, cannot_begin: str = "", resources: dict[str, float] | None = None, there: bool = True) -> None:
        super().__init__("ray")
        self.cannot_begin, self.resources = cannot_begin, resources or {}
        self.initialized, self.there = False, there
        self.asked: list[dict[str, Any]] = []
        self.made: list[tuple[Any, ...]] = []
        self.killed: list[Any] = []
        self.shut_down = 0

    def is_initialized(self) -> bool:
        return self.initialized

    def init(self, address: str, **how: Any) -> None:
        if not self.there:
            raise ConnectionError(f"Could not find any\nrunning Ray instance at {address}")
        self.initialized = True

    def shutdown(self) -> None:
        self.shut_down += 1

    def cluster_resources(self) -> dict[str, float]:
        return self.resources

    def remote(self, **asked: Any) -> Callable[[type], Any]:
        self.asked.append(asked)
        return lambda kind: SimpleNamespace(remote=self._made)

    def _made(self, *arguments: Any) -> Any:
        self.made.append(arguments)
        actor = SimpleNamespace(ended=threading.Event())
        actor.begun = SimpleNamespace(remote=lambda: self._begin)
        actor.work = SimpleNamespace(remote=lambda work, task: lambda timeout: self._work(actor, task, timeout))
        return actor

    def _begin(self, timeout: float | None) -> None:
        if self.cannot_begin:
            raise RayError(f"Traceback\n  somewhere\n{self.cannot_begin}")

    def _work(self, actor: Any, task: ItemTask, timeout: float | None) -> ItemResult:
        word = task.item.model.split()[0]
        if word == "hang":
            raise GetTimeoutError if actor.ended.wait(timeout) is False else RayError("it was killed")
        if word == "die":
            raise RayError("The actor died. Worker exit type: X Worker exit detail: End of file. Some causes: many.")
        return ItemResult(task.item, {"probe": "here" if word == "fine" else "elsewhere"}, made=1)

    def get(self, call: Callable[[float | None], Any], timeout: float | None = None) -> Any:
        return call(timeout)

    def kill(self, actor: Any) -> None:
        self.killed.append(actor)
        actor.ended.set()


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., MadeUpRay]:
    (tmp_path / "here").mkdir()

    def make(**how: Any) -> MadeUpRay:
        ray = MadeUpRay(**how)
        monkeypatch.setitem(sys.modules, "ray", ray)
        return ray

    return make


def test_a_worker_that_is_lost_costs_its_item(made_up: Callable[..., MadeUpRay], chores: Any, tmp_path: Path) -> None:
    ray = made_up()
    tasks = [chores.task_of(what, tmp_path) for what in ("fine 1", "die", "hang", "fine 2")]
    found = dict(on_ray(chores.chore, tasks, EngineSettings(workers=2, timeout=0.05, retries=1)))
    errors = {task.item.model: result.error for task, result in found.items() if result.error}
    assert found.keys() == set(tasks)
    assert {what: (error.kind, error.attempts, error.sentence) for what, error in errors.items()} == {
        "die": ("killed", 2, "its process ended without an answer, which often means that memory ran out; Ray says:"
                " End of file"),
        "hang": ("timeout", 2, "timed out after 0.05 s"),
    }  # fmt: skip
    assert ray.asked[0] == {"num_cpus": 1, "num_gpus": 0, "max_restarts": 0, "max_task_retries": 0}
    assert {folder for folder, *_ in ray.made} == {os.getcwd()}
    assert ray.made[0][1:] == ({"HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}, "chores")
    assert len(ray.killed) == len(ray.made) >= 4, "none is left, and none goes on after a loss"
    assert ray.shut_down == 1


@pytest.mark.parametrize(
    ("device", "threads", "resources", "workers"),
    [("cuda", 4, {"GPU": 3.0, "CPU": 8.0}, 3), ("cpu", 4, {"GPU": 3.0, "CPU": 8.0}, 2), ("cuda", 1, {"CPU": 8.0}, 1)],
)
def test_workers_by_what_the_cluster_has(
    device: str, threads: int, resources: dict[str, float], workers: int, made_up: Any, chores: Any, tmp_path: Path
) -> None:
    ray = made_up(resources=resources)
    ray.initialized = True
    tasks = [ItemTask(chores.task_of(f"fine {k}", tmp_path).item, (), str(tmp_path), "asked", device=device,
                      threads=threads) for k in range(9)]  # fmt: skip
    assert len(list(on_ray(chores.chore, tasks, EngineSettings(workers=None)))) == 9
    assert len(ray.made) == workers
    assert ray.asked[0]["num_gpus"] == (device == "cuda")
    assert ray.asked[0]["num_cpus"] == threads
    assert ("CUDA_VISIBLE_DEVICES" in ray.made[0][1]) == (device == "cpu"), "else Ray says which"
    assert ray.shut_down == 0, "whoever began it ends it"


def test_a_cluster_that_cannot_begin_is_one_sentence(made_up: Any, chores: Any, tmp_path: Path) -> None:
    ray = made_up(cannot_begin="ModuleNotFoundError: No module named 'mesascope'")
    tasks = [chores.task_of(f"fine {k}", tmp_path) for k in range(9)]
    with pytest.raises(UsageError, match=r"could begin; expected the same mesascope.* ModuleNotFoundError: No module"):
        list(on_ray(chores.chore, tasks, EngineSettings(workers=2, retries=0)))
    assert len(ray.killed) == len(ray.made)
    made_up(there=False)
    with pytest.raises(
        UsageError, match=r"no Ray cluster answers at 'auto' \(Could not find any running Ray inst"
    ) as no:
        on_ray(chores.chore, tasks, EngineSettings())
    assert "\n" not in str(no.value)


def test_a_folder_that_machines_do_not_share_ends_it(
    made_up: Any, chores: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SEEN_WITHIN", 0.2)
    ray = made_up()
    with pytest.raises(OutputError, match="does not see the report that a worker on another machine"):
        list(on_ray(chores.chore, [chores.task_of("far", tmp_path)], EngineSettings()))
    assert ray.shut_down == 1
    late = threading.Timer(0.3, (tmp_path / "elsewhere").mkdir)  # as on NFS
    monkeypatch.setattr(module, "SEEN_WITHIN", 20.0)
    late.start()
    ((_, result),) = on_ray(chores.chore, [chores.task_of("far", tmp_path)], EngineSettings())
    assert result.made == 1


# -- a real one -------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[Any]:
    """A Ray of this machine, with two pretended GPUs."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'mesascope[ray]'")
    ray.init(address="local", num_cpus=4, num_gpus=2, include_dashboard=False, log_to_driver=False)
    yield ray
    with suppress(Exception):
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_on_a_ray_of_this_machine(chores: Any, tmp_path: Path, cluster: Any) -> None:
    for device in ("0", "1"):
        (tmp_path / device).mkdir()  # a chore calls what it sees its report
    whats = ["fine", "die", "die-once", "raise it", "sleep 60", "exit 7"]
    tasks = [chores.task_of(what, tmp_path) for what in whats]
    found = {task.item.model: result for task, result in on_ray(chores.chore, tasks, EngineSettings(2, 5.0, 1))}
    assert {what: result.error and (result.error.kind, result.error.attempts) for what, result in found.items()} == {
        "fine": None, "die": ("killed", 2), "die-once": None, "raise it": ("error", 1), "sleep 60": ("timeout", 2),
        "exit 7": ("killed", 2),
    }  # fmt: skip
    assert {result.reports.get("gpu") for result in found.values() if result.error is None} == {""}, "no GPU was asked"
    on_gpus = [chores.task_of(what, tmp_path, "cuda") for what in ("sleep 4", "sleep 4.1")]
    seen = [result.reports["gpu"] for _, result in on_ray(chores.chore, on_gpus, EngineSettings(workers=2))]
    assert sorted(map(str, seen)) == ["0", "1"]
    pids = [pid for pids in chores.started(tmp_path).values() for pid in pids]
    end = time.monotonic() + 30  # Ray ends them by and by
    while any(map(alive, pids)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not any(map(alive, pids))


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False
