"""Layout `von-oswald-haiku`: an `.npz` in the parameter names of the authors' code (haiku 0.0.17).

tied or one layer:  transformer/multi_head_attention/{query,key,value,linear}/w
                    transformer/l_norm/layer_norm/{scale,offset}, and of the MLP l_norm_1/layer_norm/{scale,offset}
                    transformer/mlp/{linear,linear_1}/w
untied:             transformer/~trans_block/layer_{l}/{query,key,value,linear}/w
                    transformer/~trans_block/norm_{l}/{scale,offset} for l >= 1
                    transformer/~trans_block/layer_norm/{scale,offset}, of the MLP
                    transformer/~trans_block/mlp/{linear,linear_1}/w, one for all layers
either:             transformer/emb/w, transformer/input_mlp/{linear,linear_1}/{w,b}
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
_MLPS = {
    f"{place}{name}": ours
    for place, norm in (("", "l_norm_1/layer_norm"), ("~trans_block/", "layer_norm"))
    for name, ours in (
        ("mlp/linear/w", "W_in"),
        ("mlp/linear_1/w", "W_out"),
        (f"{norm}/scale", "mlp_ln_scale"),
        (f"{norm}/offset", "mlp_ln_offset"),
    )
}
_EMBEDDING = {
    "emb/w": "W_E",
    "input_mlp/linear/w": "embed_W_in",
    "input_mlp/linear/b": "embed_b_in",
    "input_mlp/linear_1/w": "embed_W_out",
    "input_mlp/linear_1/b": "embed_b_out",
}
_ROOTS = {"transformer", "Transformer_gd"}
Blocks = dict[int, dict[str, Tensor]]
"""Tensors by layer and name; a tied block is layer -1."""


def open_haiku(path: Path, model_args: Mapping[str, Any], given_path: str) -> TransformerRegressor:
    """A file of the authors' parameters as a subject. Settings that the file lacks are in its notes."""
    _check(model_args)
    arrays = _strip_prefix(path, _read(path), model_args.get("prefix"))
    attention, norms, others = _sort(path, arrays)
    config = _config(path, attention, norms, others, model_args)
    parameters = _stack(path, config, attention, norms) | others
    _check_others(path, config, others)
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


def _sort(path: Path, arrays: dict[str, np.ndarray]) -> tuple[Blocks, Blocks, dict[str, Tensor]]:
    """Attention weights and layer norms, by layer, and the parameters of MLPs and embeddings by our names."""
    attention: Blocks = {}
    norms: Blocks = {}
    others: dict[str, Tensor] = {}
    for name, array in arrays.items():
        if array.dtype not in (np.float16, np.float32, np.float64):
            raise CheckpointRefused(
                f"{path.name}: {name!r} has dtype {array.dtype}; expected float16, float32 or float64"
            )
        if match := _ATTENTION.fullmatch(name):
            attention.setdefault(int(match["layer"] or -1), {})[_ROLES[match["role"]]] = torch.from_numpy(array)
        elif match := _NORM.fullmatch(name):
            norms.setdefault(int(match["layer"] or -1), {})[match["vector"]] = torch.from_numpy(array)
        elif name in _MLPS:
            others[_MLPS[name]] = torch.from_numpy(array)[None]
        elif name in _EMBEDDING:
            others[_EMBEDDING[name]] = torch.from_numpy(array)
        else:
            raise CheckpointRefused(
                f"{path.name}: {name!r} is not understood; expected attention weights, layer norms, MLPs and an input"
                f" embedding in the names of the layout {HAIKU}"
            )
    if len(dtypes := {str(array.dtype) for array in arrays.values()}) > 1:
        raise CheckpointRefused(f"{path.name}: weights of several dtypes {sorted(dtypes)}; expected one")
    if not attention or (len(attention) > 1 and -1 in attention):
        found = "no attention blocks" if not attention else f"attention blocks {_named(attention)}"
        raise CheckpointRefused(f"{path.name}: {found}; expected one tied block, or blocks layer_0, layer_1, …")
    places = {name.startswith("~trans_block/") for name in arrays if name in _MLPS}
    if places - {-1 not in attention}:
        raise CheckpointRefused(
            f"{path.name}: an MLP in the names of {'untied' if -1 in attention else 'tied'} layers beside attention"
            f" blocks {_named(attention)}; expected both of one kind"
        )
    return attention, norms, others


def _config(
    path: Path, attention: Blocks, norms: Blocks, others: Mapping[str, Tensor], args: Mapping[str, Any]
) -> RegressionConfig:
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
    d_position = facts.get("d_position", 0)
    embedded = others["W_E"].shape if "W_E" in others and others["W_E"].ndim == 2 else None
    width = d_model - d_position if embedded is None else embedded[0]
    d_out = facts.setdefault("d_out", 1)
    d_in = width if facts.get("token_order") == "interleaved" else width - d_out
    if d_in < 1:
        raise CheckpointRefused(
            f"{path.name}: d_out = {d_out} (--model-args); expected less than the tokens' width {width}"
        )
    if embedded is not None and embedded[1] + d_position != d_model:
        raise CheckpointRefused(
            f"{path.name}: emb/w writes {embedded[1]} numbers and position codes are {d_position} wide (--model-args);"
            f" expected {d_model} together, the width that query/w reads"
        )
    found = {
        "d_in": d_in,
        "d_head": columns // n_heads,
        "layer_norm": bool(norms) or "mlp_ln_scale" in others,
        "mlp": "shared" if {"W_in", "W_out"} & set(others) else None,
        "d_embed": None if embedded is None else embedded[1],
    }
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


def _check_others(path: Path, config: RegressionConfig, others: Mapping[str, Tensor]) -> None:
    """Refuse MLPs and embeddings that are not whole."""
    theirs = {ours: name for name, ours in (*reversed(_MLPS.items()), *_EMBEDDING.items())}
    expected = {name: shape for name, shape in config.shapes.items() if name in theirs}
    if lacking := sorted(set(expected) - set(others)):
        raise CheckpointRefused(f"{path.name}: lacks {theirs[lacking[0]]}; expected the whole of an MLP or embedding")
    for name, tensor in others.items():
        if name not in expected:
            raise CheckpointRefused(f"{path.name}: holds {theirs[name]}, but not what it belongs to; expected both")
        _check_shape(path, theirs[name], tensor, expected[name])


def _named(layers: Iterable[int]) -> list[str]:
    """Layers as the file names them."""
    return ["tied" if layer < 0 else f"layer_{layer}" for layer in sorted(layers)]


def _check_shape(path: Path, name: str, tensor: Tensor, expected: tuple[int, ...]) -> None:
    if tensor.shape != expected:
        raise CheckpointRefused(f"{path.name}: {name} has shape {list(tensor.shape)}; expected {list(expected)}")
