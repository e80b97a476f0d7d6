"""The names of layout `tl-legacy`, and which layouts may fit a file by its names. Without torch."""

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
    **{f"{ln}.{tl}": f"{ln}_{ours}" for ln in ("ln1", "ln2") for tl, ours in (("w", "scale"), ("b", "offset"))},
}
BLOCK = re.compile(rf"blocks\.{LAYER}\.(?P<parameter>{'|'.join(map(re.escape, STACKED))})")
BUFFER = re.compile(rf"blocks\.{LAYER}\.attn\.(?P<buffer>mask|IGNORE|rotary_sin|rotary_cos)")


def layout_advice(names: Collection[str]) -> str:
    """What to give for a file of tensors with these names: `tl-legacy` only where all of them are its own."""
    declare = "--layout FILE.toml that declares its names"
    known = all(name in SINGLE or BLOCK.fullmatch(name) or BUFFER.fullmatch(name) for name in names)
    return f"give --layout {TL_LEGACY}, or {declare}" if names and known else f"give {declare}"
