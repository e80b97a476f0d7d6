"""How fast the command answers: `python benchmarks/startup.py`.

Prints the median wall time of `--help`, `list` and refusals that need no weights over several fresh processes, and
fails when one takes half a second or imports torch.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
COMMANDS = (
    ["--help"], ["run", "--help"], ["list"], ["run", "lsa-1layer", "--revision", "nope"], ["run", "lsa-1layr"],
    ["run", "weights.pkl"], ["run", "some/hub-id"], ["run", "lsa-1layer", "-p", "nope"],
)  # fmt: skip
REPEATS = 7
LIMIT = 0.5


def seconds(command: list[str]) -> float:
    """Wall time of one fresh process."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-P", "-c", ENTRY, *command], check=False, capture_output=True)
    return time.perf_counter() - start


def imported(command: list[str]) -> set[str]:
    """Top-level packages that one process imports, by Python's own account."""
    timed = [sys.executable, "-P", "-X", "importtime", "-c", ENTRY, *command]
    account = subprocess.run(timed, check=False, capture_output=True, text=True).stderr
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in account.splitlines() if "|" in line}


def main() -> int:
    slow = 0
    for command in COMMANDS:
        median = statistics.median(seconds(command) for _ in range(REPEATS))
        heavy = imported(command) & {"torch", "pandas", "matplotlib", "scipy"}
        print(f"mesascope {' '.join(command):<32} {median:.3f} s  heavy imports: {', '.join(sorted(heavy)) or 'none'}")
        slow += median >= LIMIT or bool(heavy)
    print(f"limit {LIMIT} s, median of {REPEATS} runs")
    return int(slow > 0)


if __name__ == "__main__":
    sys.exit(main())
