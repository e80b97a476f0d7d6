"""Planted heads of graded strength, in noise, are called and graded; near misses of any strength are not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer
from mesascope.models.constructed.induction import (
    ANTI_INDUCTION,
    DUPLICATE_TOKEN,
    INDUCTION,
    PREVIOUS_TOKEN,
    PlantedHead,
    planted_model,
)
from mesascope.probes.induction_heads.evidence import Evidence, Thresholds
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.induction_heads.verdicts import strength, strength_words

STRENGTHS = (0.05, 0.1, 0.2, 0.5, 0.8, 0.95)
SIZES = ((20, 21), (30, 61), (60, 101))
"""Tokens of the vocabulary, and of the context: periods of 9, 29 and 50."""
WORDS = {0.05: "weak", 0.1: "weak", 0.2: "weak", 0.5: "moderate", 0.8: "strong", 0.95: "strong"}
NOISE = 0.002


def noisy(heads: Sequence[PlantedHead], size: tuple[int, int], seed: int) -> AttentionOnlyModel:
    """These heads in the second layer, and on all attention weights noise of 0.2 % of a matrix's root mean square."""
    subject = planted_model([PREVIOUS_TOKEN], heads, *size)
    rng = torch.Generator().manual_seed(seed)
    parameters = {name: parameter.detach().clone() for name, parameter in subject.module.named_parameters()}
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        W = parameters[name]
        W += NOISE * W.pow(2).mean((-2, -1), keepdim=True).sqrt() * torch.randn(W.shape, generator=rng, dtype=W.dtype)
    return AttentionOnlyModel(AttentionOnlyTransformer(subject.config, parameters), subject.source)


def calls(heads: Sequence[PlantedHead], size: tuple[int, int], seed: int) -> list[tuple[str, str]]:
    """Verdict and strength in words of each head of the second layer."""
    probe = InductionHeads(ablate="nothing")
    measures = probe.measure(noisy(heads, size, seed), seed, 16).measures
    evidence = Evidence.of(measures)
    assert evidence is not None
    values, verdicts = strength(evidence, Thresholds())[1], probe.heads(measures)
    return [
        (verdicts[f"L1H{head}"], strength_words(values[head : head + 1], Thresholds())) for head in range(len(heads))
    ]


def confusion(
    size: tuple[int, int], seeds: Sequence[int], strengths: Sequence[float] = STRENGTHS
) -> Counter[tuple[str, float, str, str]]:
    """How often a planted verdict and strength are called so: (planted, strength, called, words)."""
    found: Counter[tuple[str, float, str, str]] = Counter()
    for seed in seeds:
        for name, like in (("induction", INDUCTION), ("anti-induction", ANTI_INDUCTION)):
            called = calls([replace(like, strength=s) for s in strengths], size, seed)
            found.update((name, s, *call) for s, call in zip(strengths, called, strict=True))
    return found


def share_right(found: Counter[tuple[str, float, str, str]]) -> float:
    right = sum(n for (name, s, called, words), n in found.items() if (called, words) == (name, WORDS[s]))
    return right / found.total()


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (2, 2))


@pytest.mark.usefixtures("few_draws")
def test_planted_heads_are_called_and_graded() -> None:
    """All but the weakest, which takes more draws of the null to be told from it."""
    assert share_right(confusion((24, 41), [0], STRENGTHS[1:])) == 1


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_at_least_95_percent_of_planted_heads_are_called_and_graded(size: tuple[int, int]) -> None:
    assert share_right(confusion(size, range(10))) >= 0.95


@pytest.mark.usefixtures("few_draws")
def test_near_misses_of_the_same_attention_are_not_called() -> None:
    """Duplicate-token heads, weak and strong, and heads without a match; a fixed offset that fits one period."""
    duplicates = [replace(DUPLICATE_TOKEN, strength=s) for s in (0.1, 0.5, 0.95)]
    misses = [*duplicates, PlantedHead(), PlantedHead(noise=3), PlantedHead(offset=10)]
    called = [verdict for verdict, _ in calls(misses, (24, 24), 0)]
    assert not {"induction", "anti-induction"} & set(called)


@pytest.mark.usefixtures("few_draws")
def test_strength_is_the_attention_that_was_planted() -> None:
    probe = InductionHeads(periods=(9, 7, 5), n_sequences=12, ablate="nothing")
    heads = [replace(INDUCTION, strength=s) for s in STRENGTHS]
    measures = probe.measure(planted_model([PREVIOUS_TOKEN], heads, 20, 21), 0, 16).measures
    called = measures["strength"].values[1]
    expected = np.array(STRENGTHS)
    assert np.abs(measures["excess"].values[1] - expected).max() < 1e-6
    assert np.abs(called - expected)[~np.isnan(called)].max() < 1e-6
    assert not np.isnan(called[2:]).any()
