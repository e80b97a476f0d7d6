"""What whole commands take: CPU and wall time, and memory at most, of fresh processes on one thread.

    python benchmarks/whole_commands.py [--before FOLDER] [--repeats 1] [--only default-job,token-norms,…]

default-job      whole, imports included
busy             the same beside as many busy processes as there are cores, with one thread set by hand and with none
token-norms      on 2,048 random tokens
induction-heads  in its default settings
both             both probes on the same tokens in one command, beside the sum of two commands

Language models have random weights of GPT-2 small's shape. From their commands the cost of the same command with
`--dry-run` is subtracted, which opens the model and measures nothing. A plain pass is transformers' own over the same
2,048 tokens, logits included, timed in this process before and after the command.

--before FOLDER:  another version, installed with `pip install --no-deps --target FOLDER`; both run in turn
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
TOKENS, CONTEXT = 2_048, 512
PROBES = ("token-norms", "induction-heads")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
BUSY = "while True: pass"


@dataclass(frozen=True)
class Cost:
    """CPU and wall seconds, and bytes in memory at most."""

    cpu: float
    wall: float
    memory: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.cpu - other.cpu, self.wall - other.wall, self.memory)

    def __str__(self) -> str:
        return f"{self.cpu:7.1f} CPU s {self.wall:7.1f} s {self.memory / 1e9:5.2f} GB"


@dataclass(frozen=True)
class Version:
    """A mesascope to run: this one, or one that is installed in a folder of its own."""

    name: str
    folder: Path | None

    def run(self, arguments: Sequence[str], environment: Mapping[str, str] = ONE_THREAD) -> Cost:
        """One fresh process. RuntimeError with its last words if it fails."""
        there = {**os.environ, **environment}
        if self.folder is not None:
            there["PYTHONPATH"] = str(self.folder)
        began = time.perf_counter()
        with tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", ENTRY, *arguments], stdout=said, stderr=subprocess.STDOUT, env=there
            )
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode:
                said.seek(0)
                raise RuntimeError(said.read().decode(errors="replace")[-2_000:])
        return Cost(used.ru_utime + used.ru_stime, time.perf_counter() - began, used.ru_maxrss * 1024)

    def medians(self, arguments: Sequence[str], repeats: int, environment: Mapping[str, str] = ONE_THREAD) -> Cost:
        """Into a fresh folder each time."""
        costs = []
        for _ in range(repeats):
            with tempfile.TemporaryDirectory() as out:
                costs.append(self.run([*arguments, "--output-dir", out], environment))
        cpu, wall = (statistics.median(getattr(cost, of) for cost in costs) for of in ("cpu", "wall"))
        return Cost(cpu, wall, max(cost.memory for cost in costs))


class PlainPass:
    """transformers' own pass over the tokens, logits included."""

    def __init__(self, folder: Path, ids: np.ndarray) -> None:
        import torch
        from transformers import GPT2LMHeadModel

        torch.set_num_threads(1)
        self._model: Any = GPT2LMHeadModel.from_pretrained(folder).eval()
        self._batches = torch.from_numpy(ids).split(1)
        self._no_grad = torch.no_grad

    def seconds(self) -> float:
        began = time.process_time()
        with self._no_grad():
            for batch in self._batches:
                self._model(batch)
        return time.process_time() - began


def make(place: Path) -> tuple[Path, Path]:
    """A directory with random weights of GPT-2 small's shape, and a file of random tokens."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config()).save_pretrained(place / "gpt2-shape")
    ids = np.random.default_rng(0).integers(0, GPT2Config().vocab_size, (TOKENS // CONTEXT, CONTEXT))
    np.save(place / "ids.npy", ids)
    return place / "gpt2-shape", place / "ids.npy"


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Other work on the machine."""
    others = [subprocess.Popen([sys.executable, "-c", BUSY]) for _ in range(processes)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def default_job(versions: Sequence[Version], repeats: int) -> None:
    print("\nmesascope run lsa-1layer")
    for version in versions:
        print(f"  {version.name:8} {version.medians(['run', 'lsa-1layer'], repeats)}")


def beside_other_work(versions: Sequence[Version], repeats: int) -> None:
    cores = os.cpu_count() or 1
    print(f"\nmesascope run lsa-1layer beside {cores} busy processes, OMP_NUM_THREADS=1 and unset")
    unset = {"OMP_NUM_THREADS": ""}
    with busy(cores):
        for version in versions:
            one, free = (version.medians(["run", "lsa-1layer"], repeats, threads) for threads in (ONE_THREAD, unset))
            print(f"  {version.name:8} {one}\n           {free}   {free.wall / one.wall:.2f} times as long")


class Measuring:
    """Runs probes of a language model with each version."""

    def __init__(self, place: Path, versions: Sequence[Version], repeats: int) -> None:
        self._folder, self._tokens = make(place)
        self._versions, self._repeats = versions, repeats
        self._plain = PlainPass(self._folder, np.load(self._tokens))
        self._plain.seconds()  # warms up

    def costs(self, probes: Sequence[str], on_tokens: bool) -> dict[str, Cost]:
        """By version, without what opening takes."""
        named = [part for probe in probes for part in ("-p", probe)]
        own = ["--tokens", str(self._tokens)] if on_tokens else []
        print(f"\nmesascope run MODEL {' '.join(named)}{' --tokens FILE' * on_tokens}, less --dry-run")
        found = {}
        for version in self._versions:
            before, command = self._plain.seconds(), ["run", str(self._folder), *named, *own]
            opened = version.medians([*command, "--dry-run"], self._repeats)
            cost = found[version.name] = version.medians(command, self._repeats) - opened
            passes = cost.cpu / statistics.mean([before, self._plain.seconds()])
            print(f"  {version.name:8} {cost}   {passes:5.1f} plain passes")
        if len(found) > 1:
            print(f"  now / before {found['now'].cpu / found['before'].cpu:.2f}")
        return found

    def together(self) -> None:
        """Both probes in one command, beside two commands."""
        parts = [self.costs([probe], on_tokens=True) for probe in PROBES]
        for name, cost in self.costs(PROBES, on_tokens=True).items():
            print(f"  {name:8} {cost.cpu / sum(part[name].cpu for part in parts):.2f} times the sum of the parts")


ITEMS = {"default-job", "busy", *PROBES, "both"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--before", type=Path)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", default=",".join(sorted(ITEMS)))
    options = parser.parse_args()
    wanted = set(options.only.split(","))
    if unknown := wanted - ITEMS:
        parser.error(f"--only {', '.join(sorted(unknown))}: not known; expected some of {', '.join(sorted(ITEMS))}")
    versions = [Version("now", None)]
    if options.before is not None:
        versions.insert(0, Version("before", options.before))
    if "default-job" in wanted:
        default_job(versions, options.repeats)
    if "busy" in wanted:
        beside_other_work(versions, options.repeats)
    if wanted & {*PROBES, "both"}:
        with tempfile.TemporaryDirectory() as place:
            measuring = Measuring(Path(place), versions, options.repeats)
            for probe in PROBES:
                if probe in wanted:
                    measuring.costs([probe], on_tokens=probe == "token-norms")
            if "both" in wanted:
                measuring.together()


if __name__ == "__main__":
    main()
