"""A bar with the time left, on stderr when that is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .terminal import printable

Reporter = Callable[[str, float], None]
"""Told the stage and the finished fraction."""


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Reporter]:
    """Yield a bar's reporter. Nothing is drawn when `quiet`, or when stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda stage, fraction: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=printable(stage), completed=fraction)


def share_of(progress: Reporter, index: int, n: int, name: str) -> Reporter:
    """The progress of job number `index` of `n`, as progress of all of them."""
    title = f"{name} ({index + 1} of {n}): " if n > 1 else ""
    return lambda stage, fraction: progress(title + stage, (index + fraction) / n)
