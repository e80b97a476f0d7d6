"""The engine ray: workers on a Ray cluster that the user has, each with one item at a time.

Ray starts nothing again by itself here: whoever lost an item is known, and `Crew` tries it again as often as was asked.
All machines need the same folders: the one in which the sweep was started, the output folder and the checkpoints.
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from types import ModuleType
from typing import Any

from ...data.errors import OutputError, UsageError
from .engines import Crew, EngineSettings, Lost, Outcome, Work, guarded, needed_package
from .state import SweepFolder
from .tasks import ItemResult, ItemTask
from .watchdog import begin

SEEN_WITHIN = 90.0
"""Seconds after which a worker's report is seen here, wherever folders are shared: what NFS caches lasts 60."""


def on_ray(work: Work, tasks: Sequence[ItemTask], settings: EngineSettings) -> Iterator[Outcome]:
    """Several items at once, each worker a process somewhere on a Ray cluster, with a GPU of its own for `cuda`."""
    ray = needed_package("ray", "ray", "ray")
    begun_here = not ray.is_initialized()
    if begun_here:
        _connect(ray, settings.ray_address)
    return _outcomes(ray, work, tasks, settings, begun_here)


def _connect(ray: ModuleType, address: str) -> None:
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster answers at {address!r} ({' '.join(str(error).split())[:200]}); start one with `ray start"
            " --head`, name it with --ray-address, or leave --engine ray out: --engine local uses this machine"
        ) from error


def _outcomes(
    ray: ModuleType, work: Work, tasks: Sequence[ItemTask], settings: EngineSettings, begun_here: bool
) -> Iterator[Outcome]:
    try:
        n = settings.workers or _room(ray, tasks[0])
        workers = [_RayWorker(ray, work, tasks[0]) for _ in range(min(n, len(tasks)))]
        for task, result in Crew(workers, tasks, settings).outcomes():
            if result.error is None:
                _refuse_unseen(task, result)
            yield task, result
    finally:
        if begun_here:
            ray.shutdown()


def _room(ray: ModuleType, task: ItemTask) -> int:
    """Workers that the cluster has room for as it is now."""
    there = ray.cluster_resources()
    return max(1, int(there.get("GPU", 0) if task.device == "cuda" else there.get("CPU", 0) // (task.threads or 1)))


def _refuse_unseen(task: ItemTask, result: ItemResult) -> None:
    """OutputError for a report that was written into a folder of another machine's own."""
    end = time.monotonic() + SEEN_WITHIN
    while any(
        place is not None and not (SweepFolder(task.out).out / place).is_dir() for place in result.reports.values()
    ):
        if time.monotonic() > end:
            raise OutputError(
                f"{task.out}: {socket.gethostname()} does not see the report that a worker on another machine has"
                " written there; expected an output folder that all machines of the cluster share"
            )
        time.sleep(0.5)


class _Process:
    """What runs in a worker."""

    def __init__(self, folder: str, environment: dict[str, str], module: str) -> None:
        os.chdir(folder)  # names of files may be relative to it
        begin(os.getppid(), environment, module)

    def begun(self) -> None:
        """Answers as soon as the process can take an item."""

    def work(self, work: Work, task: ItemTask) -> ItemResult:
        return guarded(work, task)


class _RayWorker:
    """A process on the cluster. A thread here waits for it."""

    def __init__(self, ray: ModuleType, work: Work, task: ItemTask) -> None:
        self.ray = ray
        self.work = work
        # a task that asks for no GPU would see all of them
        self.environment = {"HF_HUB_OFFLINE": "1", **({} if task.device == "cuda" else {"CUDA_VISIBLE_DEVICES": ""})}
        self.resources = {"num_cpus": task.threads or 1, "num_gpus": int(task.device == "cuda")}
        self.actor: Any = None
        self.thread = ThreadPoolExecutor(1)

    def give(self, task: ItemTask, timeout: float | None) -> Future[ItemResult]:
        if self.actor is None:
            process = self.ray.remote(**self.resources, max_restarts=0, max_task_retries=0)(_Process)
            self.actor = process.remote(os.getcwd(), self.environment, self.work.__module__)
        return self.thread.submit(self._answer, self.actor, task, timeout)

    def _answer(self, actor: Any, task: ItemTask, timeout: float | None) -> ItemResult:
        try:
            self.ray.get(actor.begun.remote())  # the cluster may let it wait: that is no time of the item
        except self.ray.exceptions.RayError as error:
            raise BrokenProcessPool(str(error)) from error
        try:
            return self.ray.get(actor.work.remote(self.work, task), timeout=timeout)
        except self.ray.exceptions.GetTimeoutError:
            raise TimeoutError from None
        except self.ray.exceptions.RayError as error:
            raise Lost(
                f"its process ended without an answer, which often means that memory ran out; {_detail(error)}"
            ) from error

    @property
    def active(self) -> bool:
        return self.actor is not None  # whoever waits for it hears when it ends

    def end(self) -> None:
        actor, self.actor = self.actor, None
        if actor is not None:
            with suppress(self.ray.exceptions.RayError):
                self.ray.kill(actor)
        self.thread.shutdown(wait=False, cancel_futures=True)
        self.thread = ThreadPoolExecutor(1)

    def cannot_begin(self, lost: BaseException) -> str:
        return (
            "no worker of the engine ray could begin; expected the same mesascope, and the folder"
            f" {os.getcwd()}, on every machine of the cluster. Ray says: {_last_line(lost)}"
        )


def _detail(error: BaseException) -> str:
    """What Ray knows of how a process ended, without the numbers of its parts."""
    text = " ".join(str(error).split())
    found = re.search(r"[Ww]orker exit detail: ([^.]+)\.", text)
    return f"Ray says: {found[1] if found else text[:200]}"


def _last_line(error: BaseException) -> str:
    """What remains of a traceback."""
    return (str(error).strip().splitlines() or [""])[-1].strip()[-300:]
