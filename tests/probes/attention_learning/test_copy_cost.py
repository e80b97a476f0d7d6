"""What a dry run says of copy models: numbers that grow with the model and with what is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from mesascope.probes.attention_learning.copy_cost import copy_cost, copy_memory
from mesascope.probes.attention_learning.copy_measures import CopySettings

from .planted_copies import random_copy


def memory(n_sequences: int = 64, batch_size: int = 32, **model: Any) -> int:
    return copy_memory(
        random_copy(**({"n_places": 40, "n_words": 60, "n_heads": 1} | model)), CopySettings(n_sequences), batch_size
    )


def test_memory_grows_with_each_of_its_reasons() -> None:
    base = memory()
    for larger in ({"n_sequences": 128}, {"batch_size": 64}, {"n_places": 60}, {"n_words": 90}, {"n_heads": 8}):
        assert memory(**larger) > base, larger
    assert memory(n_sequences=16, batch_size=16) == memory(n_sequences=16, batch_size=2048)
    # 97 MB were measured, 277 MB of four times as many sources in four times as large a batch, 273 MB of eight heads
    assert 97_000_000 < base < 2 * 97_000_000
    assert 277_000_000 < memory(256, 128) < 2 * 277_000_000
    assert 273_000_000 < memory(n_heads=8) < 2 * 273_000_000


def test_cost_grows_with_sources_places_and_heads() -> None:
    def cost(n_sequences: int = 64, **model: Any) -> tuple[float, float]:
        found = copy_cost(random_copy(**model), CopySettings(n_sequences), 32)
        return found.tokens, found.operations

    base = cost()
    assert cost(128) == (2 * base[0], base[1])
    for larger in ({"n_places": 8}, {"n_heads": 4}):
        assert all(more > less for more, less in zip(cost(**larger), base, strict=True))


@pytest.mark.parametrize(("n", "batch"), [(16, (16, 4)), (64, (32, 4))])
def test_a_batch_is_at_most_what_is_read(n: int, batch: tuple[int, int]) -> None:
    assert copy_cost(random_copy(), CopySettings(n), 32).batch == batch
