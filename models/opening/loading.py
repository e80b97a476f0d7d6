"""Opening models: shipped names, files, families, directories and hub ids."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from ...data.errors import CheckpointRefused, UsageError
from ...data.recipe import file_sha256
from ..copy_models import CopyModel
from ..own.attention_only import AttentionOnlyModel
from ..regressors import SequenceRegressor, TransformerRegressor
from ..softmax_regressors import LayerSoftmaxRegressor
from ..subject import Subject
from .catalogue import HAIKU, MAX_JSON, find, parse_json, shipped
from .checkpoint import open_member
from .haiku import open_haiku
from .layouts import open_declared
from .naming import named
from .safe_files import read_tensors
from .tl_legacy import open_tl_legacy
from .tl_legacy_names import TL_LEGACY, TL_NATIVE, layout_advice

FileSubject = TransformerRegressor | SequenceRegressor | AttentionOnlyModel | LayerSoftmaxRegressor | CopyModel


def load(
    model: str | Path,
    revision: str | None = None,
    *,
    layout: str | Mapping[str, Any] | None = None,
    model_config: str | Path | Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> Subject:
    """Open one checkpoint: a shipped name, a file, a directory saved by `save_pretrained`, or a hub id in the local
    cache. Nothing is downloaded.

    revision:      of a family: "seed3", "step1000" or "seed3-step1000"; default: the first seed's last step. Of a hub
                   id: a branch, a commit or a training step
    layout:        a name from `mesascope list layouts`, a file that declares a layout (TOML, YAML
                   or JSON), or the tables of such a file
    model_config:  settings that the weights do not show: a JSON file or a mapping
    model_args:    the same, with precedence over model_config
    dtype:         default: the checkpoint's own

    Raises CheckpointRefused for a checkpoint that is missing, damaged or unsupported, and UsageError for a revision,
    layout or model argument that does not exist.
    """
    how: dict[str, Any] = {"layout": layout, "model_config": model_config, "model_args": model_args}
    return load_all(model, revision, **how, device=device, dtype=dtype)[0]


def load_all(
    model: str | Path,
    revision: str | None = None,
    *,
    layout: str | Mapping[str, Any] | None = None,
    model_config: str | Path | Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
) -> list[Subject]:
    """Open every checkpoint that `model` and `revision` name, e.g. all seeds of a family. Arguments as for `load`."""
    asked = named(str(model), revision, layout, model_config, model_args)
    if asked.file is None:
        return [_open_pretrained(str(model), revision, device, dtype)]
    subjects: list[FileSubject]
    if asked.header is not None:
        given = None if str(model) in shipped() else str(model)
        members = asked.members or (None,)
        subjects = [open_member(asked.header, member, asked.file.stem, given) for member in members]
    else:
        facts = {**_read_config(model_config), **(model_args or {})}
        subjects = [_open_foreign(asked.file, asked.layout or _refuse_state_dict(asked.file), facts, str(model))]
    for subject in subjects:
        subject.module.to(device=device, dtype=dtype)
    return list(subjects)


def load_seed(model: str, seed: int | None) -> Subject:
    """The last step of this seed; of the first one, where the model has no such seed."""
    if seed is not None:
        try:
            return load(model, f"seed{seed}")
        except UsageError:  # a single checkpoint, or another seed
            pass
    return load(model)


def sha256_of(model: str) -> str:
    """Of a model's file; of its weights, where a directory or a hub id names it."""
    if model in shipped() or Path(model).is_file():
        return file_sha256(find(model))
    return str(load(model).source.weights_sha256)


def _open_pretrained(
    model: str, revision: str | None, device: str | torch.device, dtype: torch.dtype | None
) -> Subject:
    from .pretrained import open_directory, open_hub  # transformers takes seconds to import

    if os.path.isdir(model):
        return open_directory(model, device=device, dtype=dtype)
    return open_hub(model, revision, device=device, dtype=dtype)


def _refuse_state_dict(path: Path) -> NoReturn:
    """Of a state dict without a layout, with the one that its names suggest."""
    names = sorted(read_tensors(path))  # raises CheckpointRefused if it is not a state dict
    raise CheckpointRefused(
        f"{path.name}: a state dict (first name: {names[0]!r:.80}) without a layout; {layout_advice(names)}"
    )


def _open_foreign(path: Path, layout: str | Mapping[str, Any], facts: Mapping[str, Any], given: str) -> FileSubject:
    if layout == HAIKU:
        return open_haiku(path, facts, given)
    if layout in (TL_LEGACY, TL_NATIVE):
        return open_tl_legacy(path, facts, given, str(layout))
    return open_declared(path, layout, facts, given)


def _read_config(config: str | Path | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The settings of --model-config."""
    if config is None or isinstance(config, Mapping):
        return config or {}
    path = Path(config)
    try:
        if path.stat().st_size > MAX_JSON:
            raise UsageError(f"{path}: {path.stat().st_size} bytes; expected at most {MAX_JSON} for a configuration")
        values = parse_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not JSON ({error}); expected a JSON object") from error
    if not isinstance(values, dict):
        raise UsageError(f"{path}: holds a {type(values).__name__}; expected a JSON object")
    return values
