"""Parts of measurements on the disk, so that one that was interrupted goes on from its last finished part.

They lie in `OUT/.sweep/parts/KEY`, a file each, where KEY is that of the report which they become; then they are
deleted. A part is of the same code, settings, weights, versions and threads, or it is made again. So a report has the
same bytes wherever its measurement was interrupted.
"""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...data.errors import TaskError
from ...data.recipe import canonical_json
from ...data.writing import replacing, writing
from ...models.subject import Subject
from ...probes.parts import Parts
from ...probes.probe import Probe
from ..reports.code import source_state
from ..reports.escaping import slug
from ..reports.provenance import identified, key, provenance
from .plain_data import Kinds, read_plain, write_plain
from .running import checked_batch_size, finished

PLACE = Path(".sweep", "parts")
"""Below the output folder."""
MOST_TRIES = 10


class PartsOnDisk(Parts):
    """Parts that outlive an interruption.

    out:    the output folder
    key:    of the report
    made_by:  digest of what may change a part beside the key
    kinds:  dataclasses of the probe's, see `Probe.part_kinds`
    """

    def __init__(self, out: Path, key: str, made_by: str, kinds: Kinds) -> None:
        super().__init__()
        self._out, self._folder = out, out / PLACE / key
        self._mark = {"key": key, "made by": made_by}
        self._kinds = kinds

    def holds(self, name: str) -> bool:
        if super().holds(name):
            return True
        path = self._path(name)
        with suppress(TaskError, OSError):  # missing, damaged or not to be read: it is made again
            found = read_plain(path, self._kinds) if path.is_file() else None
            if isinstance(found, dict) and found.pop("mark", None) == {**self._mark, "name": name}:
                self._ahead[name] = found["part"]
                return True
        return False

    def keep(self, name: str, part: Any) -> None:
        """In one step. It is not waited for the disk: what a crash of the machine damages is made again."""
        held = {"mark": {**self._mark, "name": name}, "part": part}
        with writing(self._out):
            for left in reversed(range(MOST_TRIES)):
                try:
                    with replacing(self._path(name)) as file:
                        write_plain(held, file, self._kinds)
                    return
                except FileNotFoundError:  # another run has finished the same report, and took the folder away
                    if not left:
                        raise

    def _path(self, name: str) -> Path:
        return self._folder / f"{slug(name)}.npz"


def unfinished(
    out: str | Path, subject: Subject, probe: Probe, seed: int, batch_size: int | None, force: bool
) -> Parts | None:
    """What is there of a measurement whose report is not finished below `out`; None where it is.

    force:  nothing that is there counts
    """
    if force:
        return Parts()
    batch_size = checked_batch_size(probe, seed, batch_size)
    done = finished(out, subject, probe, seed, batch_size) is not None
    return None if done else parts_in(Path(out), subject, probe, seed, batch_size)


def parts_in(out: Path, subject: Subject, probe: Probe, seed: int, batch_size: int) -> Parts:
    """The parts of one measurement below an output folder. Like finished reports, they are kept of weights that are
    known, and of sources that do not differ from their commit.
    """
    if not identified(subject.source) or source_state()["dirty"]:
        return Parts()
    environment = provenance((subject,), probe, seed, batch_size)["environment"]
    made_by = hashlib.sha256(canonical_json(environment).encode()).hexdigest()
    return PartsOnDisk(out, key(subject, probe, seed, batch_size), made_by, probe.part_kinds)


def forget_parts(out: str | Path, key: str) -> None:
    """Delete the parts of a report that is there."""
    folder = Path(out) / PLACE / key
    shutil.rmtree(folder, ignore_errors=True)
    for above in (folder.parent, folder.parent.parent):
        with suppress(OSError):  # something else is in it, or it is not there
            above.rmdir()
