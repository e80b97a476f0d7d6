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
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...data.errors import CheckpointRefused, UsageError, nearest
from ...data.npz import read_npz
from ..own.regression_transformer import RegressionConfig, RegressionTransformer
from ..regressors import TransformerRegressor
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import HAIKU, MODEL_ARGS
from .checkpoint import refuse_unusable

_ROLES = {"query": "W_Q", "key": "W_K", "value": "W_V", "linear": "W_O"}
_LAYER = "(?P<layer>0|[1-9][0-9]{0,4})"
_ATTENTION = re.compile(f"(?:multi_head_attention|~trans_block/layer_{_LAYER})/(?P<role>query|key|value|linear)/w")
_NORM = re.compile(f"(?:l_norm/layer_norm|~trans_block/norm_{_LAYER})/(?P<part>scale|offset)")
Blocks = dict[int, dict[str, Tensor]]
"""Tensors by layer and part; a tied block is layer -1."""


def open_haiku(path: Path, model_args: Mapping[str, Any], given_path: str) -> TransformerRegressor:
    """Read the authors' parameters. Every name in the file must be understood; what it does not say is recorded."""
    _check(model_args)
    arrays = _strip_prefix(path, read_npz(path, CheckpointRefused), model_args.get("prefix"))
    attention, norms = _sort(path, arrays)
    config = _config(path, attention, norms, model_args)
    parameters = _stack(path, config, attention, norms)
    refuse_unusable(parameters, path.name)
    defaulted = sorted(set(MODEL_ARGS) - set(model_args) - {"prefix"})
    notes = [f"not in the file, so taken by default: {', '.join(f'{n}={getattr(config, n)}' for n in defaulted)}"]
    notes += ["the layout was not checked numerically: the file holds no sample outputs"]
    source = Source(
        path.stem,
        layout=HAIKU,
        path=given_path,
        weights_sha256=weights_sha256(parameters),
        facts=config.as_dict() | {name: model_args[name] for name in ("prefix",) if name in model_args},
        notes=tuple(notes if defaulted else notes[1:]),
    )
    return TransformerRegressor(RegressionTransformer(config, parameters), source)


def _check(model_args: Mapping[str, Any]) -> None:
    """Names and types of what the user says; whether it fits the file is seen later."""
    if unknown := sorted(set(model_args) - set(MODEL_ARGS)):
        raise UsageError(f"model argument {unknown[0]!r} is not known; {nearest(unknown[0], MODEL_ARGS)}")
    facts = {name: value for name, value in model_args.items() if name != "prefix"}
    try:
        RegressionConfig.from_dict({"d_in": 1, **facts})
    except CheckpointRefused as error:
        raise UsageError(f"model argument {str(error).removeprefix('config: ')}") from error


def _strip_prefix(path: Path, arrays: dict[str, np.ndarray], wanted: str | None) -> dict[str, np.ndarray]:
    roots = {name.split("/", 1)[0] for name in arrays}
    if not roots:
        raise CheckpointRefused(f"{path.name}: holds no arrays")
    if wanted is None and len(roots) > 1:
        raise CheckpointRefused(f"{path.name}: several models {sorted(roots)}; choose with --model-args prefix=NAME")
    root = wanted or roots.pop()
    if root not in {"transformer", "Transformer_gd"} or not any(name.startswith(f"{root}/") for name in arrays):
        raise CheckpointRefused(
            f"{path.name}: no names begin with {root if wanted else 'transformer'}/; this is not the layout {HAIKU}"
            f" (first name: {sorted(arrays)[0]!r})"
        )
    return {name.removeprefix(f"{root}/"): array for name, array in arrays.items() if name.startswith(f"{root}/")}


def _sort(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Blocks, Blocks]:
    """Attention weights and layer norms, by layer."""
    attention: Blocks = {}
    norms: Blocks = {}
    for name, array in arrays.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise CheckpointRefused(f"{path.name}: {name!r} holds {array.dtype}, expected floating point")
        if match := _ATTENTION.fullmatch(name):
            attention.setdefault(int(match["layer"] or -1), {})[_ROLES[match["role"]]] = torch.from_numpy(array)
        elif match := _NORM.fullmatch(name):
            norms.setdefault(int(match["layer"] or -1), {})[match["part"]] = torch.from_numpy(array)
        else:
            raise CheckpointRefused(
                f"{path.name}: {name!r} is not understood (MLPs and input embeddings cannot be read yet)"
            )
    if len(kinds := {str(array.dtype) for array in arrays.values()}) > 1:
        raise CheckpointRefused(f"{path.name}: weights of several dtypes {sorted(kinds)}, expected one")
    if not attention or (len(attention) > 1 and -1 in attention):
        raise CheckpointRefused(f"{path.name}: expected one tied attention block, or blocks layer_0, layer_1, …")
    return attention, norms


def _config(path: Path, attention: Blocks, norms: Blocks, args: Mapping[str, Any]) -> RegressionConfig:
    tied = -1 in attention
    facts = {name: value for name, value in args.items() if name != "prefix"}
    n_layers = facts.setdefault("n_layers", 1 if tied else len(attention))
    if facts.setdefault("tied", tied) != tied and n_layers != 1:
        named = "tied" if tied else "untied"
        raise CheckpointRefused(f"{path.name}: tied={facts['tied']} was given, but its names are {named}")
    if not tied and sorted(attention) != list(range(n_layers)):
        raise CheckpointRefused(f"{path.name}: blocks {sorted(attention)} for n_layers = {n_layers}")
    query = next(iter(attention.values())).get("W_Q")
    if query is None or query.ndim != 2 or not query.numel():
        raise CheckpointRefused(f"{path.name}: query/w is missing or not a matrix")
    d_model, columns = query.shape
    n_heads = facts.setdefault("n_heads", 1)
    if columns % n_heads:
        raise CheckpointRefused(f"{path.name}: query/w has {columns} columns, not divisible into {n_heads} heads")
    d_out = facts.setdefault("d_out", 1)
    if d_out >= d_model:
        raise CheckpointRefused(f"{path.name}: d_out = {d_out} for tokens {d_model} wide")
    found = {"d_in": d_model - d_out, "d_head": columns // n_heads, "layer_norm": bool(norms)}
    try:
        return RegressionConfig.from_dict(facts | found)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path.name}: {error}") from error


def _stack(path: Path, config: RegressionConfig, attention: Blocks, norms: Blocks) -> dict[str, Tensor]:
    columns = config.n_heads * config.d_head
    blocks: dict[str, list[Tensor]] = {role: [] for role in _ROLES.values()}
    for layer, weights in sorted(attention.items()):
        for theirs, role in _ROLES.items():
            expected = (columns, config.d_model) if theirs == "linear" else (config.d_model, columns)
            if role not in weights:
                raise CheckpointRefused(f"{path.name}: block {layer} lacks {theirs}/w")
            _check_shape(path, f"{theirs}/w of block {layer}", weights[role], expected)
            split = "(head k) m -> head k m" if theirs == "linear" else "m (head k) -> head m k"
            blocks[role].append(rearrange(weights[role], split, head=config.n_heads))
    parameters = {role: torch.stack(block) for role, block in blocks.items()}
    expected_norms = [] if not norms else [-1] if config.tied else list(range(1, config.n_layers))
    if sorted(norms) != expected_norms or any(set(norm) != {"scale", "offset"} for norm in norms.values()):
        raise CheckpointRefused(f"{path.name}: layer norms of layers {sorted(norms)}, expected {expected_norms}")
    for part in ("scale", "offset") if norms else ():
        for layer, norm in norms.items():
            _check_shape(path, f"layer norm {part} of layer {layer}", norm[part], (config.d_model,))
        parameters[f"ln_{part}"] = torch.stack([norm[part] for _, norm in sorted(norms.items())])
    return parameters


def _check_shape(path: Path, name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise CheckpointRefused(f"{path.name}: {name} has shape {list(tensor.shape)}, expected {list(expected)}")
