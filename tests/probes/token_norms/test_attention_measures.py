"""Mixing ratios of models whose writes or streams are normalised, streamed, beside loops over every pair of tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from mesascope.data.corpus import windows
from mesascope.models import from_module
from mesascope.models.subject import AttentionScores
from mesascope.probes.measure import Measure
from mesascope.probes.streaming import stream
from mesascope.probes.token_norms.accumulator import ModelPass
from mesascope.probes.token_norms.attention_measures import attention_measures, variation
from mesascope.probes.token_norms.attention_watcher import AttentionWatcher
from mesascope.probes.token_norms.text import Text

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


Arrival = Callable[[np.ndarray, int], np.ndarray]
"""What a write to a token, by its position, becomes in the stream."""


def as_they_are(write: np.ndarray, position: int) -> np.ndarray:
    return write


def under_their_own_norm(norm: Any, sums: np.ndarray) -> Arrival:
    """Gemma 2 scales the sum of all writes to a token before it is added."""
    scale = 1 + norm.weight.detach().numpy()

    def arrival(write: np.ndarray, position: int) -> np.ndarray:
        return scale * write / np.sqrt((sums[position] ** 2).mean() + norm.eps)

    return arrival


def by_pairs(subject: Any, tokens: torch.Tensor, layer: int) -> np.ndarray:
    """[query, ratio] of one window: every alpha f(x), what it becomes in the stream, and what the norm makes of it."""
    sites = ("resid_pre", "v", "pattern", "attn_out")
    run = subject.run(tokens, {site: lambda x, layer: x for site in sites}).values
    x, v, alpha, added = (run[site][layer][0].numpy() for site in sites)
    W_O = subject.weights().W_O[layer].numpy()
    f = np.einsum("hjc,hcd->hjd", v.repeat(len(W_O) // len(v), axis=0), W_O)
    block = subject.blocks[layer]
    is_bert = subject.source.name == "bert"
    norm = block.part(block.anatomy.resid_mid) if is_bert else block.part(block.anatomy.attn_out)
    into_stream = as_they_are if is_bert else under_their_own_norm(norm, np.einsum("hij,hjd->id", alpha, f))
    rows = []
    for i in range(len(x)):
        own = into_stream(np.einsum("h,hd->d", alpha[:, i, i], f[:, i]), i)
        mixed = into_stream(np.einsum("hj,hjd->d", alpha[:, i], f), i) - own
        share = 1 - alpha[:, i, i].mean()
        pairs = [(mixed, own), (mixed, own + x[i])]
        if is_bert:
            gamma, sd = norm.weight.detach().numpy(), np.sqrt((x[i] + added[i]).var() + norm.eps)
            pairs.append(tuple(gamma * (write - write.mean()) / sd for write in (mixed, own + x[i])))
        ratios = [np.linalg.norm(m) / (np.linalg.norm(m) + np.linalg.norm(p)) for m, p in pairs]
        rows.append([share, share / 2, *ratios, np.nan][:5])
    return np.array(rows)


def read(subject: Any, documents: list[np.ndarray]) -> tuple[AttentionWatcher, dict[str, Measure]]:
    model_pass = ModelPass(subject, Text(windows(documents, T, V), np.zeros(V)), 0, 10)
    watcher = AttentionWatcher(model_pass)
    stream(subject, model_pass.noted.batches(2), [watcher])
    return watcher, attention_measures(model_pass)


@pytest.mark.parametrize("family", ["bert", "gemma2"])
def test_mixing_ratios_by_pairs(family: str) -> None:
    subject, rng = tiny(family), np.random.default_rng(0)
    documents = [rng.integers(1, V, T) for _ in range(3)]
    mixing = read(subject, documents)[1]["mixing_ratio"]
    found = mixing.values
    for layer in range(2):
        slow = np.array([by_pairs(subject, torch.from_numpy(ids)[None], layer) for ids in documents])
        np.testing.assert_allclose(found[layer, :, 1], slow[:, 1:].mean(axis=(0, 1)), rtol=1e-5)
        if family == "bert":
            np.testing.assert_allclose(found[layer, :, 0], slow[:, 0].mean(axis=0), rtol=1e-5)
        else:
            assert np.isnan(found[layer, :, 0]).all()
    first_mixes_nothing = "the query is the first of causal attention, which mixes nothing in"
    assert ("no norm follows attention" in mixing.message) == (family == "gemma2")
    assert (first_mixes_nothing in mixing.message) == (family == "gemma2")


def test_nothing_of_a_layer_is_held_between_passes() -> None:
    watcher, _ = read(tiny("bert"), [np.arange(1, 9)])
    held = [value for value in vars(watcher).values() if isinstance(value, torch.Tensor | AttentionScores)]
    assert held == []
    assert watcher._running is None


def test_variation_is_that_of_the_numbers(rng: np.random.Generator) -> None:
    x = rng.gamma(3.0, size=(50, 2))
    np.testing.assert_allclose(variation(x.mean(axis=0), (x**2).mean(axis=0)), x.std(axis=0) / x.mean(axis=0))
    assert variation(np.array([2.0]), np.array([4.0])) == 0
