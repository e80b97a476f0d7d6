"""What a sweep costs beside measuring: `python benchmarks/sweep_overhead.py`.

Prints each figure beside its limit, and fails when one is over it: the time per item that does nothing, two workers
beside one on items that sleep, a finished item and a finished sweep of 154 steps found again, and the audit of 154
revisions. Two workers beside one on real checkpoints have no limit: that depends on what else the machine does. It
needs sources that are as they were committed, since others find nothing again; about four minutes.
"""

from __future__ import annotations

import hashlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

from mesascope.analyses.reports.code import source_state
from mesascope.analyses.sweeps.engines import EngineSettings, local
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.tasks import ItemResult, ItemTask

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
STEPS = (0, *(2**n for n in range(10)), *range(1000, 144_000, 1000))
"""The 154 steps of a public suite."""
SWEEP = ["-p", "gd-alignment", "--limit", "20", "--figures", "none", "--workers", "1"]


def chore(task: ItemTask) -> ItemResult:
    """Sleep as long as the item says."""
    time.sleep(float(task.item.model))
    return ItemResult(task.item)


def seconds_an_item(sleep: float, items: int, workers: int, out: str) -> float:
    """Of those that begin when every worker has had one."""
    tasks = [ItemTask(Item(str(sleep), str(n)), (), out, "asked") for n in range(items)]
    times = [time.perf_counter() for _ in local(chore, tasks, EngineSettings(workers=workers))]
    return (times[-1] - times[workers - 1]) / (items - workers)


def command(*words: str, folder: str) -> tuple[float, float]:
    """Wall and processor seconds of a command in a process of its own, its children's in them."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [sys.executable, "-P", "-c", ENTRY, *words]
    where = {**os.environ, "HF_HUB_CACHE": str(Path(folder, "hub"))}
    subprocess.run(line, cwd=folder, env=where, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_family(path: Path) -> None:
    from mesascope import models

    made = {f"seed0/step{step}/": models.gd_transformer(4, 1.0 + step / 1e5, 3) for step in STEPS}
    tensors = {f"{prefix}{name}": tensor for prefix, one in made.items() for name, tensor in one.state_dict().items()}
    models.save_checkpoint(path, next(iter(made.values())).config, tensors)


def write_cache(repository: Path) -> None:
    """A hub cache of two shards a revision, without the weights themselves: links that lead nowhere."""
    (repository / "refs").mkdir(parents=True)
    for step in STEPS:
        commit = hashlib.sha1(str(step).encode()).hexdigest()
        (repository / "refs" / f"step{step}").write_text(commit)
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors.index.json").write_text("{}")
        for shard in ("00001", "00002"):
            blob = hashlib.sha256(f"{shard} of {min(step, 100_000)}".encode()).hexdigest()
            (snapshot / f"model-{shard}-of-00002.safetensors").symlink_to(f"../../blobs/{blob}")


def found_again(family: str, out: str) -> tuple[float, float]:
    """Wall and processor seconds an item, as a sweep looks for them."""
    from mesascope.analyses.sweeps.finding import finished_item
    from mesascope.analyses.sweeps.sweeping import planned
    from mesascope.probes import GDAlignment

    how = {"seed": 0, "threads": 1}
    plan = planned(family, GDAlignment(limit=20), out, (), (), "none", **how)
    finished_item(plan.task(plan.items[0]))
    begun, used = time.perf_counter(), sum(os.times()[:4])
    assert all(finished_item(plan.task(item), clean=True) for item in plan.items)
    n = len(plan.items)
    return (time.perf_counter() - begun) / n, (sum(os.times()[:4]) - used) / n


def figures(folder: str) -> Iterator[tuple[str, float, float, str]]:
    """Name, figure, limit and unit of each."""
    yield "an item that does nothing, in 2 warm workers", 2000 * seconds_an_item(0.0, 202, 2, folder), 50, "ms"
    one, two = (seconds_an_item(0.3, 48, workers, folder) for workers in (1, 2))
    yield "items that sleep: the time of 2 warm workers as a share of that of 1", two / one, 1 / 1.8, ""
    write_cache(Path(folder, "hub", "models--owner--suite"))
    wall, processor = command("sweep", "owner/suite", "--audit", folder=folder)
    yield f"audit of {len(STEPS)} revisions, the whole command", wall, 1, "s"
    yield "the same, processor time", processor, 1, "s"
    write_family(Path(folder, "family.safetensors"))
    one, _ = command("sweep", "family.safetensors", *SWEEP, folder=folder)
    two, _ = command("sweep", "family.safetensors", *SWEEP[:-1], "2", "-o", "by-two", folder=folder)
    yield (
        f"{len(STEPS)} steps measured, the whole command: the time of 2 workers as a share of that of 1",
        two / one,
        inf,
        "",
    )
    command("sweep", "family.safetensors", *SWEEP, folder=folder)  # what the first one wrote is on the disk by now
    wall, processor = command("sweep", "family.safetensors", *SWEEP, folder=folder)
    yield f"a finished sweep of {len(STEPS)} steps, the whole command", wall, 2, "s"
    yield "the same, processor time", processor, 2, "s"
    here = os.getcwd()
    os.chdir(folder)
    wall, processor = found_again("family.safetensors", "reports")
    os.chdir(here)
    yield "a finished item", 1000 * wall, 15, "ms"
    yield "the same, processor time", 1000 * processor, 15, "ms"


def main() -> int:
    if source_state()["dirty"]:
        print("these sources differ from their commit, so nothing is found again; commit them first")
        return 2
    over = 0
    with TemporaryDirectory() as folder:
        for name, figure, limit, unit in figures(folder):
            print(f"{name}: {figure:.3g} {unit} (limit {limit:.3g})", flush=True)
            over += figure > limit
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
