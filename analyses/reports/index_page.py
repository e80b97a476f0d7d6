"""The overview over the reports of an output folder as a page: `index.html` in it.

Its only script, which sorts and searches, is allowed by its digest; without it the table is whole, too.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from ...data.errors import UsageError
from .overview import Row, natural, report_folders, rows
from .pages import script, template

INDEX = "index.html"
_MARK = '<meta name="generator" content="mesascope overview">'


def write_index(out: Path) -> Path:
    """Write the overview over all reports below an output folder into it: complete or not at all, the same bytes for
    the same reports. UsageError where it cannot be written, or an `index.html` of somebody else is there.
    """
    path = out / INDEX
    try:
        if path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
            raise UsageError(f"{path}: not written by mesascope, so it was left as it is. The reports are complete")
        before = None
        while before != (before := report_folders(out)):  # another run may have finished a report meanwhile
            _publish(path, index_page(rows(out), out))
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror or error}). The reports are complete") from error
    return path


def _publish(path: Path, page: str) -> None:
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != page:
        from .saving import publish_file  # which loads all that draws

        publish_file(path, page)


def index_page(found: list[Row], out: Path) -> str:
    """The page of these rows; `out` is where their pages lie."""
    readable = [row for row in found if row.problem is None]
    named = Counter((row.checkpoint, row.probe) for row in readable)
    return template("index.html.jinja").render(
        mark=Markup(_MARK),
        script=script("index_script.js.jinja"),
        rows=[_cells(row, out, keyed=named[row.checkpoint, row.probe] > 1) for row in readable],
        unreadable=[row for row in found if row.problem is not None],
        probes=sorted({row.probe for row in readable}, key=natural),
    )


def _cells(row: Row, out: Path, keyed: bool) -> dict[str, Any]:
    """keyed: another report has the same name"""
    page = out / row.folder / "report.html"
    return {
        "checkpoint": row.checkpoint,
        "member": row.member_of is not None,
        "page": f"./{quote(row.folder)}/report.html" if page.is_file() else None,
        "steps": row.steps_in_words,
        "step": row.steps[-1] if row.steps else "",
        "probe": row.probe,
        "checkpoints": row.checkpoints,
        "verdict": row.verdict,
        "edited": row.edited,
        "key": row.key if keyed else "",
    }
