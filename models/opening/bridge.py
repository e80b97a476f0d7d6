"""TransformerLens bridges as subjects. The only module that imports TransformerLens, and only when called.

A bridge rewires the model that it wraps and runs its own attention, but the tensors are the model's. mesascope builds a
second module over the same storage and does not change the bridge.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import torch
from einops import rearrange
from torch import Tensor

from ...data.errors import CheckpointRefused, UsageError
from ..hugging_face.subject import HuggingFaceModel
from ..own.attention_only import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer
from ..subject import Source
from ..tokenizing import begins_with, digest_of, knows_words
from ..weights import weights_sha256
from .in_memory import IN_MEMORY, twin_subject
from .plain_check import checked

PACKAGE = ("transformer-lens",)
_WRAPPER = "._original_component"
_ACTIVATIONS = {"relu": "relu", "gelu": "gelu", "gelu_new": "gelu_tanh", "silu": "silu", "swish": "silu"}
_NORMS = {None: "none", "LN": "layer", "LNPRE": "layer", "RMS": "rms", "RMSPRE": "rms"}
_POSITIONS = {"standard": "learned", "rotary": "rotary"}


def from_bridge(
    bridge: Any, tokenizer: Any | None = None, name: str = "bridge"
) -> HuggingFaceModel | AttentionOnlyModel:
    """A `TransformerBridge` as a subject: one over a transformers model, or one from `boot_native`. Weights are shared.

    tokenizer:  default: the bridge's own, unless it has special tokens only, as a bridge booted from a directory
                without tokenizer files does
    """
    from transformer_lens.model_bridge import TransformerBridge

    if not isinstance(bridge, TransformerBridge):
        raise UsageError(
            f"the bridge is a {type(bridge).__name__}; expected a TransformerBridge; for a transformers model use"
            " from_module"
        )
    if getattr(bridge, "compatibility_mode", False):
        raise CheckpointRefused(
            f"{name}: enable_compatibility_mode has processed its weights; expected a bridge as it was booted"
        )
    if tokenizer is None and bridge.tokenizer is not None and knows_words(bridge.tokenizer):
        tokenizer = bridge.tokenizer
    original: Any = bridge.original_model
    state, buffers = _unwrapped(original.state_dict()), _unwrapped(dict(original.named_buffers()))
    if not hasattr(original, "base_model_prefix"):
        return _from_native(bridge.cfg, state, name, tokenizer)
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        expected = set(type(original)(original.config).state_dict())
    kept = {key: tensor for key, tensor in state.items() if key in expected}  # the rest are views that the bridge made
    subject = twin_subject(type(original), original.config, kept, buffers, tokenizer, name, layout="bridge")
    subject.packages += PACKAGE
    return subject


def known_steps(model: str) -> list[int]:
    """Training steps of a hub model that TransformerLens lists; the hub itself is not asked."""
    from transformer_lens.tools.model_registry.checkpoints import get_checkpoint_labels

    if not model.startswith(("EleutherAI/pythia", "stanford-crfm/")):
        return []
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        return list(get_checkpoint_labels(model)[0])
    finally:
        logging.disable(previous)


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the wrapped model's own names, without the bridge's components."""
    return {name.replace(_WRAPPER, ""): tensor for name, tensor in tensors.items()}


def _from_native(cfg: Any, state: Mapping[str, Tensor], name: str, tokenizer: Any | None) -> AttentionOnlyModel:
    config = _native_config(cfg, name)
    try:
        parameters = _native_parameters(config, {key: tensor.detach() for key, tensor in state.items()})
    except KeyError as error:
        raise CheckpointRefused(
            f"{name}: the native model lacks the tensor {error}; expected a bridge from boot_native"
        ) from error
    source = Source(
        name,
        layout="bridge-native",
        weights_sha256=weights_sha256(parameters),
        facts={
            **config.as_dict(),
            "bos": begins_with(tokenizer, None, config.d_vocab),
            "tokenizer_sha256": None if tokenizer is None else digest_of(tokenizer),
        },
        notes=(IN_MEMORY,),
    )
    subject = checked(AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), source, tokenizer))
    subject.packages += PACKAGE
    return subject


def _native_config(cfg: Any, name: str) -> AttentionOnlyConfig:
    """A native model's configuration as an `AttentionOnlyConfig`. Raises CheckpointRefused for other architectures."""
    norm = None if cfg.normalization_type is None else cfg.normalization_type.upper()
    default = "silu" if cfg.gated_mlp else "gelu"
    kv_heads = cfg.n_key_value_heads or cfg.n_heads
    unsupported = {
        "normalization_type": (norm not in _NORMS, "None, LN, LNPre, RMS or RMSPre"),
        "final_rms": (cfg.final_rms, "False"),
        "n_key_value_heads": (kv_heads != cfg.n_heads, f"n_heads = {cfg.n_heads}"),
        "positional_embedding_type": (cfg.positional_embedding_type not in _POSITIONS, " or ".join(_POSITIONS)),
        "attn_scores_soft_cap": (cfg.attn_scores_soft_cap > 0, "no cap"),
        "output_logits_soft_cap": (cfg.output_logits_soft_cap > 0, "no cap"),
        "rope_scaling": (getattr(cfg, "rope_scaling", None) is not None, "None"),
        "act_fn": (not cfg.attn_only and (cfg.act_fn or default) not in _ACTIVATIONS, " or ".join(_ACTIVATIONS)),
    }
    for key, (differs, expected) in unsupported.items():
        if differs:
            raise CheckpointRefused(
                f"{name}: native model with {key} = {getattr(cfg, key, None)!r}; mesascope supports {expected}"
            )
    return AttentionOnlyConfig.from_dict(
        {
            **{key: getattr(cfg, key) for key in ("d_vocab", "n_ctx", "d_model", "n_layers", "n_heads", "d_head")},
            "d_vocab_out": None if cfg.d_vocab_out in (-1, cfg.d_vocab) else cfg.d_vocab_out,
            "d_mlp": None if cfg.attn_only else cfg.d_mlp,
            "activation": _ACTIVATIONS.get(cfg.act_fn or default, "gelu"),
            "gated_mlp": bool(cfg.gated_mlp) and not cfg.attn_only,
            "norm": _NORMS[norm],
            "norm_eps": float(cfg.eps),
            "positions": _POSITIONS[cfg.positional_embedding_type],
            "rotary_width": cfg.rotary_dim,
            "rotary_base": float(cfg.rotary_base),
            "rotary_interleaved": True,
            "attention_scale": float(cfg.attn_scale) if cfg.use_attn_scale and cfg.attn_scale > 0 else None,
            "causal": cfg.attention_dir == "causal",
        }
    )


def _native_parameters(config: AttentionOnlyConfig, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    def stack(parameter: str, pattern: str, **sizes: int) -> Tensor:
        found = [rearrange(state[f"layers.{layer}.{parameter}"], pattern, **sizes) for layer in range(config.n_layers)]
        return torch.stack(found)

    heads = {"h": config.n_heads}
    parameters = {"W_E": state["tok_embed.weight"], "W_U": state["head.weight"].mT}
    parameters["b_U"] = state.get("head.bias", state["head.weight"].new_zeros(config.n_logits))
    if config.positions == "learned":
        parameters["W_pos"] = state["pos.weight"]
    for role in "QKV":
        parameters[f"W_{role}"] = stack(f"attn.{role.lower()}.weight", "(h d) m -> h m d", **heads)
        parameters[f"b_{role}"] = stack(f"attn.{role.lower()}.bias", "(h d) -> h d", **heads)
    parameters["W_O"] = stack("attn.o.weight", "m (h d) -> h d m", **heads)
    parameters["b_O"] = stack("attn.o.bias", "m -> m")
    if config.d_mlp is not None:
        modules = {"in": "in", "out": "out", "gate": "gate"} if config.gated_mlp else {"in": "fc_in", "out": "fc_out"}
        for side, module in modules.items():
            parameters[f"W_{side}"] = stack(f"mlp.{module}.weight", "out into -> into out")
        for side, width in (("in", config.d_mlp), ("out", config.d_model)):
            zeros = parameters["W_E"].new_zeros(config.n_layers, width)
            parameters[f"b_{side}"] = zeros if config.gated_mlp else stack(f"mlp.fc_{side}.bias", "out -> out")
    for norm in ("ln1", "ln2"):
        if f"{norm}_scale" in config.shapes and f"layers.0.{norm}.weight" in state:
            parameters[f"{norm}_scale"] = stack(f"{norm}.weight", "m -> m")
            if config.norm == "layer":
                parameters[f"{norm}_offset"] = stack(f"{norm}.bias", "m -> m")
    if "ln_final_scale" in config.shapes and "ln_out.weight" in state:
        parameters["ln_final_scale"] = state["ln_out.weight"]
        if config.norm == "layer":
            parameters["ln_final_offset"] = state["ln_out.bias"]
    for key, shape in config.shapes.items():
        if key.startswith("ln") and key not in parameters:  # norms without scale and offset have those of 1 and 0
            parameters[key] = parameters["W_E"].new_full(shape, float(key.endswith("scale")))
    return parameters
