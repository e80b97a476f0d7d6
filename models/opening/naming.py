"""What a model's name, revision and layout say before any weight is read: without torch, so that a wrong one is refused
at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError, nearest
from ...data.setting_files import ENDINGS
from .catalogue import HAIKU, LAYOUTS, Header, Member, find, is_declared, read_header, shipped
from .file_kinds import PICKLED, refuse_code, refuse_unconverted
from .hub_cache import cached_snapshot, full_revision, repository_of

_WEIGHTS = {".safetensors", ".npz", *PICKLED}


@dataclass(frozen=True)
class Named:
    """What was named.

    file:     None: a directory or a hub id, which transformers opens
    layout:   of a file that is not mesascope's; None: nobody said, and the ending does not tell
    header:   of a file of mesascope's
    members:  of a family; empty for a single checkpoint
    """

    file: Path | None = None
    layout: str | Mapping[str, Any] | None = None
    header: Header | None = None
    members: tuple[Member, ...] = ()


def named(
    model: str,
    revision: str | None = None,
    layout: str | Mapping[str, Any] | None = None,
    model_config: str | Path | Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
) -> Named:
    """What these arguments of `load` name.

    Raises CheckpointRefused for files that are missing or cannot be opened, and UsageError for a revision or a layout
    that does not exist, and for arguments that do not go together.
    """
    if is_pretrained(model):
        if layout or model_config or model_args:
            raise UsageError(
                f"{model}: its config.json says how to read it; leave out --layout, --model-config and --model-args"
            )
        if revision is not None and os.path.isdir(model):
            raise UsageError(
                f"revision {revision!r}: {model} is a directory, which holds a single checkpoint; leave out --revision"
            )
        if not os.path.isdir(model):
            cached_snapshot(model, full_revision(revision))
        return Named()
    refuse_code(model)
    path = find(model)
    refuse_unconverted(path)
    layout = layout or _layout_by_ending(path)
    if isinstance(layout, str) and layout not in LAYOUTS and not is_declared(layout):
        raise UsageError(
            f"layout {layout!r} is neither known nor a file ({', '.join(ENDINGS)}); {nearest(layout, LAYOUTS)}"
        )
    if layout == "mesascope":
        if model_args or model_config:
            raise UsageError(f"{path.name} holds its own configuration; leave out --model-args and --model-config")
        header = read_header(path)
        return Named(path, layout, header, header.select(revision))
    if layout is not None and revision is not None:
        raise UsageError(f"revision {revision!r}: {path.name} holds a single checkpoint; leave out --revision")
    return Named(path, layout)


def is_pretrained(model: str) -> bool:
    """Whether `model` is a directory or a hub id: `owner/name`, or the name of a model in the cache."""
    if model in shipped() or os.path.isfile(model):
        return False
    if os.path.isdir(model):
        return True
    if not re.fullmatch(r"[\w.-]+(?:/[\w.-]+)?", model) or model.startswith(".") or Path(model).suffix in _WEIGHTS:
        return False
    return "/" in model or (".." not in model and repository_of(model).is_dir())


def _layout_by_ending(path: Path) -> str | None:
    if path.suffix in PICKLED:
        return None
    return HAIKU if path.suffix == ".npz" else "mesascope"
