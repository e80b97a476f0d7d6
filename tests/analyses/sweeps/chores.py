"""What workers do in the tests of engines: an item's model says it. Needs no torch, so that processes begin at once."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mesascope.analyses.sweeps.engines import EngineSettings, local
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.shares import in_share
from mesascope.analyses.sweeps.state import SweepFolder
from mesascope.analyses.sweeps.tasks import ItemResult, ItemTask


class Stubborn(Exception):
    """Neither pickled nor made again from its arguments."""

    def __init__(self, one: str, two: str):
        super().__init__(one)
        self.two = lambda: two


def task_of(what: str, out: Path, device: str = "cpu") -> ItemTask:
    return ItemTask(Item(what), (), str(out), "asked", device=device)


def chore(task: ItemTask) -> ItemResult:
    """Note the start, and do what the item says."""
    word, _, rest = task.item.model.partition(" ")
    starts = Path(task.out, "starts.txt")
    earlier = task.item.model in started(starts.parent)
    with starts.open("a") as file:
        file.write(f"{task.item.model}\t{os.getpid()}\t{os.environ.get('CUDA_VISIBLE_DEVICES')}\n")
    if word == "die" or (word == "die-once" and not earlier):
        os.kill(os.getpid(), signal.SIGKILL)
    elif word == "crash":
        faulthandler._sigsegv()
    elif word == "exit":
        os._exit(int(rest))
    elif word == "leave":
        sys.exit(int(rest))
    elif word == "raise":
        print("printed before")
        os.write(2, b"by a library\n")
        raise Stubborn("it does\nnot work", rest)
    elif word == "sleep" or (word == "sleep-once" and not earlier):
        time.sleep(float(rest.split()[0]))
    return ItemResult(task.item, {"gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}, made=1)


def started(out: Path) -> dict[str, list[int]]:
    """The processes that began each item."""
    found: dict[str, list[int]] = {}
    starts = out / "starts.txt"
    for line in starts.read_text().splitlines() if starts.exists() else ():
        what, pid, _ = line.split("\t")
        found.setdefault(what, []).append(int(pid))
    return found


def gpus(out: Path) -> dict[str, str]:
    """What each item saw, the last time that it was begun."""
    lines = (line.split("\t") for line in (out / "starts.txt").read_text().splitlines())
    return {what: gpu for what, _, gpu in lines}


def measure_share(tasks: Sequence[ItemTask], share: tuple[int, int]) -> None:
    """What a job of a cluster does: the chores of a share that are not finished."""
    for task in tasks:
        folder = SweepFolder(task.out)
        if in_share(task.item, *share) and folder.reports_of(task.item, task.asked) is None:
            chore(task)
            folder.finish(task.item, task.asked, {})


def drive(out: str) -> int:
    """A sweep that does not end by itself: one worker is in the middle of an item, and the other has none."""
    tasks = [task_of(what, Path(out)) for what in ("sleep 60", "fine")]
    try:
        for task, _ in local(chore, tasks, EngineSettings(workers=2)):
            Path(out, "answered").write_text(task.item.model)
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(drive(sys.argv[1]))
