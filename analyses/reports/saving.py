"""A report's folder: built under a temporary name beside its place, flushed to the disk, then renamed into it.

A folder is complete or absent, whatever happens: a kill, a full disk, several runs at once. What a dead process left
behind is cleared away by the next run into the same output folder.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import re
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from ...data.errors import OutputError, UsageError, nearest
from . import figures, html, latex, tidy
from .digests import ARRAYS, REPORT, TABLE, sealed
from .escaping import slug
from .record import Record

FORMATS = {"paper": ("pdf", "svg", "png"), "png": ("png",), "main": ("png",), "none": ()}
"""Kinds of drawing, the most first. `main` is the main figure alone, as a member of a family gets it."""
TIMING = "timing.json"
MOST_TRIES = 100
_BUILDING, _REPLACED = ".mesascope-new", ".mesascope-old"
_LEFTOVER = re.compile(r"\.mesascope-(?:new|old)-(?P<host>[^-]+)-(?P<pid>\d+)-[0-9a-f]+-(?P<name>.+)")


def save(report: Record, out: Path, drawn: str, keep_samples: int) -> Path:
    """See `Report.save`."""
    if drawn not in FORMATS:
        raise UsageError(f"figures {drawn!r} is not known; {nearest(drawn, FORMATS)}")
    if keep_samples < 1:
        raise UsageError(f"keep_samples = {keep_samples}: expected at least 1")
    kept = sampled(report, keep_samples)
    try:
        clear_leftovers(out)
        return publish(out / report.folder, lambda folder: write_files(kept, folder, drawn))
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"{out}: the report cannot be written ({reason}). Nothing half-written is left; choose another with -o"
        ) from error


def sampled(report: Record, keep: int) -> Record:
    """The report with at most `keep` tasks in its raw values, the same for every array, drawn with its seed."""
    total = report.n_tasks
    if total is None or total <= keep:
        return report
    chosen = np.sort(np.random.default_rng([report.seed, total]).permutation(total)[:keep])
    arrays = {name: a[chosen] if a.shape[:1] == (total,) else a for name, a in report.arrays.items()}
    of = report.sample["of"] if report.sample else total
    return replace(report, arrays=arrays, sample={"axis": "task", "kept": keep, "of": of})


def figures_in(folder: Path) -> str:
    """With which figures a report was saved: a kind of `FORMATS`. An empty folder had nothing to draw, of any kind."""
    names = [path.suffix for path in (folder / "figures").glob("*")]
    if ".pdf" in names or ((folder / "figures").is_dir() and not names):
        return "paper"
    return ("none", "main")[names.count(".png")] if names.count(".png") < 2 else "png"


def lacks_figures(folder: Path, wanted: str) -> bool:
    """Whether more figures are wanted of a saved report than it has."""
    kinds = list(FORMATS)
    return kinds.index(wanted) < kinds.index(figures_in(folder))


def number_of_files(probe: str, drawn: str) -> int:
    """Files that drawing a probe's figures so leaves, at most."""
    return len(FORMATS[drawn]) * (1 if drawn == "main" else len(figures.figures_of(probe)))


def write_files(report: Record, folder: Path, drawn: str) -> None:
    """Every file of a report. Figures are drawn from what is saved, so that they can be drawn again."""
    arrays = {name: np.ascontiguousarray(array) for name, array in report.arrays.items()}
    numbers = {TABLE: tidy.csv_text(tidy.frame(report)).encode(), ARRAYS: safetensors_bytes(arrays)}
    spoiled = [name for name in report.edited if name != TABLE]  # the table is written anew
    _write(folder / REPORT, sealed(report.record(), numbers, spoiled))
    for name, content in numbers.items():
        (folder / name).write_bytes(content)
    (folder / "tables").mkdir()
    for name, text in latex.tables(report).items():
        _write(folder / "tables" / f"{slug(name)}.tex", text)
    formats = FORMATS[drawn]
    paths = figures.draw(report, folder, formats, main_only=drawn == "main") if formats else []
    _write(folder / "report.html", html.page(report, [path for path in paths if path.suffix == ".png"]))
    _write(folder / TIMING, json.dumps(report.timing, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="")


def publish(final: Path, fill: Callable[[Path], None]) -> Path:
    """Let `fill` write a folder, then move it to `final` in one step. An identical folder there is kept."""
    with _building(final) as building:
        fill(building)
        _flush(*building.rglob("*"), building)
        _move(building, final)
    return final


def publish_files(folder: Path, fill: Callable[[Path], list[Path]]) -> list[Path]:
    """Let `fill` write files somewhere, then move each to the same place below `folder`, over one of its name."""
    clear_leftovers(folder)
    with _building(folder / "all") as building:
        files = fill(building)
        _flush(*files)
        moved = [folder / file.relative_to(building) for file in files]
        for file, final in zip(files, moved, strict=True):
            _make(final.parent)
            os.replace(file, final)
    return moved


@contextmanager
def _building(final: Path) -> Iterator[Path]:
    """A new folder beside `final` that is not there afterwards."""
    building = final.with_name(_mark(_BUILDING, final.name))
    with made_folder(final.parent):
        try:
            _make(building)
            yield building
        finally:
            shutil.rmtree(building, ignore_errors=True)


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make a folder, and those above it. What was made goes again if it is empty afterwards."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        _make(folder)
        yield
    finally:
        for path in missing:  # the deepest comes first
            with suppress(OSError):  # it is not empty, or not there
                path.rmdir()


def _make(folder: Path) -> None:
    """Another run may take away an empty folder, or one above it, at any moment; then it is made again. One that goes
    between being found and being looked at is called a file that is in the way.
    """
    for left in reversed(range(MOST_TRIES)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return
        except (FileNotFoundError, FileExistsError):
            if not left:
                raise


def publish_file(path: Path, text: str) -> None:
    """Write one file in one step. What a kill leaves behind is cleared away with what it leaves of reports."""
    building = path.with_name(_mark(_BUILDING, path.name))
    try:
        _write(building, text)
        _flush(building)
        os.replace(building, path)
        _flush(path.parent)
    finally:
        building.unlink(missing_ok=True)


def _mark(kind: str, name: str) -> str:
    """A name that no other process takes, and that says who made it and for what."""
    return f"{kind}-{_host()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{name}"


def _host() -> str:
    return slug(socket.gethostname()).replace("-", "_")


def _flush(*paths: Path) -> None:
    """Wait until files and folders are on the disk."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _move(building: Path, final: Path) -> None:
    """Rename into place. A different report there, of other figures say, steps aside first."""
    aside: list[Path] = []
    while True:
        try:
            os.rename(building, final)
            break
        except OSError as error:
            # asking whether `final` is there would be too late: another run may have moved it away by now
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        # another run may move `final` away between any two of these lines
        with suppress(FileNotFoundError):
            if same_files(building, final):
                break
            place = final.with_name(_mark(_REPLACED, final.name))
            os.rename(final, place)
            aside.append(place)
    _flush(final.parent)
    for place in aside:  # only now: a crash before this line finds the old report again
        shutil.rmtree(place, ignore_errors=True)


def files_of(folder: Path) -> list[str]:
    """Every file below a report's folder but its timing, sorted."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in found if name != TIMING)


def same_files(one: Path, other: Path) -> bool:
    """The same bytes, timing apart."""
    names = files_of(one)
    return names == files_of(other) and filecmp.cmpfiles(one, other, names, shallow=False)[0] == names


def clear_leftovers(out: Path) -> None:
    """Remove what dead processes of this machine left in an output folder; put back what they had set aside."""
    patterns = (f"{place}{kind}-*" for place in ("", "*/*/") for kind in (_BUILDING, _REPLACED))
    for leftover in [path for pattern in patterns for path in out.glob(pattern)]:
        match = _LEFTOVER.fullmatch(leftover.name)
        if match is None or match["host"] != _host() or _alive(int(match["pid"])):
            continue
        final = leftover.with_name(match["name"])
        if leftover.name.startswith(_REPLACED) and not final.exists():
            with suppress(OSError):  # another run was faster
                os.rename(leftover, final)
        if leftover.is_file():
            leftover.unlink(missing_ok=True)
        shutil.rmtree(leftover, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # alive, and somebody else's
    return True
