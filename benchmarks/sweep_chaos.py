"""A sweep whose processes are killed, beside one that nobody disturbs: `python benchmarks/sweep_chaos.py`.

About 200 checkpoints, of shipped families and of small random language models in a hub cache, some of them the same, go
into two folders. In one the driver and its workers are killed (SIGKILL) at random moments, and the same command is
called again until it is through. Prints what it did, and fails when the folders differ (`.sweep` and `timing.json`
apart), when a finished report was made again, when a process is left two seconds after its driver, or when half-written
files stay. It needs sources that are as they were committed. `--kills N` of each kind, `--random-seed S`, `--few`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from mesascope.analyses.reports.code import source_state

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
PROBES = ["-p", "gd-certificate,token-norms", "--tokens", "tokens.npy", "--untrained", "1", "--parts", "none"]
HOW = ["--limit", "64", "--figures", "none", "--workers", "2", "--retries", "3", "--quiet"]
SUITE = "owner/suite"
NOTICE = 2.0
"""Seconds in which workers notice that their driver is gone, on a machine that is not busy."""


def write_suite(cache: Path, revisions: int) -> None:
    """A suite in a hub cache. Every fourth revision has the weights of the one before it, some of these as a pickle."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    repository = cache / f"models--{SUITE.replace('/', '--')}"
    config = GPTNeoXConfig(
        vocab_size=16, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=32, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    for number in range(revisions):
        torch.manual_seed(number - (number % 4 == 3))
        model = GPTNeoXForCausalLM(config)
        with TemporaryDirectory() as folder:
            model.save_pretrained(folder)
            if number % 8 == 7:
                Path(folder, "model.safetensors").unlink()
                torch.save(model.state_dict(), Path(folder, "pytorch_model.bin"))
            add(repository, f"step{number}", {path.name: path.read_bytes() for path in Path(folder).iterdir()})


def add(repository: Path, revision: str, files: Mapping[str, bytes]) -> None:
    """As the hub's client lays out a cache."""
    commit = hashlib.sha1(revision.encode()).hexdigest()
    snapshot = repository / "snapshots" / commit
    for folder in (repository / "blobs", repository / "refs", snapshot):
        folder.mkdir(parents=True, exist_ok=True)
    (repository / "refs" / revision).write_text(commit)
    for name, content in files.items():
        large = name.endswith((".safetensors", ".bin"))
        blob = repository / "blobs" / (hashlib.sha256 if large else hashlib.sha1)(content).hexdigest()
        blob.write_bytes(content)
        (snapshot / name).symlink_to(f"../../blobs/{blob.name}")


# -- processes ---------------------------------------------------------------------------------------------------------


def begun(models: list[str], out: str, folder: str) -> subprocess.Popen[bytes]:
    where = {**os.environ, "HF_HUB_CACHE": str(Path(folder, "hub")), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-P", "-c", ENTRY, "sweep", *models, *PROBES, *HOW, "-o", out]
    with Path(folder, f"{out}.log").open("ab") as log:
        return subprocess.Popen(line, cwd=folder, env=where, stdout=log, stderr=log, start_new_session=True)


def workers_of(driver: int) -> list[int]:
    """Processes that the driver has started, and that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = (path / "stat").read_text().rpartition(")")[2].split()[:2]
            watches = b"resource_tracker" in (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == driver and state != "Z" and not watches:
            found.append(int(path.name))
    return found


def there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def disturbed(models: list[str], out: str, folder: str, kills: list[tuple[int, str]]) -> list[str]:
    """Call the command, kill, and call it again. Returns what went wrong.

    kills:  after how many finished reports, and what
    """
    place, wrong = Path(folder, out), list[str]()
    while True:
        driver, before = begun(models, out, folder), finished(place)
        while driver.poll() is None:
            if kills and len(finished(place)) >= kills[0][0]:
                time.sleep(random.random())
                wrong += killed(driver, kills)
            time.sleep(0.2)
        made = finished(place)
        if again := [name for name, when in before.items() if made.get(name) != when]:
            wrong.append(f"{len(again)} finished reports were made again, such as {again[0]}")
        print(f"  the driver ended with {driver.returncode}; {len(made)} reports are finished", flush=True)
        if driver.returncode != -signal.SIGKILL:
            return [*wrong, *([f"exit code {driver.returncode}"] if driver.returncode else [])]


def moments(each: int, reports: int) -> list[tuple[int, str]]:
    """When what is killed: after random numbers of finished reports, in a random order."""
    whats = ["driver", "worker"] * each
    random.shuffle(whats)
    return list(zip(sorted(random.randrange(reports) for _ in whats), whats, strict=True))


def killed(driver: subprocess.Popen[bytes], kills: list[tuple[int, str]]) -> list[str]:
    """Kill the driver, whose workers have two seconds to notice, or one of them. Nothing while there is no worker."""
    workers = workers_of(driver.pid)
    if not workers:
        return []
    after, what = kills.pop(0)
    print(f"  killed a {what} after {after} reports, of {len(workers)} workers; {len(kills)} kills left", flush=True)
    if what == "worker":
        os.kill(random.choice(workers), signal.SIGKILL)
        return []
    driver.kill()
    driver.wait()
    end = time.monotonic() + NOTICE
    while time.monotonic() < end and any(map(there, workers)):
        time.sleep(0.05)
    return [f"worker {pid} outlived its driver by {NOTICE} s" for pid in workers if there(pid)]


# -- folders -----------------------------------------------------------------------------------------------------------


def finished(out: Path) -> dict[str, int]:
    """When each report of one checkpoint was written. A report over several is made again when it has more of them."""
    found = out.glob("*/*/[0-9a-f]*/report.json")  # no folder that is just being written
    alone = [path for path in found if b'\n  "members": [],\n' in path.read_bytes()]
    return {str(path.relative_to(out)): path.stat().st_mtime_ns for path in alone}


def contents(out: Path) -> dict[str, str]:
    """The digest of each file that must not depend on what happened."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != "timing.json"]
    names = {path.relative_to(out).as_posix(): path for path in paths}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in names.items()
        if not name.startswith(".sweep/")
    }


def differences(folder: str) -> list[str]:
    one, other = contents(Path(folder, "disturbed")), contents(Path(folder, "undisturbed"))
    names = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"{len(other)} files, {len(names)} of them differ")
    halves = [str(path) for path in Path(folder, "disturbed").rglob("*") if path.name.startswith(".mesascope")]
    return [f"{name} differs" for name in names] + [f"{path} was left" for path in halves]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="of the driver, and as many of workers")
    parser.add_argument("--random-seed", type=int, default=0)
    parser.add_argument("--few", action="store_true", help="20 checkpoints in the place of 200")
    given = parser.parse_args()
    random.seed(given.random_seed)
    if source_state()["dirty"]:
        print("these sources differ from their commit, so nothing is found again; commit them first")
        return 2
    models = [SUITE] if given.few else ["lsa-1layer", "lsa-2layer-recurrent", SUITE]
    with TemporaryDirectory() as folder:
        write_suite(Path(folder, "hub"), revisions=20 if given.few else 50)
        np.save(Path(folder, "tokens.npy"), np.random.default_rng(0).integers(1, 16, 128))
        start = time.perf_counter()
        code = begun(models, "undisturbed", folder).wait()
        print(f"undisturbed: exit code {code} after {time.perf_counter() - start:.0f} s", flush=True)
        start = time.perf_counter()
        wrong = disturbed(models, "disturbed", folder, moments(given.kills, len(finished(Path(folder, "undisturbed")))))
        print(f"disturbed: {time.perf_counter() - start:.0f} s")
        wrong += [f"exit code {code} of the undisturbed sweep"] if code else []
        wrong += differences(folder)
    print("\n".join(wrong[:20]) or "all as it should be")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
