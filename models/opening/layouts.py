"""Declared layouts: a `.toml` that maps the tensors of a file to roles, and says the order of their axes.

    [model]                                  # settings that the weights do not show: fields of AttentionOnlyConfig,
                                             # and bos, the token that begins sequences
    n_heads = 4
    norm = "none"

    [tensors]
    W_E = "tok.weight"                       # already [d_vocab, d_model]
    W_U = { name = "head.weight", axes = "d_vocab d_model" }
    W_Q = { name = "h.{layer}.q.weight", axes = "(head d_head) d_model" }
    W_QKV = { name = "h.{layer}.qkv.weight", axes = "d_model (qkv head d_head)" }

    [file]
    prefix = "module."                       # stripped from every name
    ignore = ["*.attn.mask"]                 # names that are not weights

    [check]
    samples = "samples.npz"                  # tokens [batch, pos] with logits, or with loss; beside the .toml
    tolerance = 1e-4

`axes` is an einops pattern without the layer; it covers transposes, split heads and fused projections. Biases that are
not declared are 0. A square matrix with the wrong pattern raises no error by itself, hence the check.
"""

from __future__ import annotations

import fnmatch
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import einops
import torch
from einops import EinopsError
from torch import Tensor

from ...data.errors import CheckpointRefused, UsageError, nearest
from ...data.npz import read_npz
from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import Source
from ..weights import weights_sha256
from .catalogue import DECLARED
from .checkpoint import refuse_unusable
from .safe_files import read_tensors
from .state_dicts import Stacks, defaults_note, read_bos, sized, stacked

_PROJECTION = ("W_Q", "W_K", "W_V")
AXES: dict[str, str] = {
    "W_E": "d_vocab d_model",
    "W_pos": "pos d_model",
    **dict.fromkeys(_PROJECTION, "head d_model d_head"),
    **dict.fromkeys(("b_Q", "b_K", "b_V"), "head d_head"),
    "W_QKV": "qkv head d_model d_head",
    "b_QKV": "qkv head d_head",
    "W_O": "head d_head d_model",
    "b_O": "d_model",
    "W_in": "d_model d_mlp",
    "b_in": "d_mlp",
    "W_gate": "d_model d_mlp",
    "W_out": "d_mlp d_model",
    "b_out": "d_model",
    **{f"{norm}_{vector}": "d_model" for norm in ("ln1", "ln2", "ln_final") for vector in ("scale", "offset")},
    "W_U": "d_model d_vocab",
    "b_U": "d_vocab",
}
"""Every role with its axes in one layer."""
_UNLAYERED = {"W_E", "W_pos", "W_U", "b_U", "ln_final_scale", "ln_final_offset"}
_TYPES = {dict: "a table", list: "a list", str: "a string", float: "a number"}
_AXIS = re.compile(r"[a-z_]+|[()]")


@dataclass(frozen=True)
class Declaration:
    """A declared layout.

    name:       name of its file, for messages
    content:    its tables without the check: enough to read the same file again
    model:      settings that the weights do not show
    tensors:    role -> (name in the file, axes)
    prefix:     stripped from every name in the file
    ignore:     patterns of names that are not weights
    samples:    an .npz with tokens, and logits or a loss
    tolerance:  largest allowed difference from the samples
    """

    name: str
    content: Mapping[str, Any]
    tensors: Mapping[str, tuple[str, str]]
    model: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    ignore: tuple[str, ...] = ()
    samples: Path | None = None
    tolerance: float = 1e-4


def open_declared(
    path: Path, layout: str | Mapping[str, Any], facts: Mapping[str, Any], given_path: str
) -> AttentionOnlyModel:
    """A state dict as a subject, by a declared layout: a `.toml` or its tables. Every name in the file must be declared
    or ignored.
    """
    if isinstance(layout, str):
        declaration = read_declaration(Path(layout))
    else:  # its samples are not available
        declaration = declared({key: table for key, table in layout.items() if key != "check"}, DECLARED, Path())
    settings = {**declaration.model, **facts}
    given_bos = {"bos": settings.pop("bos", None)}
    tensors = read_tensors(path)
    try:
        single, stacks = _assigned(declaration, tensors, settings)
        config = sized(single, stacks, settings)
        parameters = single | {role: stacked(role, layers, config.n_layers) for role, layers in stacks.items()}
        like = parameters["W_E"]
        for name, shape in config.shapes.items():
            if name.startswith("b_") or name.endswith("_offset"):
                parameters.setdefault(name, like.new_zeros(shape))
        bos = read_bos(given_bos, config.d_vocab)
        refuse_unusable(parameters, path.name)
        module = AttentionOnlyTransformer(config, parameters)
        check_note = _compared(declaration, module)
    except CheckpointRefused as error:
        raise CheckpointRefused(f"{path.name}: {str(error).removeprefix(f'{path.name}: ')}") from error
    source = Source(
        path.stem,
        layout=layout if isinstance(layout, str) else DECLARED,
        path=given_path,
        weights_sha256=weights_sha256(parameters),
        facts={**config.as_dict(), "bos": bos},
        options={"model_args": dict(facts), "declaration": declaration.content},
        notes=(*defaults_note(config, settings), check_note),
    )
    return AttentionOnlyModel(module, source)


def read_declaration(path: Path) -> Declaration:
    """A layout from its file. Raises UsageError for what is not understood."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not TOML ({error}); see docs/checkpoints.md#declared-layouts") from error
    return declared(content, path.name, path.parent)


def declared(content: Mapping[str, Any], name: str, folder: Path) -> Declaration:
    """A layout from its tables; `folder` holds its samples."""
    _check_keys(name, content, {"model": dict, "tensors": dict, "file": dict, "check": dict})
    model, names, check = (content.get(key, {}) for key in ("model", "file", "check"))
    _check_keys(name, names, {"prefix": str, "ignore": list})
    _check_keys(name, check, {"samples": str, "tolerance": float})
    fields_known = {"bos", *(field.name for field in fields(AttentionOnlyConfig))}
    if unknown := sorted(set(model) - fields_known):
        raise UsageError(f"{name}: [model] {unknown[0]!r} is not known; {nearest(unknown[0], fields_known)}")
    samples = folder / check["samples"] if "samples" in check else None
    tensors = {role: _declared(name, role, value) for role, value in content.get("tensors", {}).items()}
    ignore = tuple(str(pattern) for pattern in names.get("ignore", []))
    kept = {key: dict(table) for key, table in content.items() if key != "check"}
    tolerance = float(check.get("tolerance", 1e-4))
    return Declaration(name, kept, tensors, model, names.get("prefix", ""), ignore, samples, tolerance)


def _check_keys(file: str, table: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for key, value in table.items():
        if key not in types:
            raise UsageError(f"{file}: {key!r:.60} is not known; {nearest(key, types)}")
        if not isinstance(value, (int, float) if types[key] is float else types[key]):
            raise UsageError(f"{file}: {key} = {value!r:.60}; expected {_TYPES[types[key]]}")


def _declared(file: str, role: str, value: Any) -> tuple[str, str]:
    """(name, axes) of one role. Raises UsageError for axes that the role does not have."""
    if role not in AXES:
        raise UsageError(f"{file}: role {role!r:.40} is not known; {nearest(role, AXES)}")
    entry = {"name": value} if isinstance(value, str) else value
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or set(entry) - {"name", "axes"}:
        raise UsageError(f"{file}: {role} = {value!r:.60}; expected a name or {{ name = …, axes = … }}")
    name = entry["name"]
    if ("{layer}" in name) is (role in _UNLAYERED):
        raise UsageError(
            f"{file}: {role} = {name!r:.60}; expected {'no' if role in _UNLAYERED else 'a'} {{layer}} in it"
        )
    expected = AXES[role].split()
    if "{head}" in name:
        expected.remove("head")
    axes = entry.get("axes", " ".join(expected))
    tokens = _AXIS.findall(axes) if isinstance(axes, str) else []
    if sorted(token for token in tokens if token not in "()") != sorted(expected):
        raise UsageError(f"{file}: {role} has axes {axes!r:.60}; expected {', '.join(expected)} in some order")
    return name, axes


def _assigned(
    declaration: Declaration, tensors: Mapping[str, Tensor], settings: Mapping[str, Any]
) -> tuple[dict[str, Tensor], Stacks]:
    """Tensors by role: those without layers, and those with. Raises CheckpointRefused for names that are left over."""
    names = {name.removeprefix(declaration.prefix): tensor for name, tensor in tensors.items()}
    if len(names) < len(tensors):
        raise CheckpointRefused(
            f"two tensors have the same name without the prefix {declaration.prefix!r}; correct [file] prefix"
        )
    left = {name for name in names if not any(fnmatch.fnmatchcase(name, pattern) for pattern in declaration.ignore)}
    single: dict[str, Tensor] = {}
    stacks: Stacks = {}
    for role, (template, axes) in declaration.tensors.items():
        found = _matching(template, names)
        if not found:
            raise CheckpointRefused(
                f"{role}: no tensor is named {template!r:.80}; correct its name in {declaration.name}"
            )
        left -= {name for name, _, _ in found}
        for layer, tensor in _by_layer(role, found, names, axes, settings).items():
            for own_role, value in _unfused(role, tensor):
                if role in _UNLAYERED:
                    single[own_role] = value
                else:
                    stacks.setdefault(own_role, {})[layer] = value
    if left:
        raise CheckpointRefused(
            f"{min(left)!r:.80} is neither declared nor ignored by {declaration.name}; add it to [tensors] or to ignore"
        )
    return single, stacks


def _matching(template: str, names: Mapping[str, Tensor]) -> list[tuple[str, int, int]]:
    """(name, layer, head) of every tensor that matches a template."""
    pattern = re.escape(template)
    for place in ("layer", "head"):
        pattern = pattern.replace(re.escape(f"{{{place}}}"), f"(?P<{place}>0|[1-9][0-9]{{0,4}})", 1)
    matches = {name: match.groupdict() for name in names if (match := re.fullmatch(pattern, name))}
    return sorted((name, int(found.get("layer", 0)), int(found.get("head", 0))) for name, found in matches.items())


def _by_layer(
    role: str, found: list[tuple[str, int, int]], names: Mapping[str, Tensor], axes: str, settings: Mapping[str, Any]
) -> dict[int, Tensor]:
    """One tensor per layer, its axes in the role's order."""
    target = AXES[role].split()
    several_heads = "head" in target and "head" not in _AXIS.findall(axes)
    layers: dict[int, dict[int, Tensor]] = {}
    for name, layer, head in found:
        wanted = [axis for axis in target if axis != "head"] if several_heads else target
        layers.setdefault(layer, {})[head] = _rearranged(name, names[name], axes, " ".join(wanted), settings)
    if not several_heads:
        return {layer: heads[0] for layer, heads in layers.items()}
    place = target.index("head")
    return {
        layer: stacked(f"{role} of layer {layer}, heads", heads, len(heads)).movedim(0, place)
        for layer, heads in layers.items()
    }


def _rearranged(name: str, tensor: Tensor, axes: str, target: str, settings: Mapping[str, Any]) -> Tensor:
    fields_of = {
        "head": "n_heads",
        "pos": "n_ctx",
        **{axis: axis for axis in ("d_head", "d_model", "d_vocab", "d_mlp")},
    }
    sizes = {axis: settings[key] for axis, key in fields_of.items() if axis in _AXIS.findall(axes) and key in settings}
    if "qkv" in target:
        sizes["qkv"] = 3
    try:
        return einops.rearrange(tensor, f"{axes} -> {target}", **sizes).contiguous()
    except (EinopsError, RuntimeError, TypeError) as error:
        shape = list(tensor.shape)
        raise CheckpointRefused(
            f"{name!r:.80} has shape {shape}, which does not fit the axes {axes!r} with {sizes}"
        ) from error


def _unfused(role: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """The role itself, or the three roles of a fused projection."""
    if not role.endswith("_QKV"):
        return [(role, tensor)]
    return [(f"{role[:2]}{letter}", tensor[place]) for place, letter in enumerate("QKV")]


@torch.no_grad()
def _compared(declaration: Declaration, module: AttentionOnlyTransformer) -> str:
    """Compare the model with the declaration's samples. Returns the note on the result."""
    if declaration.samples is None:
        return "the layout was not checked numerically: it declares no samples"
    arrays = read_npz(declaration.samples, UsageError)
    if "tokens" not in arrays or len({"logits", "loss"} & set(arrays)) != 1:
        raise UsageError(
            f"{declaration.samples.name}: holds {sorted(arrays)}; expected tokens, and either logits or loss"
        )
    dtypes = {name: array.dtype for name, array in arrays.items()}
    if dtypes["tokens"].kind not in "iu" or any(
        dtypes[name].kind != "f" for name in ("logits", "loss") if name in dtypes
    ):
        found = ", ".join(f"{name} {dtype}" for name, dtype in sorted(dtypes.items()))
        raise UsageError(
            f"{declaration.samples.name}: dtypes {found}; expected integer tokens, floating-point logits or loss"
        )
    tokens = torch.from_numpy(arrays["tokens"].astype("int64"))
    vocabulary, longest = module.config.d_vocab, module.config.n_ctx
    if tokens.ndim != 2 or tokens.shape[1] > longest or not bool(((tokens >= 0) & (tokens < vocabulary)).all()):
        raise UsageError(
            f"{declaration.samples.name}: tokens of shape {list(tokens.shape)} do not fit; expected [batch, pos] with"
            f" at most n_ctx = {longest} positions, and ids from 0 to {vocabulary - 1}"
        )
    logits = module(tokens).double()
    if "loss" in arrays:
        what, expected = "loss", torch.from_numpy(arrays["loss"]).double()
        found = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    else:
        what, expected, found = "logits", torch.from_numpy(arrays["logits"]).double(), logits
    if found.shape != expected.shape:
        shape = list(found.shape)
        raise UsageError(f"{declaration.samples.name}: {what} of shape {list(expected.shape)}; expected {shape}")
    difference = float((found - expected).abs().max())
    if not difference <= declaration.tolerance:
        raise CheckpointRefused(
            f"with the layout {declaration.name}, mesascope misses the {what} of {declaration.samples.name} by"
            f" {difference:.3g}; expected at most {declaration.tolerance:.3g}; an axis may be in the wrong place"
        )
    return f"the layout was checked: it reproduces the {what} of {declaration.samples.name} within {difference:.1g}"
