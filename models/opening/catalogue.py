"""The shipped checkpoints, and the headers of safetensors files, read as JSON without torch.

Also the layouts and their model arguments, so that help texts need no torch either.

A family file is one `.safetensors` with several seeds and steps of one training recipe; its tensors have names like
`seed3/step500/W_Q`. A single checkpoint has names like `W_Q`. The metadata hold `config` and `record` as JSON.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...data.errors import CheckpointRefused, UsageError, nearest, not_a_file
from ...data.setting_files import ENDINGS, once_each
from .file_kinds import not_safetensors, refuse_other_kinds
from .tl_legacy_names import TL_LEGACY, TL_NATIVE, layout_advice

FORMAT = "mesascope-regression-1"
LANGUAGE_FORMAT = "mesascope-language-1"
SOFTMAX_FORMAT = "mesascope-softmax-1"
COPY_FORMAT = "mesascope-copy-1"
FORMATS = (FORMAT, LANGUAGE_FORMAT, SOFTMAX_FORMAT, COPY_FORMAT)
"""What the metadata of a file may say of its model."""
HAIKU = "von-oswald-haiku"
HUGGING_FACE = "hugging-face"
DECLARED = "declared"
PREDICTOR_FILE = "predictor-file"
"""Of a function in a file of the user's, which no reader opens and no report can have run."""
LAYOUTS = {
    "mesascope": "a .safetensors with its configuration in the metadata: one checkpoint, or a family",
    TL_LEGACY: "a state dict (.safetensors, .pt) with the names of TransformerLens before 3.0; give --model-config",
    TL_NATIVE: "a state dict of a TransformerBridge from boot_native (TransformerLens 4); give --model-config",
    HAIKU: "an .npz with the parameter names of von Oswald et al.'s code; give what it lacks with --model-args",
}
"""Layouts: how parameter names in a file map to roles. A FILE.toml declares any other."""
MODEL_ARGS = {
    "n_layers": "number of layers (default: the layers in the file; needed where they are tied)",
    "tied": "true: all layers share one set of weights (default: as the parameter names show)",
    "n_heads": "number of attention heads (default 1)",
    "softmax": "true: softmax attention; false: linear attention (default false)",
    "dampening": "factor on the update of every layer (default 1.0)",
    "activation_clip": "clips every activation to ± this value after each layer (default: no clip)",
    "target_only": "true: attention updates the y slot only (default false)",
    "query_in_context": "true: the query token is also a key and a value (default false)",
    "causal": "true: no token attends to later ones (default false)",
    "linear_from": "with softmax: the first layer whose attention is linear, from 0 (default: none)",
    "d_position": "width of sinusoidal position codes behind every token (default 0)",
    "one_hot_positions": "true: position codes are one-hot (default false)",
    "token_order": "interleaved: x and y in tokens of their own, y in the last numbers (default joint)",
    "d_out": "width of y (default 1)",
    "prefix": "transformer or Transformer_gd: the model to read, if the file holds both",
}
"""Settings that a file of the layout `von-oswald-haiku` does not record, by key."""
MAX_JSON = 12_000_000  # bytes of a header, an index or a configuration; the largest known index has 9 MB
MAX_MARKS = 800_000  # brackets, colons and commas, each of which may cost a hundred bytes; a tensor takes twelve
_NUMBER = "(0|[1-9][0-9]{0,8})"
_PREFIX = re.compile(f"seed{_NUMBER}/step{_NUMBER}/")
_REVISION = re.compile(f"(?:seed{_NUMBER}(?:-(?=step)|$))?(?:step{_NUMBER})?")


@dataclass(frozen=True, order=True)
class Member:
    """One checkpoint of a family."""

    seed: int
    step: int

    @property
    def revision(self) -> str:
        return f"seed{self.seed}-step{self.step}"

    @property
    def prefix(self) -> str:
        return f"seed{self.seed}/step{self.step}/"


@dataclass(frozen=True)
class Header:
    """A checkpoint file's header, read before any tensor.

    format:  which of mesascope's transformers the weights belong to
    bos:     the token that begins sequences, as text
    words:   the words of the tokens, as JSON
    """

    path: Path
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    members: tuple[Member, ...]
    names: tuple[str, ...]
    format: str = FORMAT
    bos: str | None = None
    words: str | None = None

    def select(self, revision: str | None) -> tuple[Member, ...]:
        """The members of a revision: "seed3", "step1000", "seed3-step1000" or "all"; None: every seed's last step."""
        if not self.members:
            if revision is not None:
                raise UsageError(
                    f"revision {revision!r}: {self.path.name} holds a single checkpoint; leave out --revision"
                )
            return ()
        if revision == "all":
            return self.members
        match = _REVISION.fullmatch(revision or "")
        if match is None or revision == "":
            raise UsageError(f"revision {revision!r} is not understood; expected {self._revisions()}")
        seed, step = (None if number is None else int(number) for number in match.groups())
        last = {member.seed: member.step for member in self.members}  # members are in order of their steps
        found = tuple(
            member
            for member in self.members
            if member.seed == (member.seed if seed is None else seed)
            and member.step == (last[member.seed] if step is None else step)
        )
        if not found:
            raise UsageError(f"revision {revision!r} is not in {self.path.name}; expected {self._revisions()}")
        return found

    def _revisions(self) -> str:
        seeds = [f"seed{seed}" for seed in sorted({member.seed for member in self.members})]
        steps = [f"step{step}" for step in sorted({member.step for member in self.members})]
        return f"{', '.join([*seeds, *steps])}, a pair like {self.members[0].revision}, or all"


def read_header(path: Path) -> Header:
    """The header of a checkpoint in mesascope's format. Raises CheckpointRefused for other files."""
    raw = read_json_header(path)
    metadata = raw.pop("__metadata__", {})
    found = metadata.get("format") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or found not in FORMATS:
        raise CheckpointRefused(
            f"{path.name}: a .safetensors without mesascope's metadata (format: {found!r:.40}); expected format"
            f" {', '.join(FORMATS[:-1])} or {FORMATS[-1]}; {layout_advice(raw)}"
        )
    config, record = (_json_object(path, metadata, key) for key in ("config", "record"))
    prefixes = {name: match.groups() for name in raw if (match := _PREFIX.match(name))}
    if prefixes and (surplus := sorted(set(raw) - set(prefixes))):
        raise CheckpointRefused(
            f"{path.name}: surplus tensor {surplus[0]!r} in a family; expected names like seed0/step500/W_Q only"
        )
    members = tuple(sorted(Member(int(seed), int(step)) for seed, step in set(prefixes.values())))
    names, bos, words = tuple(sorted(raw)), metadata.get("bos"), metadata.get("words")
    return Header(path, config, record, members, names, metadata["format"], bos, words)


def _json_object(path: Path, metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise CheckpointRefused(f"{path.name}: the metadata's {key} is missing or not JSON ({cause})") from error
    if not isinstance(value, dict):
        raise CheckpointRefused(f"{path.name}: the metadata's {key} is a {type(value).__name__}, not a JSON object")
    return value


def read_json_header(path: Path) -> dict[str, Any]:
    """The header of any safetensors file, within bounds of size. No tensor is read."""
    if not path.is_file():
        raise CheckpointRefused(not_a_file(path))
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(128)
            refuse_other_kinds(path, start)
            length = int.from_bytes(start[:8], "little")
            if len(start) < 8 or not 2 <= length <= size - 8:
                raise CheckpointRefused(f"{path.name}{not_safetensors(start, length, size)}")
            if length > MAX_JSON:
                raise CheckpointRefused(f"{path.name}: a header of {length} bytes; expected at most {MAX_JSON}")
            file.seek(8)
            header = parse_json(file.read(length))
    except OSError as error:
        raise CheckpointRefused(f"{path.name}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(
            f"{path.name}: the safetensors header is not JSON ({error}); the file may be damaged, download it again"
        ) from error
    if not isinstance(header, dict):
        raise CheckpointRefused(f"{path.name}: the safetensors header is a {type(header).__name__}, not a JSON object")
    return header


def parse_json(content: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> Any:
    """Untrusted JSON. Raises ValueError or RecursionError for invalid JSON, and for more than MAX_MARKS items: a few
    megabytes of empty lists take hundreds of megabytes in memory.
    """
    refuse_crowded(content, MAX_MARKS)
    return json.loads(content, object_pairs_hook=pairs_hook or once_each)


def refuse_crowded(content: bytes, most: int) -> None:
    """Raise ValueError for JSON of more items than `most`, without parsing it."""
    if (marks := sum(content.count(mark) for mark in (b"[", b"{", b":", b","))) > most:
        raise ValueError(f"{marks} brackets, colons and commas; expected at most {most}")


def remakeable(layout: str) -> bool:
    """Whether the record in a report is enough to open the checkpoint again."""
    return layout in (*LAYOUTS, HUGGING_FACE) or is_declared(layout)


def is_declared(layout: str) -> bool:
    """Whether a file declares the layout, or the record of a report does."""
    return layout == DECLARED or layout.endswith(ENDINGS)


def shipped() -> dict[str, Path]:
    """The checkpoints that ship with the package, by name."""
    folder = Path(str(resources.files("mesascope.data"))) / "checkpoints"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(model: str) -> Path:
    """The file of a shipped name or a path."""
    names = shipped()
    if model in names:
        return names[model]
    path = Path(model)
    if os.path.exists(model):  # unlike Path.exists, False for what cannot be a path at all
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointRefused(not_a_file(path))
    raise CheckpointRefused(f"{model}: neither a file nor a shipped checkpoint; {nearest(model, names)}")
