"""Whether a report is as mesascope wrote it: digests of its content, and of the numbers beside it, in its report.json.

A digest shows an edit that somebody made by hand or by mistake. It is no signature: whoever edits a report can write
another digest into it. `mesascope verify` makes the numbers again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .records import dumps

REPORT, TABLE, ARRAYS = "report.json", "measures.csv", "arrays.safetensors"
FIELD = "sha256"
"""The last field of report.json: the digest of each of these files; of report.json, that of everything before it."""
_FIELD_BEGINS = f',\n  "{FIELD}": '


def sealed(content: Mapping[str, Any], files: Mapping[str, bytes], spoiled: Collection[str] = ()) -> str:
    """The text of report.json: its content, and the digests of that and of the files beside it.

    spoiled:  files that hold what was edited before; they get no digest, so that the edit stays known
    """
    digests = {REPORT: _sha256(dumps(content).encode()), **{name: _sha256(given) for name, given in files.items()}}
    kept = {name: None if name in spoiled else digest for name, digest in digests.items()}
    return dumps({**content, FIELD: kept}) + "\n"


def untouched(text: str) -> bool:
    """Whether the text of a report.json is, letter by letter, what mesascope wrote. Quick: nothing is parsed."""
    body, begins, digests = text.rpartition(_FIELD_BEGINS)
    content = f"{body}\n}}"
    return bool(begins) and f'"{REPORT}": "{_sha256(content.encode())}"' in digests


def edited_files(folder: Path, text: str, record: Mapping[str, Any]) -> tuple[str, ...]:
    """Files of a report whose numbers or words were changed after mesascope wrote them. Another layout of the same JSON
    is no change, and a file that is missing is none.

    text, record:  of its report.json, and parsed
    """
    digests = record.get(FIELD)
    if not isinstance(digests, Mapping):
        return (REPORT,)
    content = {name: value for name, value in record.items() if name != FIELD}
    same = untouched(text) or digests.get(REPORT) == _sha256(dumps(content).encode())
    beside = [name for name in (TABLE, ARRAYS) if (folder / name).is_file()]
    return (*(() if same else (REPORT,)), *(n for n in beside if digests.get(n) != file_sha256(folder / n)))


def edit_notice(folder: Path, edited: Sequence[str]) -> str:
    """What was edited, in a clause."""
    were, them, digests = ("were", "them", "digests do") if len(edited) > 1 else ("was", "it", "digest does")
    names = " and ".join(edited)
    return f"{folder}: {names} {were} changed after mesascope wrote {them} (the SHA-256 {digests} not fit)"


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
