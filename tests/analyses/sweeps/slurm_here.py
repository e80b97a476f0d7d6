"""A Slurm of this machine alone, for tests: its daemons run in a folder of their own and end with the test.

Nothing is asked of the system: no service manager, no control groups, no database, no file below /etc. Character
devices that every machine has stand for GPUs, so that Slurm hands out CUDA_VISIBLE_DEVICES as on a cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PLACES = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
NEEDED = ("slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
MISSING = [name for name in NEEDED if shutil.which(name, path=PLACES) is None]
WHY = f"no Slurm on this machine ({', '.join(MISSING)}); on Debian: apt-get install slurmctld slurmd slurm-client"
DEVICES = ("/dev/zero", "/dev/full")
UP_WITHIN, DOWN_WITHIN = 20.0, 10.0

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=1,sched_min_interval=0,bf_interval=1
ReturnToService=2
MailProg=/bin/true
KillWait=2
NodeName=here NodeHostname={host} NodeAddr=127.0.0.1 Port={daemon} CPUs=4 RealMemory=1000 Gres=gpu:2 State=UNKNOWN
PartitionName=test Nodes=here Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


@contextmanager
def slurm(folder: Path) -> Iterator[Path]:
    """Slurm with one node of four cores and two pretended GPUs, as long as the block lasts; its configuration."""
    configuration = _configured(folder)
    environment = {**os.environ, "SLURM_CONF": str(configuration), "PATH": PLACES}
    try:
        for daemon in (["slurmctld", "-c"], ["slurmd", "-N", "here"]):
            subprocess.run([*daemon, "-f", str(configuration)], env=environment, check=True, capture_output=True)
        _wait_for_the_node(environment, folder)
        yield configuration
        subprocess.run(["scancel", "--full", "--signal=KILL", "--partition=test"], env=environment, check=False)
    finally:
        _stop(folder)


def _configured(folder: Path) -> Path:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        controller, daemon = one.getsockname()[1], other.getsockname()[1]
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    devices = "".join(f"Name=gpu File={device}\n" for device in DEVICES)
    (folder / "gres.conf").write_text(devices)
    (folder / "cgroup.conf").write_text("ConstrainCores=no\nConstrainRAMSpace=no\n")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    host = socket.gethostname().partition(".")[0]
    text = CONFIGURATION.format(host=host, user=user, folder=folder, controller=controller, daemon=daemon)
    (folder / "slurm.conf").write_text(text)
    return folder / "slurm.conf"


def _wait_for_the_node(environment: dict[str, str], folder: Path) -> None:
    end = time.monotonic() + UP_WITHIN
    while time.monotonic() < end:
        asked = ["sinfo", "-h", "-t", "idle", "-o", "%N"]
        if subprocess.run(asked, env=environment, capture_output=True, text=True).stdout.strip() == "here":
            return
        time.sleep(0.1)
    logs = "\n".join(f"{log}: {log.read_text()[-2000:]}" for log in folder.glob("*.log"))
    raise RuntimeError(f"Slurm did not come up within {UP_WITHIN:g} s\n{logs}")


def _stop(folder: Path) -> None:
    """End the two daemons, and nothing else."""
    for pid in (pid for name in ("slurmd", "slurmctld") if (pid := _pid(folder / f"{name}.pid"))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + DOWN_WITHIN
    while time.monotonic() < end and any(_pid(folder / f"{name}.pid") for name in ("slurmd", "slurmctld")):
        time.sleep(0.05)


def _pid(file: Path) -> int | None:
    """Of a daemon, which takes its file away as it ends."""
    with suppress(OSError, ValueError):
        pid = int(file.read_text())
        os.kill(pid, 0)
        return pid
    return None
