"""Untrained models agree with nothing: 200 of ten kinds, by the whole probe and its card."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from mesascope.models import RegressionConfig, from_transformer, initialise
from mesascope.probes import GDAlignment

SHAPES = (
    RegressionConfig(5, d_head=6),
    RegressionConfig(5, d_head=6, n_layers=2, n_heads=2, tied=False),
    RegressionConfig(5, d_head=6, n_layers=3, activation_clip=1.0),
    RegressionConfig(5, d_head=6, n_heads=2, softmax=True),
    RegressionConfig(5, d_head=6, n_layers=2, softmax=True, layer_norm=True),
)
NAMES = ("one layer", "two layers, two heads", "three layers with a clip", "softmax, two heads", "softmax, layer norm")


def first_words(shape: RegressionConfig, scale: float, seed: int) -> str:
    """Of the verdict on one draw."""
    model = initialise(shape, scale, torch.Generator().manual_seed(1_000 + seed))
    subject, probe = from_transformer(model), GDAlignment(limit=500, n_context=10)
    found = probe.claim(probe.measure(subject, seed, 500).measures, (subject.source,)).found
    return found.removeprefix("Tokens rearranged. ").removeprefix("Sign turned. ")[:24]


def calls(shape: RegressionConfig, scale: float, seeds: range) -> Counter[str]:
    return Counter(first_words(shape, scale, seed) for seed in seeds)


@pytest.mark.usefixtures("few_shifts")
@pytest.mark.parametrize(("shape", "scale"), [(SHAPES[0], 0.002), (SHAPES[3], 1.0)], ids=["linear", "softmax"])
def test_an_untrained_model_agrees_with_no_candidate(shape: RegressionConfig, scale: float) -> None:
    assert calls(shape, scale, range(1)) == {"No candidate explains th": 1}


@pytest.mark.slow
@pytest.mark.usefixtures("few_shifts")
@pytest.mark.parametrize("shape", SHAPES, ids=NAMES)
@pytest.mark.parametrize("scale", [0.002, 1.0])
def test_no_untrained_model_agrees_with_a_candidate(shape: RegressionConfig, scale: float) -> None:
    """Twenty models of each kind, at the authors' scale of initialisation and at a large one.

    The level is 2.5 %: so often the interval of a share that is just over 10 % lies all below it.
    """
    called = calls(shape, scale, range(20))
    print(f"\n{shape} at {scale}: {dict(called)}")
    assert not any(words.startswith("The model agrees") for words in called)
