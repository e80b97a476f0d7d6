"""A directory saved by `save_pretrained`: its JSON, checked before its weights are opened.

Shard indexes, links and configurations are untrusted. The files that they name must be in the directory (or in the
blobs of the same hub cache), their claims must fit the files' sizes, and they must not ask for code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import CheckpointRefused
from ...data.setting_files import once_each
from .catalogue import MAX_JSON, parse_json, read_json_header

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
_CONVERT = "expected safetensors; convert them with save_pretrained"
ELSEWHERE = {
    r"adapter_model\.(safetensors|bin)": "weights of an adapter, not of a model; merge it into its base model first",
    r"(model|pytorch_model)-\d+-of-\d+\.(safetensors|bin)": "a shard without the index of all shards; download"
    " model.safetensors.index.json or pytorch_model.bin.index.json, too",
    r"model\.[\w-]+\.safetensors": "weights of a variant; rename the one that you want to model.safetensors",
    r"consolidated.*\.(safetensors|pth)": "weights in the names of the original code; expected save_pretrained's",
    r".*\.gguf": f"GGUF weights; {_CONVERT}",
    r".*\.h5": f"TensorFlow weights; {_CONVERT}",
    r".*\.msgpack": f"Flax weights; {_CONVERT}",
    r".*\.(safetensors|bin|pt|pth|ckpt|npz|onnx)": "not a name of save_pretrained; give the file itself, with a layout",
}
"""What else a directory may hold, by the name of a file, most telling first."""
_WIDTHS = {
    8: ("F64", "I64", "U64"),
    4: ("F32", "I32", "U32"),
    2: ("F16", "BF16", "I16", "U16"),
    1: ("I8", "U8", "BOOL", "F8_E4M3", "F8_E5M2"),
}
_BYTES = {dtype: width for width, dtypes in _WIDTHS.items() for dtype in dtypes}
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
_COUNTS = re.compile(r"(?:.*_)?(?:layers?|blocks|groups|group_num|networks|per_stack|per_block)")
_LABELS = ("num_labels", "id2label", "label2id")
_CODE = ("auto_map", "custom_pipelines", "trust_remote_code", "model_file")


@dataclass(frozen=True)
class Stored:
    """One tensor's entry in a file's header."""

    file: Path
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Directory:
    """A checked directory.

    config:   config.json without private keys and labels
    tensors:  name -> entry in a header; empty for pickled weights, which have no header
    pickles:  pickled weight files, for `safe_files.read_tensors`
    """

    path: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Stored]
    pickles: tuple[Path, ...]


def read_directory(path: Path) -> Directory:
    """Check a directory's configuration, index and headers. No tensor is read."""
    if not path.is_dir():
        raise CheckpointRefused(f"{path}: no such directory; check the path")
    config = read_config(path)
    for name in ("tokenizer_config.json", "generation_config.json", "processor_config.json"):
        if (path / name).exists():
            _read_object(path, name)
    weights = next((name for name in WEIGHTS if (path / name).is_symlink() or (path / name).exists()), None)
    if weights is None:
        raise CheckpointRefused(_no_weights(path))
    index = _read_index(path, weights) if weights.endswith(".index.json") else None
    files = tuple(inside(path, name) for name in (sorted(set(index.values())) if index is not None else [weights]))
    if weights.startswith("pytorch_model"):
        return Directory(path, config, {}, files)
    tensors = _read_tensors(files)
    if index is not None:
        _match_index(index, tensors, weights)
    bound_layers(config, len(tensors))
    return Directory(path, config, tensors, ())


def read_config(path: Path) -> dict[str, Any]:
    """config.json without private keys. Raises CheckpointRefused if it asks for code or for quantised weights."""
    if not (path / "config.json").exists():
        raise CheckpointRefused(f"{path}: a directory without config.json; expected one saved by save_pretrained")
    config = _read_object(path, "config.json")
    if config.get("quantization_config") is not None:
        raise CheckpointRefused(
            "config.json: quantization_config is set, so the weights are quantised; expected full precision"
        )
    if not isinstance(config.get("model_type"), str):
        raise CheckpointRefused(f"config.json: model_type = {config.get('model_type')!r:.60}; expected a string")
    return _relevant(config)


def _relevant(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without private keys and labels.

    Keys that begin with an underscore could make transformers download code (CVE-2026-4372). num_labels = 10^9 makes
    transformers write out a billion names, which language models do not use.
    """
    return {
        key: _value(value)
        for key, value in config.items()
        if not key.startswith(("_", "attn_impl")) and key not in _LABELS
    }


def _value(value: Any) -> Any:
    """A value of a configuration. transformers writes the infinite ones as {"__float__": "Infinity"} (Bamba)."""
    if isinstance(value, list):
        return [_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    written = value.get("__float__")
    return float(written) if written in ("NaN", "Infinity", "-Infinity") else _relevant(value)


def inside(path: Path, name: str) -> Path:
    """The file `name` of a directory. Raises CheckpointRefused if it is outside; hub caches may link to their blobs."""
    if not name or name in (".", "..") or any(mark in name for mark in "/\\\0:"):
        raise CheckpointRefused(f"{name!r}: not a file name without a path; expected a file in the directory itself")
    file = path / name
    try:
        real, home = file.resolve(strict=True), path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # a missing file, a link to nowhere, a loop of links
        raise CheckpointRefused(f"{name}: no such file in {path}; the download may be incomplete") from error
    homes = [home, home.parents[1] / "blobs"] if home.parent.name == "snapshots" else [home]
    if real.parent not in homes:
        raise CheckpointRefused(f"{name}: a link that leaves the directory; copy the file it points to into {path}")
    if not real.is_file():
        raise CheckpointRefused(f"{name}: a directory or device; expected a regular file")
    return file


def _no_weights(path: Path) -> str:
    names = sorted(file.name for file in path.iterdir())
    for pattern, kind in ELSEWHERE.items():
        if seen := [name for name in names if re.fullmatch(pattern, name)]:
            return f"{seen[0]}: {kind}; {path} has no {WEIGHTS[0]}"
    return f"{path}: a directory without weights; expected one of {', '.join(WEIGHTS)}"


def _read_object(path: Path, name: str) -> dict[str, Any]:
    file = inside(path, name)
    if file.stat().st_size > MAX_JSON:
        raise CheckpointRefused(f"{name}: {file.stat().st_size} bytes; expected at most {MAX_JSON}")
    keys: set[str] = set()

    def once_each_seen(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys.update(key for key, value in pairs if value)
        return once_each(pairs)

    try:
        value = parse_json(file.read_bytes(), once_each_seen)
    except OSError as error:
        raise CheckpointRefused(f"{name}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(
            f"{name}: not readable JSON ({error}); the file may be damaged, download it again"
        ) from error
    if not isinstance(value, dict):
        raise CheckpointRefused(f"{name}: a JSON {type(value).__name__}; expected a JSON object")
    for key in _CODE:
        if key in keys:
            raise CheckpointRefused(
                f"{name}: {key} asks for the model's own code, which mesascope never runs; expected a model of"
                " transformers"
            )
    return value


def _read_index(path: Path, name: str) -> dict[str, str]:
    index = _read_object(path, name).get("weight_map")
    if not isinstance(index, dict) or not index or not all(isinstance(file, str) for file in index.values()):
        raise CheckpointRefused(f"{name}: weight_map is not a table from tensor names to file names")
    return index


def _read_tensors(files: tuple[Path, ...]) -> dict[str, Stored]:
    tensors: dict[str, Stored] = {}
    for file in files:
        header = read_json_header(file)
        header.pop("__metadata__", None)
        for name, entry in header.items():
            if name in tensors:
                raise CheckpointRefused(
                    f"{file.name}: {name!r} is in {tensors[name].file.name} too; expected each tensor once"
                )
            tensors[name] = _stored(file, name, entry)
        _refuse_gaps(file, header)
    return tensors


def _stored(file: Path, name: str, entry: Any) -> Stored:
    try:
        dtype, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        fits = whole and math.prod(shape) * _BYTES[dtype] == end - begin
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointRefused(
            f"{file.name}: the header's entry for {name!r} is not valid; expected dtype, shape and data_offsets"
        ) from error
    if not fits:
        raise CheckpointRefused(
            f"{file.name}: {name!r} claims {dtype} {list(shape)} in bytes {begin} to {end}; the sizes do not agree"
        )
    return Stored(file, dtype, shape)


def _refuse_gaps(file: Path, header: Mapping[str, Any]) -> None:
    """Raise CheckpointRefused unless tensors fill the file without gaps and overlaps."""
    with file.open("rb") as opened:
        position = 8 + int.from_bytes(opened.read(8), "little")
    expected = 0
    for begin, end in sorted(entry["data_offsets"] for entry in header.values()):
        if begin != expected:
            raise CheckpointRefused(
                f"{file.name}: a gap or an overlap: a tensor begins at byte {begin}; expected {expected}"
            )
        expected = end
    size = file.stat().st_size
    if position + expected != size:
        raise CheckpointRefused(
            f"{file.name}: {size} bytes; expected {position + expected} from its header; it may be truncated"
        )


def _match_index(index: Mapping[str, str], tensors: Mapping[str, Stored], name: str) -> None:
    for tensor, file in index.items():
        if tensor not in tensors or tensors[tensor].file.name != file:
            raise CheckpointRefused(
                f"{name}: {tensor!r} is not in {file}, where the index expects it; the download may be incomplete"
            )
    if surplus := sorted(set(tensors) - set(index)):
        raise CheckpointRefused(f"{name}: {surplus[0]!r} is in {tensors[surplus[0]].file.name}, but not in the index")


def bound_layers(config: Mapping[str, Any], n_tensors: int) -> None:
    """Raise CheckpointRefused for more layers than tensors, since a loader would build them all.

    Other counts may belong to parts that the model does not build; they may be up to 1000.
    """
    for section in (config, *(value for value in config.values() if isinstance(value, dict))):
        for key in filter(_COUNTS.fullmatch, section):
            value, most = section[key], n_tensors if key in _LAYERS else max(n_tensors, 1000)
            if isinstance(value, int) and value > most:
                raise CheckpointRefused(
                    f"config.json: {key} = {value}, but the weights are {n_tensors} tensors; expected at most {most}"
                )
