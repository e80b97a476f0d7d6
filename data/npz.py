"""Reading `.npz` files that somebody else wrote: plain arrays only, nothing executed, bounded memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from .errors import MesascopeError

MAX_EXPANSION = 20  # numbers hardly compress, a bomb does a thousandfold
MAX_DIRECTORY = 4 * 2**20  # bytes of an archive's list of members: some 40,000
ALWAYS_ALLOWED = 64 * 2**20  # bytes: constant arrays do compress, and this much is harmless


def read_npz(path: Path, refuse: type[MesascopeError]) -> dict[str, np.ndarray]:
    """Every array in the file, in this machine's byte order. Anything else raises `refuse`, in one line."""
    if not path.is_file():
        raise refuse(f"{path}: no such file")
    try:
        with path.open("rb") as file, open_zip(file) as archive:
            _refuse_bombs(path, archive, refuse)
        with np.load(path, allow_pickle=False) as archive:
            if len(set(archive.files)) < len(archive.files):
                raise refuse(f"{path.name}: two arrays have one name")
            return {name: _plain(path, name, archive[name], refuse) for name in archive.files}
    except refuse:
        raise
    except Exception as error:  # zipfile, zlib, numpy and header parsing raise many kinds on damaged bytes
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise refuse(f"{path.name}: not a readable .npz of plain arrays ({cause[:200]})") from error


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """A zip archive from strangers. BadZipFile for one whose list of members is long enough to fill the memory."""
    return zipfile.ZipFile(cast(BinaryIO, _Sparing(file)))


class _Sparing:
    """A file of which no more is read at once than a sensible list of members takes: zipfile reads it in one go."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, n: int = -1) -> bytes:
        if n > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"a list of members of {n} bytes, expected at most {MAX_DIRECTORY}")
        return self.file.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _refuse_bombs(path: Path, archive: zipfile.ZipFile, refuse: type[MesascopeError]) -> None:
    unpacked, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
    if unpacked > max(MAX_EXPANSION * size, ALWAYS_ALLOWED):
        raise refuse(f"{path.name}: {size} bytes that would unpack to {unpacked}; refused")


def _plain(path: Path, name: str, array: object, refuse: type[MesascopeError]) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise refuse(f"{path.name}: {name!r} is not an array")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
