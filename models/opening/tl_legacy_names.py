"""The names of layouts `tl-legacy` and `tl-native`, and which layouts may fit a file by its names. Without torch."""

from __future__ import annotations

import re
from collections.abc import Collection

TL_LEGACY = "tl-legacy"
LAYER = "(?P<layer>0|[1-9][0-9]{0,4})"
SINGLE = {
    "embed.W_E": "W_E",
    "pos_embed.W_pos": "W_pos",
    "ln_final.w": "ln_final_scale",
    "ln_final.b": "ln_final_offset",
    "unembed.W_U": "W_U",
    "unembed.b_U": "b_U",
}
STACKED = {
    **{f"attn.{letter}_{role}": f"{letter}_{role}" for letter in "Wb" for role in "QKVO"},
    **{f"mlp.{letter}_{side}": f"{letter}_{side}" for letter in "Wb" for side in ("in", "out")},
    "mlp.W_gate": "W_gate",
    **{f"{ln}.{tl}": f"{ln}_{ours}" for ln in ("ln1", "ln2") for tl, ours in (("w", "scale"), ("b", "offset"))},
}
BLOCK = re.compile(rf"blocks\.{LAYER}\.(?P<parameter>{'|'.join(map(re.escape, STACKED))})")
BUFFER = re.compile(rf"blocks\.{LAYER}\.attn\.(?P<buffer>mask|IGNORE|rotary_sin|rotary_cos)")

TL_NATIVE = "tl-native"
_KINDS = {"weight": "W", "bias": "b"}
NATIVE_SINGLE = {
    "embed.weight": "embed.W_E",
    "pos_embed.weight": "pos_embed.W_pos",
    **{f"ln_final.{kind}": f"ln_final.{tl}" for kind, tl in (("weight", "w"), ("bias", "b"))},
    **{f"unembed.{kind}": f"unembed.{letter}_U" for kind, letter in _KINDS.items()},
}
NATIVE_STACKED = {
    **{f"attn.{role}.{kind}": f"attn.{letter}_{role.upper()}" for role in "qkvo" for kind, letter in _KINDS.items()},
    **{f"mlp.{side}.{kind}": f"mlp.{letter}_{side}" for side in ("in", "out") for kind, letter in _KINDS.items()},
    "mlp.gate.weight": "mlp.W_gate",
    **{f"{ln}.{kind}": f"{ln}.{kind[0]}" for ln in ("ln1", "ln2") for kind in _KINDS},
}
"""Names of a native bridge's state dict, by layer, as those of `tl-legacy`."""
NATIVE_BLOCK = re.compile(rf"blocks\.{LAYER}\.(?P<parameter>{'|'.join(map(re.escape, NATIVE_STACKED))})")

WRAP = "--predictor FILE.py:function --d-in N, in Python models.from_predictor"
"""How the owner of a regression model has it measured where no layout can say what it computes."""


def layout_advice(names: Collection[str]) -> str:
    """What to give for a file of tensors with these names: a TransformerLens one only where all are its
    own.
    """
    declare = "--layout FILE.toml that declares its names"
    if {"_read_in.weight", "_read_out.weight"} <= set(names):
        declare += ", as docs/checkpoints.md#regression-transformers has it for Garg et al. 2022"
    legacy = all(name in SINGLE or BLOCK.fullmatch(name) or BUFFER.fullmatch(name) for name in names)
    native = all(name in NATIVE_SINGLE or NATIVE_BLOCK.fullmatch(name) for name in names)
    if not names or not (legacy or native):
        return f"give {declare}; or wrap a regression model of another kind by {WRAP}"
    return f"give --layout {TL_LEGACY if legacy else TL_NATIVE}, or {declare}"
