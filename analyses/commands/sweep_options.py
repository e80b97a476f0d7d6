"""What `mesascope sweep` is asked for, beside what it shares with `run`. Needs no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge

from ...data.errors import UsageError
from .run_options import MeasuringOptions, Threads, options_of

INLINE, SLURM, RAY = "inline", "slurm", "ray"
HERE = (INLINE, "local")
"""Engines that use the devices of this machine."""
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class SweepOptions(MeasuringOptions):
    """Options of `mesascope sweep`.

    threads:   of each worker, so that as many fit beside each other as there are cores
    timeout:   of one checkpoint with all its probes, such as 30m
    shard:     i/n: this process measures share i of n, and nobody else does it for it
    slurm:     what each of Slurm's jobs asks for, by name
    wait:      for Slurm's jobs; None: no
    """

    threads: Threads = 1
    seeds: tuple[int | str, ...] = ()
    engine: str = "local"
    workers: Annotated[int, Ge(1)] | None = None
    timeout: str | None = None
    retries: Annotated[int, Ge(0)] = 1
    shard: str | None = None
    slurm: Mapping[str, str] = field(default_factory=dict)
    wait: bool | None = None
    ray_address: str = "auto"
    retry_failed: bool = False
    audit: bool = False
    status: bool = False

    @property
    def seconds(self) -> float | None:
        """The longest time of one checkpoint."""
        return None if self.timeout is None else seconds_of(self.timeout)

    @property
    def share(self) -> tuple[int, int] | None:
        """Number and count of the share."""
        return None if self.shard is None else share_of(self.shard)


def sweep_options(given: Mapping[str, Any]) -> SweepOptions:
    """Options by name, as the command line has them. UsageError for values and options that do not go together."""
    options = options_of(SweepOptions, given, "sweep: ")
    if not options.models:
        raise UsageError(
            "sweep: no MODEL; expected shipped names (`mesascope list checkpoints`), files or hub ids, or with --status"
            " the output folder of a sweep"
        )
    alone = [f"--{name.replace('_', '-')}" for name in ("dry_run", "audit", "status") if getattr(options, name)]
    if len(alone) > 1:
        raise UsageError(f"sweep: {' and '.join(alone)} are both given; expected one of them")
    if options.status and len(options.models) > 1:
        raise UsageError(f"sweep: --status of {len(options.models)} folders; expected one output folder")
    if options.share is not None:
        _refuse_beside_shard(options)
    _refuse_of_other_engines(options)
    _ = options.seconds  # a time that is none is refused at once
    return options


def _refuse_beside_shard(options: SweepOptions) -> None:
    """A share is measured in this process: there are no workers to count, and nobody who could end one that hangs."""
    for name in ("workers", "timeout"):
        if getattr(options, name) is not None:
            raise UsageError(f"sweep: --{name} with --shard; leave it out: a share runs in this process alone")
    if options.engine not in (SweepOptions.engine, INLINE):
        raise UsageError(f"sweep: --engine {options.engine} with --shard; leave one of them out")


def _refuse_of_other_engines(options: SweepOptions) -> None:
    """An option that would do nothing is refused."""
    of_engines = {"slurm": SLURM, "wait": SLURM, "ray_address": RAY}
    for name, engine in of_engines.items():
        if getattr(options, name) != getattr(SweepOptions(), name) and options.engine != engine:
            raise UsageError(f"sweep: --{name.replace('_', '-')} without --engine {engine}; give both, or neither")


def seconds_of(text: str) -> float:
    """The seconds of 90s, 30m or 1.5h."""
    found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh])", text.strip())
    seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
    if not seconds:
        raise UsageError(f"sweep: timeout = {text!r:.80}; expected a time above 0 such as 90s, 30m or 2h")
    return seconds


def share_of(text: str) -> tuple[int, int]:
    """Share i of n, from i/n: 0/3, 1/3 and 2/3 are the whole."""
    found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text.strip())
    share = (int(found[1]), int(found[2])) if found else (1, 0)
    if share[0] >= share[1]:
        raise UsageError(f"sweep: shard = {text!r:.80}; expected i/n with i from 0 to n - 1, such as 0/3")
    return share
