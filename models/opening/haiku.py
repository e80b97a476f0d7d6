"""Layout `von-oswald-haiku`: an `.npz` in the parameter names of the authors' code (haiku 0.0.17).

tied or one layer:  transformer/multi_head_attention/{query,key,value,linear}/w
                    transformer/l_norm/layer_norm/{scale,offset}
untied:             transformer/~trans_block/layer_{l}/{query,key,value,linear}/w
                    transformer/~trans_block/norm_{l}/{scale,offset} for l >= 1
Twins carry the prefix `Transformer_gd`. All weights are [in, out]; head h is columns h*k:(h+1)*k of query, key and
value, and rows h*k:(h+1)*k of linear.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...data.errors import CheckpointRefused, UsageError, nearest
from ...data.npz import read_npz
from ...data.settings import read_settings
from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import RegressionTransformer
from ..regressors import TransformerRegressor
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import HAIKU, MODEL_ARGS
from .checkpoint import refuse_unusable
from .plain_check import checked
from .safe_files import read_tensors

_ROLES = {"query": "W_Q", "key": "W_K", "value": "W_V", "linear": "W_O"}
_LAYER = "(?P<layer>0|[1-9][0-9]{0,4})"
_ATTENTION = re.compile(f"(?:multi_head_attention|~trans_block/layer_{_LAYER})/(?P<role>query|key|value|linear)/w")
_NORM = re.compile(f"(?:l_norm/layer_norm|~trans_block/norm_{_LAYER})/(?P<vector>scale|offset)")
_ROOTS = {"transformer", "Transformer_gd"}
Blocks = dict[int, dict[str, Tensor]]
"""Tensors by layer and name; a tied block is layer -1."""


def open_haiku(path: Path, model_args: Mapping[str, Any], given_path: str) -> TransformerRegressor:
    """A file of the authors' parameters as a subject. Settings that the file lacks are in its notes."""
    _check(model_args)
    arrays = _strip_prefix(path, _read(path), model_args.get("prefix"))
    attention, norms = _sort(path, arrays)
    config = _config(path, attention, norms, model_args)
    parameters = _stack(path, config, attention, norms)
    refuse_unusable(parameters, path.name)
    if -1 in attention and "n_layers" not in model_args:
        raise CheckpointRefused(
            f"{path.name}: holds one block of weights, and not how many layers apply it; expected n_layers among the"
            " model arguments. Tied layers share one block in this layout. For one layer try --model-args n_layers=1"
        )
    defaulted = sorted(set(MODEL_ARGS) - set(model_args) - {"prefix"})
    notes = [
        "not in --model-args, so read from the file or set by default:"
        f" {', '.join(f'{n}={getattr(config, n)}' for n in defaulted)}"
    ]
    notes += ["the layout was not checked numerically: the file holds no sample outputs"]
    source = Source(
        path.stem,
        layout=HAIKU,
        path=given_path,
        weights_sha256=weights_sha256(parameters),
        facts=config.as_dict() | {name: model_args[name] for name in ("prefix",) if name in model_args},
        notes=tuple(notes if defaulted else notes[1:]),
    )
    return checked(TransformerRegressor(RegressionTransformer(config, parameters), source))


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, or of a `.safetensors` that `mesascope convert` wrote of the authors' pickle."""
    if path.suffix != ".safetensors":
        return read_npz(path, CheckpointRefused)
    tensors = read_tensors(path)
    if half := [name for name, tensor in tensors.items() if tensor.dtype == torch.bfloat16]:
        raise CheckpointRefused(f"{path.name}: {half[0]!r} has dtype bfloat16; expected float16, float32 or float64")
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def _check(model_args: Mapping[str, Any]) -> None:
    """Check names and types of model arguments. Whether they fit the file is checked later."""
    if unknown := sorted(set(model_args) - set(MODEL_ARGS)):
        raise UsageError(f"model argument {unknown[0]!r} is not known; {nearest(unknown[0], MODEL_ARGS)}")
    facts = {name: value for name, value in model_args.items() if name != "prefix"}
    read_settings(RegressionConfig, {"d_in": 1, **facts}, "model argument ")


def _strip_prefix(path: Path, arrays: dict[str, np.ndarray], wanted: str | None) -> dict[str, np.ndarray]:
    roots = {name.split("/", 1)[0] for name in arrays}
    if not roots:
        raise CheckpointRefused(f"{path.name}: holds 0 arrays; expected the parameters of a transformer")
    if wanted is None and len(roots) > 1 and roots & _ROOTS:
        raise CheckpointRefused(
            f"{path.name}: holds several models {sorted(roots)}; choose one with --model-args prefix=NAME"
        )
    root = wanted or roots.pop()
    if root not in _ROOTS or not any(name.startswith(f"{root}/") for name in arrays):
        raise CheckpointRefused(
            f"{path.name}: no name begins with {root if wanted else 'transformer'}/ (first name:"
            f" {sorted(arrays)[0]!r:.80});"
            f" this is not the layout {HAIKU}; `mesascope list layouts` lists the others"
        )
    return {name.removeprefix(f"{root}/"): array for name, array in arrays.items() if name.startswith(f"{root}/")}


def _sort(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Blocks, Blocks]:
    """Attention weights and layer norms, by layer."""
    attention: Blocks = {}
    norms: Blocks = {}
    for name, array in arrays.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise CheckpointRefused(
                f"{path.name}: {name!r} has dtype {array.dtype}; expected float16, float32 or float64"
            )
        if match := _ATTENTION.fullmatch(name):
            attention.setdefault(int(match["layer"] or -1), {})[_ROLES[match["role"]]] = torch.from_numpy(array)
        elif match := _NORM.fullmatch(name):
            norms.setdefault(int(match["layer"] or -1), {})[match["vector"]] = torch.from_numpy(array)
        else:
            raise CheckpointRefused(
                f"{path.name}: {name!r} is not understood; expected attention weights and layer norms; mesascope does"
                " not"
                f" read MLPs and input embeddings of the layout {HAIKU}"
            )
    if len(dtypes := {str(array.dtype) for array in arrays.values()}) > 1:
        raise CheckpointRefused(f"{path.name}: weights of several dtypes {sorted(dtypes)}; expected one")
    if not attention or (len(attention) > 1 and -1 in attention):
        found = "no attention blocks" if not attention else f"attention blocks {_named(attention)}"
        raise CheckpointRefused(f"{path.name}: {found}; expected one tied block, or blocks layer_0, layer_1, …")
    return attention, norms


def _config(path: Path, attention: Blocks, norms: Blocks, args: Mapping[str, Any]) -> RegressionConfig:
    tied = -1 in attention
    facts = {name: value for name, value in args.items() if name != "prefix"}
    n_layers = facts.setdefault("n_layers", 1 if tied else len(attention))
    if facts.setdefault("tied", tied) != tied and n_layers != 1:
        named = "tied" if tied else "untied"
        raise CheckpointRefused(
            f"{path.name}: tied={facts['tied']} in --model-args, but the parameter names are those of {named} layers"
        )
    if not tied and sorted(attention) != list(range(n_layers)):
        raise CheckpointRefused(
            f"{path.name}: blocks {sorted(attention)}; expected 0 to {n_layers - 1} for n_layers = {n_layers}"
        )
    query = next(iter(attention.values())).get("W_Q")
    if query is None or query.ndim != 2 or not query.numel():
        raise CheckpointRefused(
            f"{path.name}: query/w is missing or not a matrix; expected shape [d_model, n_heads * d_head]"
        )
    d_model, columns = query.shape
    n_heads = facts.setdefault("n_heads", 1)
    if columns % n_heads:
        raise CheckpointRefused(
            f"{path.name}: query/w has {columns} columns; expected a multiple of n_heads = {n_heads} (--model-args)"
        )
    d_out = facts.setdefault("d_out", 1)
    if d_out >= d_model:
        raise CheckpointRefused(
            f"{path.name}: d_out = {d_out} (--model-args); expected less than the tokens' width {d_model}"
        )
    found = {"d_in": d_model - d_out, "d_head": columns // n_heads, "layer_norm": bool(norms)}
    try:
        return RegressionConfig.from_dict(facts | found)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path.name}: {error}") from error


def _stack(path: Path, config: RegressionConfig, attention: Blocks, norms: Blocks) -> dict[str, Tensor]:
    columns = config.n_heads * config.d_head
    blocks: dict[str, list[Tensor]] = {role: [] for role in _ROLES.values()}
    for layer, weights in sorted(attention.items()):
        for haiku_name, role in _ROLES.items():
            expected = (columns, config.d_model) if haiku_name == "linear" else (config.d_model, columns)
            if role not in weights:
                raise CheckpointRefused(f"{path.name}: block {_named([layer])[0]} lacks {haiku_name}/w")
            _check_shape(path, f"{haiku_name}/w of block {_named([layer])[0]}", weights[role], expected)
            split = "(head k) m -> head k m" if haiku_name == "linear" else "m (head k) -> head m k"
            blocks[role].append(rearrange(weights[role], split, head=config.n_heads))
    parameters = {role: torch.stack(block) for role, block in blocks.items()}
    expected_norms = [] if not norms else [-1] if config.tied else list(range(1, config.n_layers))
    if sorted(norms) != expected_norms or any(set(norm) != {"scale", "offset"} for norm in norms.values()):
        raise CheckpointRefused(
            f"{path.name}: layer norms {_named(norms)}; expected {_named(expected_norms)}, each with scale and offset"
        )
    for vector in ("scale", "offset") if norms else ():
        for layer, norm in norms.items():
            _check_shape(path, f"layer norm {vector} of {_named([layer])[0]}", norm[vector], (config.d_model,))
        parameters[f"ln_{vector}"] = torch.stack([norm[vector] for _, norm in sorted(norms.items())])
    return parameters


def _named(layers: Iterable[int]) -> list[str]:
    """Layers as the file names them."""
    return ["tied" if layer < 0 else f"layer_{layer}" for layer in sorted(layers)]


def _check_shape(path: Path, name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise CheckpointRefused(f"{path.name}: {name} has shape {list(tensor.shape)}; expected {list(expected)}")
