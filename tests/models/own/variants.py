"""Regression transformers of every kind, as settings of their configuration."""

from __future__ import annotations

from typing import Any

import pytest

VARIANTS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "tied": {"n_layers": 3},
    "untied": {"n_layers": 3, "tied": False},
    "heads": {"n_heads": 3, "d_head": 2},
    "wide heads": {"n_heads": 2, "d_head": 7, "n_layers": 2, "tied": False},
    "softmax": {"softmax": True, "n_layers": 2},
    "softmax heads": {"softmax": True, "n_heads": 2, "n_layers": 2, "tied": False, "d_head": 3},
    "layer norm, tied": {"layer_norm": True, "n_layers": 3},
    "layer norm, untied": {"layer_norm": True, "n_layers": 3, "tied": False},
    "layer norm, untied, one layer": {"layer_norm": True, "tied": False},
    "clip": {"activation_clip": 0.7, "n_layers": 3},
    "dampening": {"dampening": 0.75, "n_layers": 3},
    "target only": {"target_only": True, "n_layers": 2},
    "target only, wide": {"target_only": True, "n_layers": 2, "d_out": 2},
    "query in context": {"query_in_context": True, "n_layers": 2},
    "causal": {"causal": True, "n_layers": 3, "tied": False},
    "causal, one layer": {"causal": True, "n_heads": 2},
    "causal, softmax, query in context": {"causal": True, "softmax": True, "query_in_context": True, "n_layers": 2},
    "causal, layer norm": {"causal": True, "layer_norm": True, "n_layers": 4, "tied": False, "n_heads": 2},
    "wide labels": {"d_out": 3, "n_layers": 2},
    "MLP, shared": {"mlp": "shared", "n_layers": 3, "tied": False, "n_heads": 2},
    "MLP, tied": {"mlp": "shared", "n_layers": 2, "dampening": 0.75},
    "MLP, own": {"mlp": "own", "n_layers": 2, "tied": False, "layer_norm": True},
    "MLP, layer norm, tied": {"mlp": "shared", "n_layers": 2, "layer_norm": True, "softmax": True},
    "MLP, saturating": {"mlp": "own", "n_layers": 3, "tied": False, "activation_clip": 0.4},
    "softmax, then linear": {"softmax": True, "linear_from": 1, "n_layers": 2, "tied": False},
    "positions": {"d_position": 4, "n_layers": 2},
    "interleaved tokens": {"token_order": "interleaved", "n_layers": 2},
    "separate tokens": {"token_order": "separate", "n_layers": 2, "d_out": 2},
    "one-hot positions": {"one_hot_positions": True, "d_position": 25, "n_layers": 2, "token_order": "separate"},
    "interleaved tokens, positions": {
        "token_order": "interleaved",
        "d_position": 10,
        "softmax": True,
        "linear_from": 1,
        "n_layers": 2,
        "tied": False,
    },
    "embedding": {"d_embed": 5},
    "embedding, MLPs": {"d_embed": 5, "mlp": "own", "n_layers": 2, "tied": False, "d_out": 2},
    "everything": {
        "d_out": 2,
        "n_layers": 3,
        "tied": False,
        "n_heads": 2,
        "softmax": True,
        "layer_norm": True,
        "dampening": 0.8,
        "activation_clip": 1.5,
        "query_in_context": True,
    },
}
each_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
