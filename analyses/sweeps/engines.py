"""Engines: how the items of a sweep are worked off. An engine takes a function and items, and gives what became of
each in the order of finishing. Here are those of this machine; `choosing.py` knows all.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from importlib import import_module
from multiprocessing import get_context
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ...data.errors import UsageError
from .room import estimated
from .state import Failure, SweepFolder
from .tasks import ItemResult, ItemTask, failure_by
from .watchdog import begin, output_in

if TYPE_CHECKING:
    from pebble import ProcessPool

CANNOT_BEGIN = (
    "no worker process of the engine local could begin; what it printed stands above. In a script of yours, begin the"
    ' sweep below `if __name__ == "__main__":`, because each worker imports the script'
)
LOOK_AGAIN = 1.0
"""Seconds until workers are looked at that have not answered."""
Work = Callable[[ItemTask], ItemResult]
"""What is done with an item; of a module, so that another process finds it by its name. It raises nothing."""


def _unheard(told: object) -> None:
    """Where nobody wants to be told."""


@dataclass(frozen=True)
class EngineSettings:
    """How an engine works.

    workers:      processes; None: as many as the engine finds room for
    timeout:      seconds after which an item is ended; None: never
    retries:      how often an item is tried again whose process was killed, or that ran out of time
    share:        measures share (i, n) of the whole sweep in any process that has the output folder, and notes there
                  what became of it: for engines that give work away. It can be pickled. None: there is no such sweep
    slurm:        what Slurm is asked for, such as {"partition": "gpu"}
    wait:         whether an engine that gives work away waits for it; None: as the engine usually does
    ray_address:  of the Ray cluster
    say:          is told in a sentence what goes wrong outside of an item
    submitted:    is told the names of jobs that do not need this process
    """

    workers: int | None = 1
    timeout: float | None = None
    retries: int = 1
    share: Callable[[tuple[int, int]], object] | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)
    wait: bool | None = None
    ray_address: str = "auto"
    say: Callable[[str], None] = _unheard
    submitted: Callable[[Sequence[str]], None] = _unheard


Outcome = tuple[ItemTask, ItemResult]
Engine = Callable[[Work, Sequence[ItemTask], EngineSettings], Iterator[Outcome]]


def needed_package(package: str, engine: str, extra: str) -> ModuleType:
    """A package that an engine works with. It is asked for before anything has begun."""
    try:
        return import_module(package)
    except ImportError as error:
        raise UsageError(
            f"the engine {engine} needs the package {package}: pip install 'mesascope[{extra}]'. --shard needs no"
            " package"
        ) from error


def usable_workers(device: str, threads: int | None) -> int:
    """Processes that this machine has room for: one a GPU that is visible, or as its cores allow."""
    if device == "cuda":
        return max(1, len(_visible_gpus()))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // (threads or cores))


def inline(work: Work, tasks: Sequence[ItemTask], settings: EngineSettings) -> Iterator[Outcome]:
    """One item after the other, in this process."""
    if settings.timeout is not None:
        raise UsageError(
            f"timeout {settings.timeout:g} s: the engine inline works in this process, where nothing ends an item that"
            " hangs; leave the timeout out, or choose the engine local"
        )
    return ((task, work(task)) for task in tasks)


def local(work: Work, tasks: Sequence[ItemTask], settings: EngineSettings) -> Iterator[Outcome]:
    """Several items at once, each worker a process of its own. A process that dies costs the item that it had."""
    needed_package("pebble", "local", "sweep")
    if not tasks:
        return iter(())
    n = settings.workers or usable_workers(tasks[0].device, tasks[0].threads)
    gpus = _visible_gpus() if any(task.device == "cuda" for task in tasks) else []
    own = [gpus[k % len(gpus)] if gpus else None for k in range(min(n, len(tasks)))]
    return Crew([_Worker(work, gpu) for gpu in own], tasks, settings).outcomes()


class Lost(Exception):
    """A process that ended in the middle of an item. The text says how, as far as anybody knows."""


@runtime_checkable
class Worker(Protocol):
    """Who has one item at a time."""

    def give(self, task: ItemTask, timeout: float | None) -> Future[ItemResult]:
        """Begin an item. Without an answer the future raises: TimeoutError, BrokenProcessPool where no process could
        begin, or another exception, such as `Lost`.
        """
        ...

    @property
    def active(self) -> bool: ...

    def end(self) -> None:
        """End the process, also in the middle of an item. The next item gets a new one."""
        ...

    def cannot_begin(self, lost: BaseException) -> str:
        """What to tell where no process has ever begun."""
        ...


class Crew:
    """Workers, the items that wait for them, and those that they have."""

    def __init__(self, workers: Sequence[Worker], tasks: Sequence[ItemTask], settings: EngineSettings):
        self.workers = workers
        self.settings = settings
        self.waiting = deque((task, 1) for task in tasks)
        self.idle = list(self.workers)
        self.busy: dict[Future[ItemResult], tuple[Worker, ItemTask, int]] = {}
        self.one_has_begun = False

    def outcomes(self) -> Iterator[Outcome]:
        """All of them, as they come. However this ends, no worker is left."""
        try:
            self._fill()
            while self.busy:
                done = wait(self.busy, LOOK_AGAIN, FIRST_COMPLETED).done or self._stranded()
                finished = [outcome for future in done if (outcome := self._outcome(future))]
                self._fill()  # first: whoever takes an outcome may take its time
                yield from finished
        finally:
            for worker in self.workers:
                worker.end()

    def _stranded(self) -> list[Future[ItemResult]]:
        """Items that nobody works on: an idle process that ends as it gets an item may take it along unnoticed."""
        return [future for future, (worker, _, _) in self.busy.items() if not worker.active]

    def _fill(self) -> None:
        while self.waiting and self.idle:
            worker, (task, attempt) = self.idle.pop(), self.waiting.popleft()
            self.busy[worker.give(task, self.settings.timeout)] = worker, task, attempt

    def _outcome(self, future: Future[ItemResult]) -> Outcome | None:
        """None for an item that is tried again."""
        worker, task, attempt = self.busy.pop(future)
        self.idle.append(worker)
        lost = future.exception() if future.done() else BrokenProcessPool()
        self.one_has_begun |= not isinstance(lost, BrokenProcessPool)
        if lost is None:
            return task, future.result()
        worker.end()  # its pool, too: nobody knows what the process held when it died
        if attempt <= self.settings.retries:
            self.waiting.appendleft((task, attempt + 1))
            return None
        if not self.one_has_begun:
            raise UsageError(worker.cannot_begin(lost)) from lost
        return task, ItemResult(task.item, error=self._failure(task, lost, attempt))

    def _failure(self, task: ItemTask, lost: BaseException, attempt: int) -> Failure:
        """Of an item whose worker gave no answer."""
        failure = _failure_of(lost, self.settings.timeout)
        if failure.kind == "killed" and (estimate := estimated(task)):
            failure = replace(failure, sentence=f"{failure.sentence}. {estimate}")
        log = SweepFolder(task.out).log_of(task.item)
        return replace(failure, attempts=attempt, log=str(log) if log.exists() and log.stat().st_size else None)


class _Worker:
    """A process that has one item at a time, in a pool of its own, so that it is certain which item a death costs."""

    def __init__(self, work: Work, gpu: str | None):
        self.work = work
        self.environment = {"HF_HUB_OFFLINE": "1", **({} if gpu is None else {"CUDA_VISIBLE_DEVICES": gpu})}
        self.pool: ProcessPool | None = None

    def give(self, task: ItemTask, timeout: float | None) -> Future[ItemResult]:
        """Begin an item; with a new process, where the last one has ended."""
        for again in (True, False):  # an idle process may end between two lines
            if not self.active:
                self.end()
            try:
                self.pool = self.pool or self._begun()
                return self.pool.schedule(guarded, args=(self.work, task), timeout=timeout)
            except RuntimeError as error:
                self.end()
                if not again:
                    raise UsageError(CANNOT_BEGIN) from error
        raise AssertionError("the second time returns or raises")

    @property
    def active(self) -> bool:
        return self.pool is not None and self.pool.active

    def cannot_begin(self, lost: BaseException) -> str:
        return CANNOT_BEGIN

    def _begun(self) -> ProcessPool:
        from pebble import ProcessPool

        how = (os.getpid(), self.environment, self.work.__module__)
        spawn: Any = get_context("spawn")  # pebble's types name only what POSIX has
        return ProcessPool(max_workers=1, initializer=begin, initargs=how, context=spawn)

    def end(self) -> None:
        if self.pool is not None:
            pool, self.pool = self.pool, None
            pool.stop()
            pool.join()


def guarded(work: Work, task: ItemTask) -> ItemResult:
    """In the worker: what becomes of an item, whatever is raised. What it prints goes into its log."""
    log = None
    try:
        log = SweepFolder(task.out).log_of(task.item)
        with output_in(log):
            return work(task)
    except BaseException as error:  # also what asks the process to leave: no item ends a worker
        return ItemResult(task.item, error=failure_by(error, log))


def _failure_of(lost: BaseException, timeout: float | None) -> Failure:
    """What to say of an item whose worker gave no answer."""
    if isinstance(lost, TimeoutError):
        return Failure("timeout", f"timed out after {timeout:g} s")
    if isinstance(lost, Lost):
        return Failure("killed", str(lost))
    code = getattr(lost, "exitcode", None)
    if code is None:
        return Failure("killed", "its process ended before it could begin")
    if code >= 0:
        return Failure("killed", f"its process ended with exit code {code}, without an answer")
    often = ", which often means that memory ran out" if -code == signal.SIGKILL else ""
    return Failure("killed", f"its process was killed by signal {-code} ({_name(-code)}){often}", signal=-code)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return "no name"


def _visible_gpus() -> list[str]:
    """As CUDA_VISIBLE_DEVICES names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (named.split(",") if named else list(map(str, range(128))))[: torch.cuda.device_count()]
