"""What is often found under a weight file's name, told from its bytes and named in words. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from ...data.errors import CheckpointRefused

_WEB_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|!--)", re.IGNORECASE)
_EXAMINED = 2**20  # bytes: a megabyte of numbers without a lone line feed does not happen
_LEAST = 16  # line endings, below which their kind says nothing


def refuse_other_kinds(path: Path, start: bytes) -> None:
    """Refuse what its first bytes show to be no weights at all."""
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointRefused(f"{path.name}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    if _WEB_PAGE.match(start):
        raise CheckpointRefused(f"{path.name}: an HTML or XML page, not weights; the download probably failed")


def refuse_converted_text(path: Path) -> None:
    """Refuse binary files that some tool took for text: line endings converted, or bytes replaced by U+FFFD."""
    with path.open("rb") as file:
        content = file.read(_EXAMINED)
    feeds, pairs = content.count(b"\n"), content.count(b"\r\n")
    if pairs == feeds >= _LEAST:
        raise CheckpointRefused(
            f"{path.name}: damaged, its line endings were converted to CRLF as if it were text;"
            " fetch it again in binary mode"
        )
    if content.count(b"\xef\xbf\xbd") >= _LEAST:
        raise CheckpointRefused(
            f"{path.name}: damaged, bytes were replaced as if it were text (U+FFFD); fetch it again in binary mode"
        )
