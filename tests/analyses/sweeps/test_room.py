"""Whether a measurement fits: what the machine has free, groups with a limit, and what is told of what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.sweeps import room
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.room import estimated, free_bytes, free_memory, too_large
from mesascope.analyses.sweeps.tasks import ItemTask
from mesascope.analyses.sweeps.work import work
from mesascope.models.subject import NotApplicable, Subject
from mesascope.probes.gd_alignment.probe import GDAlignment

KILOBYTE, GIGABYTE = 1024, 10**9


@pytest.fixture(scope="module")
def subject() -> Subject:
    return models.load("lsa-1layer", "seed0-step0")


def task_of(out: Path, **more: Any) -> ItemTask:
    return ItemTask(Item("lsa-1layer", "seed0-step0"), (), str(out), "asked", **more)


def machine(folder: Path, available: int | None, groups: str = "", files: dict[str, str] | None = None) -> Any:
    """A made-up machine, with so many kilobytes available; `groups` as /proc says of itself."""
    proc, cgroups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    if available is not None:
        (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemFree: 1 kB\nMemAvailable:   {available} kB\n")
    (proc / "self" / "cgroup").write_text(groups)
    for name, text in (files or {}).items():
        (cgroups / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroups / name).write_text(text)
    return free_memory(proc, cgroups)


def test_what_is_free_is_what_the_machine_has_available(tmp_path: Path) -> None:
    assert machine(tmp_path, 8_000) == 8_000 * KILOBYTE
    free = free_bytes("cpu")
    assert free is None or 0 < free < 2**50
    assert free_bytes("mps") is None, "nobody says"


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        # a container with a limit sees its group as the folder of all; a part of what is used is cache
        ("0::/", {"memory.max": "9000", "memory.current": "7000", "memory.stat": "anon 1\ninactive_file 2500\n"}, 4500),
        # the limit of a group around it is the tighter one
        ("0::/a/b", {"a/memory.max": "3000", "a/memory.current": "1000", "a/memory.stat": "inactive_file 0",
                     "a/b/memory.max": "max", "a/b/memory.current": "10", "a/b/memory.stat": ""}, 2000),
        ("0::/a/b", {"a/memory.max": "max", "a/memory.current": "1", "a/memory.stat": ""}, 8_000 * KILOBYTE),
        # of the first kind, as most clusters have had them
        ("5:cpu:/x\n4:memory:/job", {"memory/job/memory.limit_in_bytes": "6000", "memory/job/memory.usage_in_bytes":
         "5000", "memory/job/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n"}, 1300),
        ("0::/", {"memory.max": "10", "memory.current": "50", "memory.stat": "inactive_file 3"}, 0),
        ("5:cpu:/job", {"memory/job/memory.limit_in_bytes": "60"}, 8_000 * KILOBYTE),
    ],
)  # fmt: skip
def test_limits_of_groups_count(groups: str, files: dict[str, str], free: int, tmp_path: Path) -> None:
    assert machine(tmp_path, 8_000, groups, files) == free


def test_where_linux_is_not_nobody_knows(tmp_path: Path) -> None:
    assert machine(tmp_path, None) is None


def test_what_cannot_fit_is_a_failure_with_both_numbers(
    subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, probe = task_of(tmp_path), GDAlignment(limit=20)
    monkeypatch.setattr(GDAlignment, "memory", lambda self, subject: 12 * GIGABYTE)
    monkeypatch.setattr(room, "free_memory", lambda: 9_800_000_000)
    failure = too_large(task, subject, probe)
    assert failure is not None
    assert (failure.kind, failure.sentence) == (
        "memory",
        "gd-alignment needs about 12 GB beside the model, the machine has 9.8 GB free; use a smaller --batch-size,"
        " fewer --workers, or more memory",
    )
    assert estimated(task) == "gd-alignment was expected to need about 12 GB beside the model, of 9.8 GB that were free"
    assert too_large(replace(task, batch_size=GDAlignment.batch_size - 1), subject, probe) is None, "it needs less"
    assert too_large(replace(task, batch_size=GDAlignment.batch_size), subject, probe) is not None
    monkeypatch.setattr(room, "free_memory", lambda: 12 * GIGABYTE)
    assert too_large(task, subject, probe) is None, "it just fits"


def test_a_probe_that_cannot_fit_is_not_tried_and_the_others_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(GDAlignment, "memory", lambda self, subject: 2**60)
    monkeypatch.setattr(GDAlignment, "measure", lambda *arguments: pytest.fail("it was tried"))
    probes = (("gd-alignment", {"limit": 20}), ("gd-certificate", {}))
    result = work(replace(task_of(tmp_path, figures="none"), probes=probes))
    assert result.error is not None
    assert result.error.kind == "memory"
    assert result.error.sentence.startswith("gd-alignment needs about 1.2e+09 GB beside the model, the machine has ")
    assert result.reports.keys() == {"gd-certificate"}
    assert Path(tmp_path, str(result.reports["gd-certificate"]), "report.json").is_file()


def test_on_a_gpu_its_own_memory_counts(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (2 * GIGABYTE, 80 * GIGABYTE))
    monkeypatch.setattr(GDAlignment, "memory", lambda self, subject: 3 * GIGABYTE)
    monkeypatch.setattr(room, "free_memory", lambda: 900 * GIGABYTE)
    monkeypatch.setattr(type(subject), "device", torch.device("cuda"))
    failure = too_large(task_of(tmp_path), subject, GDAlignment())
    assert failure is not None
    assert "the GPU has 2 GB free" in failure.sentence


def test_nobody_refuses_what_nobody_knows(subject: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, probe = task_of(tmp_path), GDAlignment()
    with monkeypatch.context() as patch:
        patch.setattr(room, "free_memory", lambda: None)
        assert too_large(task, subject, probe) is None
    with monkeypatch.context() as patch:
        patch.setattr(GDAlignment, "memory", lambda self, subject: None)
        assert too_large(task, subject, probe) is None
    with monkeypatch.context() as patch:
        patch.setattr(GDAlignment, "applies", lambda self, subject: NotApplicable("it says no"))
        patch.setattr(GDAlignment, "memory", lambda self, subject: 1 / 0)
        assert too_large(task, subject, probe) is None
    assert estimated(task) is None
    assert not (tmp_path / ".sweep").exists()
