"""Untested families: a test pass that compares the parts of a model with the model's own output."""

from __future__ import annotations

from typing import Any

import torch
from einops import einsum
from torch import Tensor

from ...data.errors import CheckpointRefused
from ..hugging_face.anatomy import FAMILIES
from ..hugging_face.subject import HuggingFaceModel
from ..hugging_face.watched import whole_pass
from ..subject import NotApplicable, Site

_SITES: tuple[Site, ...] = ("resid_pre", "q", "v", "attention", "z", "attn_out", "mlp_out", "resid_post", "final_norm")
_TOLERANCE = 0.03  # of the norm: bfloat16 keeps two digits


def check_untested_family(subject: HuggingFaceModel) -> None:
    """Raise CheckpointRefused if, on a few tokens, a model of an untested family differs from its anatomy."""
    model_type = subject.module.config.model_type
    if model_type in FAMILIES:
        return
    try:
        difference = _first_difference(subject)
    except CheckpointRefused:
        raise
    except Exception as error:  # an unknown model may fail in any way
        difference = f"a test pass fails ({' '.join(str(error).split())[:100]})"
    if difference is not None:
        raise CheckpointRefused(
            f"model_type {model_type!r} is not supported: {difference}; tested families: {', '.join(FAMILIES)}"
        )


def _first_difference(subject: HuggingFaceModel) -> str | None:
    tokens = torch.arange(min(12, subject.shape.d_vocab))[None]
    trace = subject.run(tokens, watch=dict.fromkeys(_SITES, lambda activation, layer: activation))
    values: dict[str, list[Any]] = {str(site): found for site, found in trace.values.items()}
    weights = subject.weights()
    if isinstance(weights, NotApplicable):
        return "it has no attention weights that mesascope can read"
    weights = weights.expanded()
    for layer in range(subject.shape.n_layers):
        at = {site: found[layer] for site, found in values.items() if site != "final_norm"}
        x = subject.attention_input(at["resid_pre"], layer)
        q = einsum(x, weights.W_Q[layer], "batch pos d_model, head d_model d_head -> batch head pos d_head")
        if not _near(at["q"], q if weights.b_Q is None else q + weights.b_Q[layer][:, None]):
            return f"q of layer {layer} is not the product of its input and W_Q"
        v = at["v"].repeat_interleave(subject.shape.n_heads // subject.shape.n_kv_heads, dim=1)
        if not _near(at["z"], at["attention"].pattern().to(v.dtype) @ v):
            return f"z of layer {layer} is not the product of its attention pattern and v"
        if subject.anatomy.norm is not None and not _near(
            at["resid_post"], at["resid_pre"] + at["attn_out"] + at["mlp_out"]
        ):
            return f"the residual stream after layer {layer} is not the sum of its input, attention and MLP"
    if subject.no_head is None:
        logits = whole_pass(subject.module, subject.blocks, tokens, subject.shape.causal)
        if not _near(logits, subject.unembed(values["final_norm"][0])):
            return "its logits are not the unembedding of its last state"
    return None


def _near(found: Tensor, expected: Tensor) -> bool:
    found, expected = found.double(), expected.double()
    return bool((found - expected).norm() <= _TOLERANCE * expected.norm())
