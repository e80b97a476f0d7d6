"""Families that no test opens: whether their parts do what their names say, on a few tokens of the model itself."""

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


def check_unfamiliar(subject: HuggingFaceModel) -> None:
    """Refuse a model whose parts were taken for what they are not: a promise about names holds for tested families."""
    model_type = subject.module.config.model_type
    if model_type in FAMILIES:
        return
    try:
        wrong = _first_wrong(subject)
    except CheckpointRefused:
        raise
    except Exception as error:  # an unknown model may fail in any way
        wrong = f"a pass over it ({' '.join(str(error).split())[:100]})"
    if wrong is not None:
        raise CheckpointRefused(
            f"model_type {model_type!r}: {wrong} is not as in the families known ({', '.join(FAMILIES)})"
        )


def _first_wrong(subject: HuggingFaceModel) -> str | None:
    tokens = torch.arange(min(12, subject.shape.d_vocab))[None]
    trace = subject.run(tokens, watch=dict.fromkeys(_SITES, lambda activation, layer: activation))
    values: dict[str, list[Any]] = {str(site): found for site, found in trace.values.items()}
    weights = subject.weights()
    if isinstance(weights, NotApplicable):
        return "attention"
    weights = weights.expanded()
    for layer in range(subject.shape.n_layers):
        at = {site: found[layer] for site, found in values.items() if site != "final_norm"}
        x = subject.attention_input(at["resid_pre"], layer)
        q = einsum(x, weights.W_Q[layer], "batch pos d_model, head d_model d_head -> batch head pos d_head")
        if not _near(at["q"], q if weights.b_Q is None else q + weights.b_Q[layer][:, None]):
            return f"q of layer {layer}"
        v = at["v"].repeat_interleave(subject.shape.n_heads // subject.shape.n_kv_heads, dim=1)
        if not _near(at["z"], at["attention"].pattern().to(v.dtype) @ v):
            return f"the attention of layer {layer}"
        if subject.anatomy.norm is not None and not _near(
            at["resid_post"], at["resid_pre"] + at["attn_out"] + at["mlp_out"]
        ):
            return f"what layer {layer} adds to the stream"
    if subject.no_head is None:
        logits = whole_pass(subject.module, subject.blocks, tokens, subject.shape.causal)
        if not _near(logits, subject.unembed(values["final_norm"][0])):
            return "the unembedding"
    return None


def _near(found: Tensor, expected: Tensor) -> bool:
    found, expected = found.double(), expected.double()
    return bool((found - expected).norm() <= _TOLERANCE * expected.norm())
