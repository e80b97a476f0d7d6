"""What is kept of a pass: direct effects, losses and mean z, against the model's own logits and states."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, Source
from mesascope.probes.induction_heads.scores import attention_by_offset, prefix_matching_score
from mesascope.probes.induction_heads.watchers import (
    HeadAttention,
    LogitAttribution,
    MeanZ,
    NextTokenLoss,
    kept_offsets,
)
from mesascope.probes.streaming import Watcher, stream
from torch import Tensor

LAW = RepeatedTokens(period=5, d_vocab=23, bos=0)
Make = Callable[..., AttentionOnlyModel]


@pytest.fixture(scope="module")
def model() -> Make:
    """Random weights of a size at which every part of the computation matters; float64."""

    def make(**settings: object) -> AttentionOnlyModel:
        sizes = {"d_vocab": 23, "n_ctx": 16, "d_model": 10, "n_layers": 2, "n_heads": 3, "d_head": 4}
        config = AttentionOnlyConfig(**{**sizes, **settings})
        rng = torch.Generator().manual_seed(0)
        parameters = {
            name: 0.5 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
            for name, shape in config.shapes.items()
        }
        return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))

    return make


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return LAW.draw(6, seed=0).tokens


def watched(model: AttentionOnlyModel, tokens: Tensor, watcher: Watcher, batch: int = 4) -> None:
    stream(model, tokens.split(batch), [watcher])


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_direct_effects_are_the_norm_s_linear_part_of_each_head(model: Make, tokens: Tensor, norm: str) -> None:
    subject = model(norm=norm)
    weights, W_U = subject.weights(), subject.unembedding()
    watcher = LogitAttribution(subject.final_norm, LAW, weights.W_O, W_U)
    watched(subject, tokens, watcher)
    found = watcher.arrays()["attribution"]
    keep = {"z": lambda z, _: z, "final": lambda state, _: state}
    trace = subject.run(tokens, keep)
    queries = range(LAW.first + 5, LAW.first + 9)  # of the second repeat but its last token, which predict the next
    for layer in range(2):
        for head in range(3):
            write = trace.values["z"][layer][:, head] @ weights.W_O[layer, head]
            logits = subject.final_norm.linear(write, trace.values["final"][0]) @ W_U
            centred = logits - logits.mean(dim=-1, keepdim=True)
            right = torch.stack([centred[torch.arange(6), i, tokens[:, i + 1]] for i in queries], dim=1)
            assert np.allclose(found[:, layer, head], right.mean(dim=1).numpy())


def test_direct_effects_add_up_to_the_logits(model: Make, tokens: Tensor) -> None:
    """Without MLPs the heads, the embeddings and the biases are all there is."""
    subject = model()
    watcher = LogitAttribution(subject.final_norm, LAW, subject.weights().W_O, subject.unembedding())
    watched(subject, tokens, watcher)
    heads = watcher.arrays()["attribution"].sum(axis=(1, 2))
    trace = subject.run(tokens, {"final": lambda state, _: state, "resid_pre": lambda state, _: state})
    final, start = trace.values["final"][0], trace.values["resid_pre"][0]
    b_O = subject.module.b_O.sum(dim=0)
    norm, rest = subject.final_norm, []
    for part in (start, b_O):
        logits = norm.linear(part, final) @ subject.unembedding()
        rest.append(logits - logits.mean(dim=-1, keepdim=True))
    whole = (norm(final) - norm.offset) @ subject.unembedding()
    expected = whole - whole.mean(dim=-1, keepdim=True) - rest[0] - rest[1]
    right = [expected[torch.arange(6), i, tokens[:, i + 1]] for i in range(6, 10)]
    assert np.allclose(heads, torch.stack(right, dim=1).mean(dim=1).numpy())


def test_scores_are_the_formulas_sequence_by_sequence(model: Make, tokens: Tensor) -> None:
    subject, offsets = model(positions="rotary"), kept_offsets(5)
    watcher = HeadAttention(LAW, (2, 1), offsets)
    watched(subject, tokens, watcher)
    found = watcher.arrays()
    patterns = subject.run(tokens, {"pattern": lambda pattern, _: pattern}).values["pattern"]
    for layer, pattern in enumerate(patterns):
        assert np.allclose(found["matching"][:, layer], prefix_matching_score(pattern, 5))
        by_offset = attention_by_offset(pattern, 6)
        assert np.allclose(found["by_offset"][:, layer], by_offset[..., :6])
        for place, offset in enumerate((2, 1)):
            slow = [pattern[:, :, i, i - offset] for i in range(6, 11)]
            assert np.allclose(found["other_offsets"][:, layer, :, place], torch.stack(slow).mean(dim=0))
    assert found["matching"].dtype == np.float64


def test_another_period_s_offset_is_read_where_a_key_is(model: Make, tokens: Tensor) -> None:
    """Keys before the first repeat are none: at offset 7 the first query is 8, not 7 with BOS as its key."""
    watcher = HeadAttention(LAW, (7,))
    watched(model(), tokens, watcher)
    pattern = model().run(tokens, {"pattern": lambda pattern, _: pattern}).values["pattern"][0]
    slow = (pattern[:, :, 8, 1] + pattern[:, :, 9, 2] + pattern[:, :, 10, 3]) / 3
    assert np.allclose(watcher.arrays()["other_offsets"][:, 0, :, 0], slow)


def test_losses_and_hits_are_those_of_the_logits(model: Make, tokens: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = model()
    logits = subject.logits(tokens)
    slow = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    for size in (2**24, 50):  # all positions at once, or a few at a time
        monkeypatch.setattr("mesascope.probes.induction_heads.watchers._LOGITS", size)
        watcher = NextTokenLoss(subject)
        watched(subject, tokens, watcher)
        assert np.allclose(watcher.arrays()["loss"], slow.unflatten(0, (6, 10)).numpy())
        assert np.array_equal(watcher.arrays()["hit"], (logits[:, :-1].argmax(-1) == tokens[:, 1:]).double().numpy())


def test_mean_z_is_over_sequences_and_positions(model: Make, tokens: Tensor) -> None:
    watcher = MeanZ()
    watched(model(), tokens, watcher)
    z = model().run(tokens, {"z": lambda z, _: z}).values["z"]
    assert torch.allclose(watcher.mean(), torch.stack([of_one.mean(dim=(0, 2)) for of_one in z]))


def test_long_periods_keep_the_lowest_and_the_highest_offsets() -> None:
    assert kept_offsets(3) == (0, 1, 2, 3)
    assert kept_offsets(127) == tuple(range(128))
    assert kept_offsets(1000) == (*range(64), *range(937, 1001))
