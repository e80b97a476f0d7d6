"""What a declared layout may say: a file that maps the tensors of another to roles, and says the order of their axes.
In TOML here; YAML and JSON say the same.

    [model]                                  # settings that the weights do not show: fields of AttentionOnlyConfig,
                                             # and bos, the token that begins sequences
    n_heads = 4
    norm = "none"

    [tensors]
    W_E = "tok.weight"                       # already [d_vocab, d_model]
    W_U = { name = "head.weight", axes = "d_vocab d_model" }
    W_Q = { name = "h.{layer}.q.weight", axes = "(head d_head) d_model" }
    W_QKV = { name = "h.{layer}.qkv.weight", axes = "d_model (qkv head d_head)" }
    W_O = { name = "h.{layer}.o.weight", axes = "d_model (head d_head)", scale = 0.5 }   # what is stored times 0.5

    [file]
    prefix = "module."                       # stripped from every name
    ignore = ["*.attn.mask"]                 # names that are not weights

    [check]
    samples = "samples.npz"                  # tokens [batch, pos] with logits, or with loss; beside this file
    tolerance = 1e-4

With `task = "regression"` in [model] the file holds an in-context regression transformer; see `regression_files.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ...data.errors import UsageError, nearest
from ...data.setting_files import read_tables
from ..own.attention_only import AttentionOnlyConfig
from ..own.regression_config import RegressionConfig

REGRESSION = "regression"
_PROJECTION = ("W_Q", "W_K", "W_V")
AXES: dict[str, str] = {
    "W_E": "d_vocab d_model",
    "b_E": "d_model",
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
    "KQ": "head query key",
    "PV": "head read write",
}
"""Every role with its axes in one layer."""
UNLAYERED = {"W_E", "b_E", "W_pos", "W_U", "b_U", "ln_final_scale", "ln_final_offset"}
LINEAR = {*_PROJECTION, "W_QKV", "W_O", "KQ", "PV"}
"""Roles of a regression transformer without a read-in."""
_TYPES = {dict: "a table", list: "a list", str: "a string", float: "a number"}
_AXIS = re.compile(r"[a-z_]+|[()]")


class Declared(NamedTuple):
    """One role's tensor: its name in the file, the order of its axes, and a factor on what is stored."""

    name: str
    axes: str
    scale: float = 1.0


@dataclass(frozen=True)
class Declaration:
    """A declared layout.

    name:       name of its file, for messages
    content:    its tables without the check: enough to read the same file again
    model:      settings that the weights do not show
    tensors:    the tensor of each role
    prefix:     stripped from every name in the file
    ignore:     patterns of names that are not weights
    samples:    an .npz with tokens, and logits or a loss; in regression with inputs and predictions
    tolerance:  largest allowed difference from the samples
    """

    name: str
    content: Mapping[str, Any]
    tensors: Mapping[str, Declared]
    model: Mapping[str, Any] = field(default_factory=dict)
    prefix: str = ""
    ignore: tuple[str, ...] = ()
    samples: Path | None = None
    tolerance: float = 1e-4


def read_declaration(path: Path) -> Declaration:
    """A layout from its file. Raises UsageError for what is not understood."""
    return declared(read_tables(path), path.name, path.parent)


def declared(content: Mapping[str, Any], name: str, folder: Path) -> Declaration:
    """A layout from its tables; `folder` holds its samples."""
    _check_keys(name, content, {"model": dict, "tensors": dict, "file": dict, "check": dict})
    model, names, check = (content.get(key, {}) for key in ("model", "file", "check"))
    _check_keys(name, names, {"prefix": str, "ignore": list})
    _check_keys(name, check, {"samples": str, "tolerance": float})
    _check_model(name, model)
    samples = folder / check["samples"] if "samples" in check else None
    regression = model.get("task") == REGRESSION
    tensors = {role: _declared(name, role, value, regression) for role, value in content.get("tensors", {}).items()}
    ignore = tuple(str(pattern) for pattern in names.get("ignore", []))
    kept = {key: dict(table) for key, table in content.items() if key != "check"}
    tolerance = float(check.get("tolerance", 1e-4))
    return Declaration(name, kept, tensors, model, names.get("prefix", ""), ignore, samples, tolerance)


def axes_in(pattern: str) -> list[str]:
    """The axes and brackets of an einops pattern."""
    return _AXIS.findall(pattern)


def _check_model(file: str, model: Mapping[str, Any]) -> None:
    if model.get("task", REGRESSION) != REGRESSION:
        raise UsageError(f"{file}: [model] task = {model['task']!r:.60}; expected {REGRESSION!r}, or none for tokens")
    known = {"bos", "embedding", "task", *(field.name for field in fields(AttentionOnlyConfig))}
    if "task" in model:
        known |= {"order", "label_slot", "readout", *(field.name for field in fields(RegressionConfig))}
    if unknown := sorted(set(model) - known):
        raise UsageError(f"{file}: [model] {unknown[0]!r} is not known; {nearest(unknown[0], known)}")


def _check_keys(file: str, table: Mapping[str, Any], types: Mapping[str, type]) -> None:
    for key, value in table.items():
        if key not in types:
            raise UsageError(f"{file}: {key!r:.60} is not known; {nearest(key, types)}")
        if not isinstance(value, (int, float) if types[key] is float else types[key]):
            raise UsageError(f"{file}: {key} = {value!r:.60}; expected {_TYPES[types[key]]}")


def _declared(file: str, role: str, value: Any, regression: bool) -> Declared:
    """One role's tensor. Raises UsageError for axes that the role does not have."""
    known = AXES if regression else {role: axes for role, axes in AXES.items() if role not in ("KQ", "PV", "b_E")}
    if role not in known:
        raise UsageError(f"{file}: role {role!r:.40} is not known; {nearest(role, known)}")
    entry = {"name": value} if isinstance(value, str) else value
    right = (
        isinstance(entry, dict) and isinstance(entry.get("name"), str) and type(entry.get("scale", 1)) in (int, float)
    )
    if not right or set(entry) - {"name", "axes", "scale"}:
        raise UsageError(f"{file}: {role} = {value!r:.60}; expected a name or {{ name = …, axes = …, scale = … }}")
    name = entry["name"]
    layered, tied = "{layer}" in name, regression and role in LINEAR
    if layered is (role in UNLAYERED) and not tied:
        raise UsageError(
            f"{file}: {role} = {name!r:.60}; expected {'no' if role in UNLAYERED else 'a'} {{layer}} in it"
        )
    expected = AXES[role].split()
    if "{head}" in name:
        expected.remove("head")
    axes = entry.get("axes", " ".join(expected))
    tokens = axes_in(axes) if isinstance(axes, str) else []
    if sorted(token for token in tokens if token not in "()") != sorted(expected):
        raise UsageError(f"{file}: {role} has axes {axes!r:.60}; expected {', '.join(expected)} in some order")
    return Declared(name, axes, float(entry.get("scale", 1)))
