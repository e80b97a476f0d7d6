"""What opening a checkpoint costs: a directory of GPT-2 small's shape (124 million random parameters), hash included.

Time is that of `models.load` over that of TransformerLens's bridge alone, which neither checks nor hashes: both in one
process, in turns, warm cache, imports apart, medians. Memory is the largest resident size of a fresh process while it
opens the directory, less what it was before, over the size of the weights; the file's own pages are in it.

    python benchmarks/opening.py [--repeats 7]

Fails when opening takes over 1.8 times as long as the bridge, or over 1.2 times the memory of the weights.
"""

from __future__ import annotations

import argparse
import gc
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIME, MEMORY = 1.8, 1.2


def make(place: Path) -> None:
    """Random GPT-2s in two directories: one of the published small one's shape, and one of hardly any size."""
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config()).save_pretrained(place / "small")
    GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=4)).save_pretrained(place / "tiny")


def times(folder: Path, repeats: int) -> list[tuple[float, float]]:
    """Median seconds on the wall and of the CPU of bridge and mesascope, in turns after a round that warms both."""
    import torch
    from mesascope import models
    from transformer_lens.model_bridge import TransformerBridge

    openers: list[Callable[[], Any]] = [
        lambda: TransformerBridge.boot_transformers(str(folder), device="cpu", dtype=torch.float32),
        lambda: models.load(folder),
    ]
    found: list[list[tuple[float, float]]] = [[] for _ in openers]
    for _ in range(repeats + 1):
        for opener, rounds in zip(openers, found, strict=True):
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            opened = opener()
            rounds.append((time.perf_counter() - wall, time.process_time() - cpu))
            del opened
    return [
        (statistics.median(w for w, _ in rounds[1:]), statistics.median(c for _, c in rounds[1:])) for rounds in found
    ]


def resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


def extra_memory(folder: Path, tiny: Path) -> int:
    """Bytes by which this process, with everything imported, grew at most while it opened the directory."""
    from mesascope import models

    models.load(tiny)  # whatever is imported or made at the first opening
    before = resident()
    subject = models.load(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    del subject
    return peak - before


def part(name: str, place: Path, repeats: int) -> None:
    """One part in a process of its own, which prints what it found as JSON."""
    warnings.simplefilter("ignore")
    if name == "make":
        make(place)
    found = {"time": times, "memory": extra_memory}
    arguments = {"time": (place / "small", repeats), "memory": (place / "small", place / "tiny")}
    print(json.dumps(found[name](*arguments[name]) if name in found else None))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        part(options.part[0], Path(options.part[1]), options.repeats)
        return 0

    def run(name: str) -> Any:  # this process stays small: a child's peak counts what its parent was when it began
        words = [sys.executable, __file__, "--repeats", str(options.repeats), "--part", name, place]
        return json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    with tempfile.TemporaryDirectory() as place:
        run("make")
        size = Path(place, "small", "model.safetensors").stat().st_size
        extra = run("memory")
        bridge, ours = run("time")
    wall, cpu = (mine / theirs for mine, theirs in zip(ours, bridge, strict=True))
    for name, (on_the_wall, of_the_cpu) in (("bridge", bridge), ("mesascope", ours)):
        print(
            f"{name:<10} {on_the_wall:.3f} s on the wall, {of_the_cpu:.3f} s of the CPU (median of {options.repeats})"
        )
    print(f"ratio      {wall:.2f} on the wall (limit {TIME}), {cpu:.2f} of the CPU")
    print(f"memory     {extra / 1e6:.0f} MB for {size / 1e6:.0f} MB of weights: {extra / size:.2f} (limit {MEMORY})")
    return int(wall > TIME or extra > MEMORY * size)


if __name__ == "__main__":
    sys.exit(main())
