"""Opening what a user points at: one entry for shipped names, files and families."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ..data.errors import CheckpointRefused, UsageError, nearest
from .catalogue import HAIKU, LAYOUTS, find, read_header, shipped
from .checkpoint import open_member
from .haiku import open_haiku
from .regressors import TransformerRegressor


def load(
    model: str | Path,
    revision: str | None = None,
    *,
    layout: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> TransformerRegressor:
    """Open one checkpoint: a shipped name, a `.safetensors` of ours, or an `.npz` in a declared layout.

    In a family (several seeds and steps) `revision` chooses, e.g. "seed3-step1000"; without one, the first seed's last
    step is opened, and `source.revision` says which that is. `dtype` defaults to the checkpoint's own.

    Raises CheckpointRefused for anything missing, damaged or not understood, UsageError for a revision, layout or
    model argument that does not exist.
    """
    return load_all(model, revision, layout=layout, model_args=model_args, device=device, dtype=dtype)[0]


def load_all(
    model: str | Path,
    revision: str | None = None,
    *,
    layout: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> list[TransformerRegressor]:
    """Open every checkpoint that `model` and `revision` name: all seeds of a family, say, or all their steps."""
    path = find(str(model))
    given = None if str(model) in shipped() else str(model)
    layout = layout or (HAIKU if path.suffix == ".npz" else "mesascope")
    if layout not in LAYOUTS:
        raise UsageError(f"layout {layout!r} is not known; {nearest(layout, LAYOUTS)}")
    if path.is_dir():
        raise CheckpointRefused(f"{path}: a directory; expected a .safetensors or .npz file")
    if layout == HAIKU:
        if revision is not None:
            raise UsageError(f"revision {revision!r}: {path.name} holds a single checkpoint")
        subjects = [open_haiku(path, model_args or {}, str(model))]
    else:
        if model_args:
            raise UsageError(f"--model-args: {path.name} carries its own configuration; expected none")
        header = read_header(path)
        members = header.select(revision) or (None,)
        subjects = [open_member(header, member, path.stem, given) for member in members]
    for subject in subjects:
        subject.module.to(device=device, dtype=dtype)
    return subjects
