"""Whether a measurement fits into the memory of the machine, by the probes' own estimates. Needs no torch by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from .notes import read_note, write_note
from .state import Failure
from .tasks import ItemTask

if TYPE_CHECKING:
    from ...models.subject import Subject
    from ...probes.probe import Probe

_LIMITS = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, use, and the part of it that is given back when asked for: in the second and in the first kind of cgroups."""


def too_large(task: ItemTask, subject: Subject, probe: Probe) -> Failure | None:
    """Why measuring a probe on an opened checkpoint cannot fit into what is free now; None where it may fit, and where
    nobody knows. The estimate is noted, in case that the process is killed all the same.

    The machine's own memory counts, or that of the GPU that the checkpoint is on, or of a container if it has less. An
    estimate is for the probe's own batch size: with a smaller one it is no reason to refuse.
    """
    device = subject.device.type
    needed, free = probe.memory(subject) if probe.applies(subject) is None else None, free_bytes(device)
    if needed is None or free is None:
        return None
    write_note(Path(task.out), _note(task), {"probe": probe.name, "needed": needed, "free": free})
    if needed <= free or (task.batch_size is not None and task.batch_size < probe.batch_size):
        return None
    where = "the GPU" if device == "cuda" else "the machine"
    return Failure(
        "memory",
        f"{probe.name} needs about {_gigabytes(needed)} beside the model, {where} has {_gigabytes(free)} free; use a"
        " smaller --batch-size, fewer --workers, or more memory",
    )


def estimated(task: ItemTask) -> str | None:
    """What `too_large` had noted of an item that did not come back."""
    note = read_note(_note(task)) or {}
    try:
        needed, free = _gigabytes(note["needed"]), _gigabytes(note["free"])
    except (KeyError, TypeError):
        return None
    return f"{note.get('probe')} was expected to need about {needed} beside the model, of {free} that were free"


def free_bytes(device: str) -> int | None:
    """What can still be had on a kind of device; None where the system does not say."""
    if device == "cuda":
        import torch

        return torch.cuda.mem_get_info()[0]
    return free_memory() if device == "cpu" else None


def free_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """What processes can still have of the machine's memory, or of this container's; None where Linux is not there."""
    try:
        found = re.search(r"^MemAvailable:\s*(\d+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return None
    machine = [int(found[1]) * 1024] if found else []
    return min((*machine, *_left_in_cgroups(proc, cgroups)), default=None)


def _left_in_cgroups(proc: Path, cgroups: Path) -> Iterator[int]:
    """Of each group that this process is in and that has a limit."""
    for folder in dict.fromkeys(_groups(proc)):
        for limit, used, cached in _LIMITS:
            kind = cgroups / PurePosixPath(limit).parent / folder
            with suppress(OSError, ValueError):  # such a group is not there, or its limit is "max"
                most = int((kind / PurePosixPath(limit).name).read_text())
                now = int((kind / PurePosixPath(used).name).read_text())
                kept = re.search(rf"^{cached} (\d+)$", (kind / "memory.stat").read_text(), re.MULTILINE)
                yield max(0, most - now + (int(kept[1]) if kept else 0))


def _groups(proc: Path) -> Iterator[str]:
    """The groups of this process and those around them, below the folder of all. A container sees its own as that."""
    with suppress(OSError):
        for line in (proc / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers or "memory" in controllers.split(","):
                inner = PurePosixPath(path.lstrip("/"))
                yield from map(str, (inner, *inner.parents))


def _note(task: ItemTask) -> Path:
    return Path(task.out, ".sweep", "memory", f"{task.item.name}.{task.asked}.json")


def _gigabytes(n: int) -> str:
    return f"{n / 1e9:.2g} GB"
