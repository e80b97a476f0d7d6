"""What `--dry-run` says of time and memory, beside what the run then takes.

    python benchmarks/estimates.py "induction-2layer -p induction-heads" "tiny-grammar -p token-norms" [--time]

Each command runs in a process of its own. CPU time is beside the estimate because a busy machine changes it little;
both leave out what the dry run itself takes, which opens the checkpoint. The first checkpoint of several stands for all
in memory.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
BY_DEFAULT = [
    "lsa-1layer --revision seed0",
    "lsa-2layer-recurrent --revision seed0",
    "induction-1layer",
    "induction-2layer",
    "tiny-grammar -p induction-heads",
    "tiny-grammar -p token-norms",
]


class Taken(NamedTuple):
    """CPU time in seconds, peak memory in bytes, and what was printed."""

    cpu: float
    memory: int
    printed: str


def run(words: list[str]) -> Taken:
    """One command. Peak memory is that of the largest child so far, so each is measured by a process of its own."""
    measured = (
        "import resource, subprocess, sys, json;"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, text=True, check=True);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(json.dumps([used.ru_utime + used.ru_stime, used.ru_maxrss, done.stdout]))"
    )
    command = [sys.executable, "-c", measured, sys.executable, "-c", ENTRY, "run", *words]
    cpu, peak, printed = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return Taken(cpu, peak * (1 if sys.platform == "darwin" else 1024), printed)


def report(words: list[str], timed: bool) -> None:
    dry = run([*words, "--dry-run", "--json", *["--time"] * timed])
    with tempfile.TemporaryDirectory() as folder:
        taken = run([*words, "--json", "--force", "-o", folder])
    rows: list[dict[str, Any]] = json.loads(dry.printed)["would_run"]
    said = max(row["memory_bytes"] for row in rows)
    times = " + ".join(f"{row['seconds']:.0f} s" for row in rows)
    print(
        f"{shlex.join(words)}\n  memory: {said / 1e9:.2f} GB said, {taken.memory / 1e9:.2f} GB used"
        f" ({said / taken.memory - 1:+.0%})\n  time: {times} said, {taken.cpu - dry.cpu:.0f} CPU s used",
        flush=True,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commands", nargs="*", default=BY_DEFAULT, help="what stands after `mesascope run`")
    parser.add_argument("--time", action="store_true", help="estimate by a batch that is timed")
    options = parser.parse_args()
    for line in options.commands:
        report(shlex.split(line), options.time)
