"""The process of a worker: it ends with the process that started it, and what it prints goes into the item's log."""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from .notes import writing

LOOK_AGAIN = 0.3
"""Seconds until a worker asks again whether its parent lives."""
ORPHANED = 3
"""The exit code of a worker whose parent is gone. Nobody is left to read it."""


def begin(parent: int, environment: Mapping[str, str], module: str) -> None:
    """Prepare this process, before its first item.

    parent:       the process that started it. When that is gone, also in the middle of an item, this one leaves
    environment:  variables that libraries read as they load
    module:       is loaded now, so that no item's time includes it
    """
    os.environ.update(environment)
    faulthandler.enable()  # a crash in a library says where, in the item's log
    threading.Thread(target=_leave_without, args=(parent,), daemon=True).start()
    import_module(module)


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_AGAIN)
    os._exit(ORPHANED)


@contextmanager
def output_in(log: Path) -> Iterator[None]:
    """Within the block all that this process prints is added to a file, also what libraries print that are not Python.
    A file that stays empty goes again.
    """
    with writing(log.parent):
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    kept = _pointed((file, file))
    os.close(file)
    try:
        yield
    finally:
        for own in _pointed(kept):
            os.close(own)
        for own in kept:
            os.close(own)
        with suppress(FileNotFoundError):  # another sweep into the same folder was faster
            if not log.stat().st_size:
                log.unlink()


def _pointed(to: tuple[int, int]) -> tuple[int, int]:
    """Point stdout and stderr elsewhere; returns where they pointed before."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    before = (os.dup(1), os.dup(2))
    for target, stream in zip(to, (1, 2), strict=True):
        os.dup2(target, stream)
    return before
