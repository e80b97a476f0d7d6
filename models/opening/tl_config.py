"""A `HookedTransformerConfig` of TransformerLens before 3.0 as settings of an `AttentionOnlyConfig`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...data.errors import CheckpointRefused

_NORMS = {None: "none", "LN": "layer", "LNPre": "layer", "RMS": "rms", "RMSPre": "rms"}
_POSITIONS = {"standard": "learned", None: "none"} | {
    name: name for name in ("learned", "rotary", "shortformer", "none")
}
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
_MUST_EQUAL = {"n_key_value_heads": "n_heads"}
_OF_NO_EFFECT = {
    *("model_name", "original_architecture", "tokenizer_name", "tokenizer_prepends_bos", "default_prepend_bos"),
    *("seed", "device", "n_devices", "dtype", "init_mode", "init_weights", "initializer_range", "n_params", "names"),
    *("checkpoint_index", "checkpoint_label_type", "checkpoint_value", "from_checkpoint", "default_padding_side"),
    *("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_attn_in", "use_hook_tokens"),
    *("NTK_by_parts_low_freq_factor", "NTK_by_parts_high_freq_factor", "NTK_by_parts_factor", "NTK_original_ctx_len"),
}
_SAID_ELSEWHERE = {"use_attn_scale", "attn_only", "bos", "shortformer_pos"}
_UNSET = (None, False, -1)


def read_settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of an `AttentionOnlyConfig`. Raises CheckpointRefused for unknown keys, unless they are unset."""
    facts: dict[str, Any] = {}
    for name, value in given.items():
        if name in _WORDS:
            setting, values = _WORDS[name]
            if (value is None and name != "act_fn") or isinstance(value, str):
                facts[setting] = _translated(name, value, values)
            elif value is not None:
                raise CheckpointRefused(f"configuration key {name!r} = {value!r:.60}; expected a string or null")
        elif name in _NUMBERS:
            facts |= {} if value is None or value == -1 else {_NUMBERS[name]: value}
        elif name == "d_vocab_out":
            facts |= {} if value in (*_UNSET, given.get("d_vocab")) else {name: value}
        elif name == "gated_mlp":
            facts |= {} if value in _UNSET else {name: value}
        elif name in _MUST_EQUAL:
            other = _MUST_EQUAL[name]
            if value not in _UNSET and value != given.get(other, value):
                raise CheckpointRefused(
                    f"configuration key {name!r} = {value!r:.60}; expected {given[other]!r:.60}, the value of {other}"
                )
            facts |= {} if value in _UNSET else {other: value}
        elif name not in _OF_NO_EFFECT and name not in _SAID_ELSEWHERE and value not in _UNSET:
            raise CheckpointRefused(
                f"configuration key {name!r:.60} = {value!r:.60} is not understood; expected it to be unset"
            )
    if given.get("use_attn_scale") is False:
        facts["attention_scale"] = 1.0
    if given.get("shortformer_pos"):  # of the first models with these names
        facts["positions"] = "shortformer"
    return facts


def meaningful(given: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that changes how weights are read."""
    known = {*_WORDS, *_NUMBERS, *_MUST_EQUAL, *_SAID_ELSEWHERE, "d_vocab_out", "gated_mlp"}
    return {name: value for name, value in given.items() if name in known}


def _translated(name: str, value: str | None, values: Mapping[Any, Any]) -> Any:
    if value not in values:
        known = ", ".join("null" if known is None else known for known in values)
        raise CheckpointRefused(f"configuration key {name!r} = {value!r:.60}; expected one of {known}")
    return values[value]
