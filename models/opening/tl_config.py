"""What a `HookedTransformerConfig` of TransformerLens before 3.0, written as JSON, says in our words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import CheckpointRefused

_NORMS = {None: "none", "LN": "layer", "LNPre": "layer"}
_POSITIONS = {"standard": "learned", "learned": "learned", "rotary": "rotary", "none": "none", None: "none"}
_DIRECTIONS = {"causal": True, "bidirectional": False}
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh", "silu": "silu"}
_WORDS: dict[str, tuple[str, Mapping[Any, Any]]] = {
    "normalization_type": ("norm", _NORMS),
    "normalization": ("norm", _NORMS),
    "positional_embedding_type": ("positions", _POSITIONS),
    "positional": ("positions", _POSITIONS),
    "attention_dir": ("causal", _DIRECTIONS),
    "act_fn": ("activation", _ACTIVATIONS),
}
_NUMBERS = {
    **{name: name for name in ("n_layers", "n_heads", "d_model", "d_head", "d_vocab", "n_ctx", "d_mlp", "rotary_base")},
    "attn_scale": "attention_scale",
    "attention_scale": "attention_scale",
    "eps": "norm_eps",
    "rotary_dim": "rotary_width",
    "rotary_adjacent_pairs": "rotary_interleaved",
}
_MUST_EQUAL = {"n_key_value_heads": "n_heads", "d_vocab_out": "d_vocab"}
_OF_NO_EFFECT = {
    *("model_name", "original_architecture", "tokenizer_name", "tokenizer_prepends_bos", "default_prepend_bos"),
    *("seed", "device", "n_devices", "dtype", "init_mode", "init_weights", "initializer_range", "n_params", "names"),
    *("checkpoint_index", "checkpoint_label_type", "checkpoint_value", "from_checkpoint", "default_padding_side"),
    *("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "use_hook_tokens"),
    *("NTK_by_parts_low_freq_factor", "NTK_by_parts_high_freq_factor", "NTK_by_parts_factor", "NTK_original_ctx_len"),
}
_UNSET = (None, False, -1)


def facts_said(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an `AttentionOnlyConfig`. A key that is not understood is refused, unless it is unset."""
    facts: dict[str, Any] = {}
    for name, value in given.items():
        if name in _WORDS:
            ours, words = _WORDS[name]
            if (value is None and name != "act_fn") or isinstance(value, str):
                facts[ours] = _translated(name, value, words)
            elif value is not None:
                raise CheckpointRefused(f"configuration key {name!r} = {value!r:.60}, expected a word or null")
        elif name in _NUMBERS:
            facts |= {} if value is None or value == -1 else {_NUMBERS[name]: value}
        elif name in _MUST_EQUAL:
            other = _MUST_EQUAL[name]
            if value not in _UNSET and value != given.get(other, value):
                raise CheckpointRefused(f"configuration key {name!r} = {value!r:.60}, expected that of {other}")
            facts |= {} if value in _UNSET else {other: value}
        elif name not in _OF_NO_EFFECT and name not in ("use_attn_scale", "attn_only", "bos") and value not in _UNSET:
            raise CheckpointRefused(f"configuration key {name!r:.60} = {value!r:.60} is not understood")
    if given.get("use_attn_scale") is False:
        facts["attention_scale"] = 1.0
    return facts


def meaningful(given: Mapping[str, Any]) -> dict[str, Any]:
    """As much of a configuration as matters: what reads the same weights in the same way."""
    known = {*_WORDS, *_NUMBERS, *_MUST_EQUAL, "use_attn_scale", "attn_only", "bos"}
    return {name: value for name, value in given.items() if name in known}


def _translated(name: str, value: str | None, words: Mapping[Any, Any]) -> Any:
    if value not in words:
        known = ", ".join("null" if word is None else word for word in words)
        raise CheckpointRefused(f"configuration key {name!r} = {value!r:.60}, expected one of {known}")
    return words[value]
