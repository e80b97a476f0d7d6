"""Layout `tl-native`: state dicts of a `TransformerBridge` from `boot_native` (TransformerLens 4), e.g. `embed.weight`.

Weights are those of torch modules, [out, in]. They are renamed and turned into the form of `tl-legacy`, with which they
share the configuration and everything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from einops import EinopsError, rearrange
from torch import Tensor

from ...data.errors import CheckpointRefused
from .tl_legacy_names import NATIVE_BLOCK, NATIVE_SINGLE, NATIVE_STACKED, TL_NATIVE

_SINGLE_AXES = {"unembed.W_U": "d_vocab d_model -> d_model d_vocab"}
_AXES = {
    **dict.fromkeys(("attn.W_Q", "attn.W_K", "attn.W_V"), "(h d) m -> h m d"),
    **dict.fromkeys(("attn.b_Q", "attn.b_K", "attn.b_V"), "(h d) -> h d"),
    "attn.W_O": "m (h d) -> h d m",
    **dict.fromkeys(("mlp.W_in", "mlp.W_gate", "mlp.W_out"), "out into -> into out"),
}


def legacy_form(tensors: Mapping[str, Tensor], model_config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The same weights under the names and with the axes of `tl-legacy`."""
    n_heads = _n_heads(tensors, model_config)
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name in NATIVE_SINGLE:
            legacy = NATIVE_SINGLE[name]
            found[legacy] = _arranged(name, tensor, _SINGLE_AXES.get(legacy), n_heads)
        elif match := NATIVE_BLOCK.fullmatch(name):
            role = NATIVE_STACKED[match["parameter"]]
            found[f"blocks.{match['layer']}.{role}"] = _arranged(name, tensor, _AXES.get(role), n_heads)
        else:
            raise CheckpointRefused(
                f"{name!r:.80} is not a name of the layout {TL_NATIVE}; declare the file's names with --layout"
                " FILE.toml"
            )
    return _with_biases(found)


def _n_heads(tensors: Mapping[str, Tensor], model_config: Mapping[str, Any]) -> int:
    """As configured, or from the width of the heads and the shape of W_Q [head * d_head, d_model]."""
    n_heads, d_head = model_config.get("n_heads"), model_config.get("d_head")
    query = tensors.get("blocks.0.attn.q.weight")
    if n_heads is None and type(d_head) is int and d_head > 0 and query is not None and query.ndim:
        n_heads = len(query) // d_head
    if type(n_heads) is not int or n_heads < 1:
        raise CheckpointRefused(
            f"n_heads = {n_heads!r:.40} in the configuration; expected the number of heads, or d_head: in the layout"
            f" {TL_NATIVE} the weights show their product alone; give --model-config, or --model-args n_heads=4"
        )
    return n_heads


def legacy_config(model_config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as `tl-legacy` reads it. Native models rotate neighbouring dimensions, which it does not say;
    and they divide scores by the root of d_head where `use_attn_scale` is false, as if nothing were said.
    """
    scale = ("use_attn_scale", "attn_scale") if model_config.get("use_attn_scale") is False else ()
    return {"rotary_adjacent_pairs": True} | {name: held for name, held in model_config.items() if name not in scale}


def _arranged(name: str, tensor: Tensor, axes: str | None, n_heads: int) -> Tensor:
    if axes is None:
        return tensor
    try:
        return rearrange(tensor, axes, **({"h": n_heads} if "h" in axes.replace("(", " ").split() else {})).contiguous()
    except (EinopsError, RuntimeError) as error:
        raise CheckpointRefused(
            f"{name!r:.80} has shape {list(tensor.shape)}, which does not fit n_heads = {n_heads}"
        ) from error


def _with_biases(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gated MLPs and some unembeddings have no biases; those of `tl-legacy` are then 0."""
    for weight, bias in (("mlp.W_in", "mlp.b_in"), ("mlp.W_out", "mlp.b_out"), ("unembed.W_U", "unembed.b_U")):
        for name in [name for name in tensors if name.endswith(weight) and tensors[name].ndim == 2]:
            tensors.setdefault(name.replace(weight, bias), tensors[name].new_zeros(tensors[name].shape[1]))
    return tensors
