"""The shipped checkpoints, and what a family file holds, read from safetensors headers as plain JSON: no torch.

Also the layouts that can be declared, and what must be said beside them, so that help texts need no torch either.

A family file is one `.safetensors` whose tensors are named `seed3/step500/W_Q`: several seeds, several steps of one
training recipe. A single checkpoint has bare names, `W_Q`. The metadata carry `config` and `record` as JSON.
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

from ...data.errors import CheckpointRefused, UsageError, nearest
from .file_kinds import refuse_other_kinds

FORMAT = "mesascope-regression-1"
LANGUAGE_FORMAT = "mesascope-language-1"
HAIKU = "von-oswald-haiku"
TL_LEGACY = "tl-legacy"
HUGGING_FACE = "hugging-face"
DECLARED = "declared"
LAYOUTS = {
    "mesascope": "one .safetensors with its configuration in the metadata, a single checkpoint or a family",
    TL_LEGACY: "a state dict (.safetensors, .pt) in the names of TransformerLens before 3.0, with --model-config",
    HAIKU: "an .npz in the parameter names of von Oswald et al.'s code, with --model-args for what it does not say",
}
"""How the names in a file can be mapped to roles; beside these, a .toml that declares it."""
MODEL_ARGS = {
    "n_layers": "how often attention is applied (default: the number of layers in the file, 1 when tied)",
    "tied": "true: one set of weights for every layer (default: as the names in the file say)",
    "n_heads": "attention heads (default 1)",
    "softmax": "softmax instead of linear attention (default false)",
    "dampening": "factor on every update (default 1.0)",
    "activation_clip": "element-wise clip after each layer (default none)",
    "target_only": "attention updates the y slot only (default false)",
    "query_in_context": "the query token is a key and value too (default false)",
    "d_out": "width of y (default 1)",
    "prefix": "transformer, or Transformer_gd, when the file holds both",
}
"""What a file of the layout `von-oswald-haiku` does not say, by key."""
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
    """What a checkpoint file says of itself, before any tensor is read.

    format:  of which of our transformers it holds the weights
    bos:     the token that sequences begin with, and
    words:   what the tokens say, as they are written there
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
        """Members that a revision names: "seed3", "step1000", "seed3-step1000", "all"; None: every seed's last step."""
        if not self.members:
            if revision is not None:
                raise UsageError(f"revision {revision!r}: {self.path.name} holds a single checkpoint")
            return ()
        if revision == "all":
            return self.members
        match = _REVISION.fullmatch(revision or "")
        if match is None or revision == "":
            raise UsageError(f"revision {revision!r}: expected {self._revisions()} or all")
        seed, step = (None if number is None else int(number) for number in match.groups())
        last = {member.seed: member.step for member in self.members}  # members are in order of their steps
        found = tuple(
            member
            for member in self.members
            if member.seed == (member.seed if seed is None else seed)
            and member.step == (last[member.seed] if step is None else step)
        )
        if not found:
            raise UsageError(f"revision {revision!r} is not in {self.path.name}; it has {self._revisions()}")
        return found

    def _revisions(self) -> str:
        seeds = [f"seed{seed}" for seed in sorted({member.seed for member in self.members})]
        steps = [f"step{step}" for step in sorted({member.step for member in self.members})]
        return f"{', '.join(seeds)} and {', '.join(steps)} (seedS-stepT for one)"


def read_header(path: Path) -> Header:
    """Read a mesascope checkpoint's header. Refuses, in words, what is not one."""
    raw = read_json_header(path)
    metadata = raw.pop("__metadata__", {})
    if not isinstance(metadata, dict) or metadata.get("format") not in (FORMAT, LANGUAGE_FORMAT):
        raise CheckpointRefused(
            f"{path.name}: a .safetensors file without mesascope's metadata (format {FORMAT!r} or {LANGUAGE_FORMAT!r});"
            " say how its names are to be read with --layout"
        )
    config, record = (_json_object(path, metadata, key) for key in ("config", "record"))
    prefixes = {name: match.groups() for name in raw if (match := _PREFIX.match(name))}
    if prefixes and (strangers := sorted(set(raw) - set(prefixes))):
        raise CheckpointRefused(f"{path.name}: surplus tensor {strangers[0]!r} beside a family of checkpoints")
    members = tuple(sorted(Member(int(seed), int(step)) for seed, step in set(prefixes.values())))
    said = (metadata["format"], metadata.get("bos"), metadata.get("words"))
    return Header(path, config, record, members, tuple(sorted(raw)), *said)


def _json_object(path: Path, metadata: Mapping[str, Any], key: str) -> dict[str, Any]:
    try:
        value = json.loads(metadata[key])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise CheckpointRefused(f"{path.name}: the metadata's {key} is not readable JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointRefused(f"{path.name}: the metadata's {key} is not a JSON object")
    return value


def read_json_header(path: Path) -> dict[str, Any]:
    """The header of any safetensors file, bounded by the file's size and by what is sensible. No tensor is read."""
    if not path.is_file():
        raise CheckpointRefused(f"{path}: no such file")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(128)
            refuse_other_kinds(path, start)
            length = int.from_bytes(start[:8], "little")
            if len(start) < 8 or not 2 <= length <= size - 8:
                raise CheckpointRefused(
                    f"{path.name}: claims a header of {length} bytes in a file of {size}; truncated, or not safetensors"
                )
            if length > MAX_JSON:
                raise CheckpointRefused(f"{path.name}: a header of {length} bytes, expected at most {MAX_JSON}")
            file.seek(8)
            header = parse_json(file.read(length))
    except OSError as error:
        raise CheckpointRefused(f"{path.name}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(f"{path.name}: the safetensors header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise CheckpointRefused(f"{path.name}: the safetensors header is not a JSON object")
    return header


def parse_json(content: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None) -> Any:
    """JSON from strangers. ValueError or RecursionError for what is none, or says more than names and sizes would:
    a few megabytes of empty lists become hundreds.
    """
    refuse_crowded(content, MAX_MARKS)
    return json.loads(content, object_pairs_hook=pairs_hook or once_each)


def refuse_crowded(content: bytes, most: int) -> None:
    """ValueError for JSON of more parts than `most`, told without parsing it."""
    if (marks := sum(content.count(mark) for mark in (b"[", b"{", b":", b","))) > most:
        raise ValueError(f"{marks} brackets, colons and commas, expected at most {most}")


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, unless a key stands twice in it: then two readers may well take different ones."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice")
    return found


def remakeable(layout: str) -> bool:
    """Whether a report's record alone is enough to open its checkpoint again."""
    return layout in (*LAYOUTS, HUGGING_FACE, DECLARED) or layout.endswith(".toml")


def shipped() -> dict[str, Path]:
    """The checkpoints that come with the package, by name."""
    folder = Path(str(resources.files("mesascope.data"))) / "checkpoints"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def find(model: str) -> Path:
    """The file that `model` means: a shipped name, or a path."""
    names = shipped()
    if model in names:
        return names[model]
    path = Path(model)
    if os.path.exists(model):  # unlike Path.exists, False for what cannot be a path at all
        return path
    if path.suffix or len(path.parts) > 1:
        raise CheckpointRefused(f"{model}: no such file")
    raise CheckpointRefused(f"{model}: neither a file nor a shipped checkpoint; {nearest(model, names)}")
