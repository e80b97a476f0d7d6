"""A bar with the time left, on stderr, where somebody watches."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .terminal import printable

Report = Callable[[str, float], None]


@contextmanager
def progress_bar(quiet: bool = False) -> Iterator[Report]:
    """Yield what is told the stage and the finished fraction. Silent when asked to be, or when nobody watches."""
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


def part(report: Report, index: int, of: int, name: str) -> Report:
    """The progress of one of several jobs, as progress of them all."""
    title = f"{name} ({index + 1} of {of}): " if of > 1 else ""
    return lambda stage, fraction: report(title + stage, (index + fraction) / of)
