"""Mixing ratios of models whose writes or streams are normalised, streamed, beside loops over every pair of tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from mesascope.data.corpus import windows
from mesascope.models import from_module
from mesascope.models.subject import AttentionScores
from mesascope.probes.streaming import stream
from mesascope.probes.token_norms.accumulator import Notes
from mesascope.probes.token_norms.attention_measures import AttentionNorms
from mesascope.probes.token_norms.text import Reading

V, T = 23, 9
SHARED = {"vocab_size": V, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
SHARED |= {"max_position_embeddings": 16, "initializer_range": 0.3}


def tiny(family: str) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if family == "bert":
            module: Any = transformers.BertForMaskedLM(transformers.BertConfig(**SHARED))
        else:
            own = {"num_key_value_heads": 2, "head_dim": 8, "sliding_window": 4}
            module = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**SHARED, **own))
        for parameter in module.parameters():
            parameter.data.add_(0.2 * torch.randn_like(parameter))
    return from_module(module.double(), name=family)


def by_pairs(subject: Any, tokens: torch.Tensor, layer: int) -> np.ndarray:
    """[query, ratio] of one window: every alpha f(x), what it becomes in the stream, and what the norm makes of it."""
    sites = ("resid_pre", "v", "pattern", "attn_out")
    run = subject.run(tokens, {site: lambda x, layer: x for site in sites}).values
    x, v, alpha, added = (run[site][layer][0].numpy() for site in sites)
    weights = subject.weights()
    W_O = weights.W_O[layer].numpy()
    f = np.einsum("hjc,hcd->hjd", v.repeat(len(W_O) // len(v), axis=0), W_O)
    block = subject.blocks[layer]
    if subject.source.name == "bert":
        norm = block.part(block.anatomy.resid_mid).LayerNorm
        gamma, eps = norm.weight.detach().numpy(), norm.eps
        into_stream = lambda part, i: part  # noqa: E731
    else:
        norm = block.part(block.anatomy.attn_out)
        scale = 1 + norm.weight.detach().numpy()
        sums = np.einsum("hij,hjd->id", alpha, f)
        into_stream = lambda part, i: scale * part / np.sqrt((sums[i] ** 2).mean() + norm.eps)  # noqa: E731
    rows = []
    for i in range(len(x)):
        own = into_stream(np.einsum("h,hd->d", alpha[:, i, i], f[:, i]), i)
        mixed = into_stream(np.einsum("hj,hjd->d", alpha[:, i], f), i) - own
        share = 1 - alpha[:, i, i].mean()
        row = [share, share / 2]
        parts = [(mixed, own), (mixed, own + x[i])]
        if subject.source.name == "bert":
            whole = x[i] + added[i]
            sd = np.sqrt(whole.var() + eps)
            parts.append(tuple(gamma * (part - part.mean()) / sd for part in (mixed, own + x[i])))
        row += [np.linalg.norm(m) / (np.linalg.norm(m) + np.linalg.norm(p)) for m, p in parts]
        rows.append([*row, np.nan][:5])
    return np.array(rows)


@pytest.mark.parametrize("family", ["bert", "gemma2"])
def test_mixing_ratios_by_pairs(family: str) -> None:
    subject, rng = tiny(family), np.random.default_rng(0)
    documents = [rng.integers(1, V, T) for _ in range(3)]
    notes = Notes(Reading(windows(documents, T, V), np.zeros(V)), 10, 0)
    watcher = AttentionNorms(subject, notes)
    stream(subject, notes.batches(2), [watcher])
    found = watcher.measures()["mixing_ratio"].values
    for layer in range(2):
        slow = np.array([by_pairs(subject, torch.from_numpy(ids)[None], layer) for ids in documents])
        np.testing.assert_allclose(found[layer, :, 1], slow[:, 1:].mean(axis=(0, 1)), rtol=1e-5)
        if family == "bert":
            np.testing.assert_allclose(found[layer, :, 0], slow[:, 0].mean(axis=0), rtol=1e-5)
        else:
            assert np.isnan(found[layer, :, 0]).all()


def test_nothing_of_a_layer_is_held_between_passes() -> None:
    subject = tiny("bert")
    notes = Notes(Reading(windows([np.arange(1, 9)], T, V), np.zeros(V)), 10, 0)
    watcher = AttentionNorms(subject, notes)
    stream(subject, notes.batches(2), [watcher])
    held = [value for value in vars(watcher).values() if isinstance(value, torch.Tensor | AttentionScores)]
    assert held == []
