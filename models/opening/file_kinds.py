"""Files that are often mistaken for weights, recognised by their bytes. No torch."""

from __future__ import annotations

import re
from pathlib import Path

from ...data.errors import CheckpointRefused

PICKLES = "docs/checkpoints.md#pickles"
"""Where the documentation says how to convert a pickle."""
PICKLED = {".pt", ".pth", ".bin", ".ckpt"}
"""Endings of state dicts that torch saved."""
CONVERTED = (".pkl", ".pickle")
"""Endings of pickles whose arrays `mesascope convert` reads."""
MESSAGE_PACK = dict.fromkeys((".msgpack", ".mpk"), "MessagePack, as Flax writes it")
CONVERT = "`mesascope convert FILE.pkl FILE.safetensors` reads the arrays of a pickle without running it"
_WEB_PAGE = re.compile(rb"\s*<(?:!doctype|html|\?xml|head|!--)", re.IGNORECASE)
_OTHER_FORMATS = {
    b"GGUF": "GGUF weights, as llama.cpp reads them; open the save_pretrained directory that they were made from",
    b"\x89HDF\r\n\x1a\n": "an HDF5 file, as Keras writes; save the weights as .safetensors, and declare a layout",
}
_CODE = re.compile(r".*\.py(:\w*)?", re.DOTALL)
_EXAMINED = 2**20  # bytes: a megabyte of numbers without a lone line feed does not happen
_LEAST = 16  # line endings or U+FFFD; fewer may be chance


def refuse_other_kinds(path: Path, start: bytes) -> None:
    """Raise CheckpointRefused for a Git LFS pointer, a web page or weights of another format."""
    for magic, kind in _OTHER_FORMATS.items():
        if start.startswith(magic):
            raise CheckpointRefused(f"{path.name}: {kind}")
    if start.startswith(b"version https://git-lfs"):
        raise CheckpointRefused(f"{path.name}: a Git LFS pointer, not the weights; fetch them with `git lfs pull`")
    if _WEB_PAGE.match(start):
        raise CheckpointRefused(
            f"{path.name}: an HTML or XML page, not weights; the download probably failed; download it again"
        )


def refuse_code(model: str) -> None:
    """Raise CheckpointRefused for FILE.py and FILE.py:function in the place of a checkpoint."""
    if _CODE.fullmatch(model):
        raise CheckpointRefused(
            f"{model}: Python code, which mesascope does not run as a checkpoint; if it is yours, give --predictor"
            " FILE.py:function --d-in N"
        )


def refuse_unconverted(path: Path) -> None:
    """Raise CheckpointRefused for files that do not open, but can be converted, by their endings."""
    if path.suffix in CONVERTED:
        raise CheckpointRefused(
            f"{path.name}: a Python pickle, which mesascope does not open; {CONVERT}; then give --layout; see {PICKLES}"
        )
    if path.suffix in MESSAGE_PACK:
        raise CheckpointRefused(
            f"{path.name}: {MESSAGE_PACK[path.suffix]}, which mesascope does not open; write its arrays with"
            f" numpy.savez where Flax is installed, then `mesascope convert FILE.npz FILE.safetensors`; see {PICKLES}"
        )


def refuse_converted_text(path: Path) -> None:
    """Raise CheckpointRefused for binary files damaged as text: converted line endings, or bytes replaced by U+FFFD."""
    with path.open("rb") as file:
        content = file.read(_EXAMINED)
    feeds, pairs = content.count(b"\n"), content.count(b"\r\n")
    if pairs == feeds >= _LEAST:
        raise CheckpointRefused(
            f"{path.name}: damaged: its {feeds} line endings were converted to CRLF, as in a text file;"
            " download or copy it again in binary mode"
        )
    if (replaced := content.count(b"\xef\xbf\xbd")) >= _LEAST:
        raise CheckpointRefused(
            f"{path.name}: damaged: {replaced} bytes were replaced by U+FFFD, as in a text file;"
            " download or copy it again in binary mode"
        )


def not_safetensors(start: bytes, length: int, size: int) -> str:
    """What to say, after its name, of a file whose first bytes give an impossible length of the header."""
    if re.match(rb"\x80[\x02-\x05]", start):
        return (
            f": a Python pickle (protocol {start[1]}), not safetensors; mesascope never unpickles Python objects;"
            f" {CONVERT}; see {PICKLES}"
        )
    if start.startswith(b"PK\x03\x04"):
        return (
            ": a zip archive, not safetensors; name it .pt if torch.save wrote it, .npz if np.savez did, and open it"
            " with --layout"
        )
    return (
        f": truncated, or not safetensors: it has {size} bytes, and its first 8 bytes give a header of {length} bytes;"
        " download or copy it again"
    )
