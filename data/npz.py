"""Reading untrusted `.npz` files: arrays without Python objects, nothing executed, bounded memory."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from .errors import MesascopeError, not_a_file

MAX_EXPANSION = 20  # trained weights hardly compress, a bomb does a thousandfold
MAX_DIRECTORY = 4 * 2**20  # bytes of an archive's list of members: some 40,000
ALWAYS_ALLOWED = 64 * 2**20  # bytes: constant arrays do compress, and this much is harmless


def read_npz(path: Path, refuse: type[MesascopeError]) -> dict[str, np.ndarray]:
    """Every array in the file, in native byte order. Raises `refuse` for any other file."""
    if not path.is_file():
        raise refuse(not_a_file(path))
    try:
        with path.open("rb") as file, open_zip(file) as archive:
            _refuse_bombs(path, archive, refuse)
        with np.load(path, allow_pickle=False) as archive:
            if len(set(archive.files)) < len(archive.files):
                raise refuse(f"{path.name}: two arrays have the same name; expected each name once")
            return {name: _native(path, name, archive[name], refuse) for name in archive.files}
    except refuse:
        raise
    except Exception as error:  # zipfile, zlib, numpy and header parsing raise many kinds on damaged bytes
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise refuse(
            f"{path.name}: not a readable .npz ({cause[:200]}); expected arrays without Python objects, as np.savez"
            " writes them"
        ) from error


def open_zip(file: BinaryIO) -> zipfile.ZipFile:
    """An untrusted zip archive. Raises BadZipFile if its list of members is large enough to fill the memory."""
    return zipfile.ZipFile(cast(BinaryIO, _BoundedReads(file)))


class _BoundedReads:
    """A file that refuses reads larger than MAX_DIRECTORY: zipfile reads the list of members in one call."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, n: int = -1) -> bytes:
        if n > MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"the list of members takes {n} bytes; expected at most {MAX_DIRECTORY}")
        return self.file.read(n)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


def _refuse_bombs(path: Path, archive: zipfile.ZipFile, refuse: type[MesascopeError]) -> None:
    unpacked, size = sum(member.file_size for member in archive.infolist()), path.stat().st_size
    if unpacked > (most := max(MAX_EXPANSION * size, ALWAYS_ALLOWED)):
        raise refuse(
            f"{path.name}: its {size} bytes would unpack to {unpacked} bytes; expected at most {most}; it may be a"
            " zip bomb; if you trust it, save it again with np.savez"
        )


def _native(path: Path, name: str, array: object, refuse: type[MesascopeError]) -> np.ndarray:
    if not isinstance(array, np.ndarray):
        raise refuse(f"{path.name}: {name!r} is not an array; expected .npy members only")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
