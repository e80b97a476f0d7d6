"""What a dry run says of heads: numbers that grow with what is asked for."""

from __future__ import annotations

from mesascope.models import load
from mesascope.probes.attention_learning.head_settings import HeadHow
from mesascope.probes.attention_learning.memory import head_cost, head_memory

MODEL = load("tiny-grammar")


def test_more_sequences_queries_and_saliency_cost_more() -> None:
    least = HeadHow(n_sequences=4, queries=40, saliency=0)
    more = {"n_sequences": 8, "queries": 4000, "saliency": 4, "context": None}
    base = head_cost(MODEL, least, 4)
    assert base.batch == (4, 128)
    assert base.tokens == 2 * 4 * 128
    assert base.read_outs == 40
    for name in ("n_sequences", "queries", "saliency"):
        grown = head_cost(MODEL, HeadHow(**{**vars(least), name: more[name]}), 4)
        assert (grown.tokens, grown.read_outs) >= (base.tokens, base.read_outs)
        assert grown.tokens + grown.read_outs + grown.operations > base.tokens + base.read_outs + base.operations


def test_larger_batches_and_saliency_take_more_memory() -> None:
    how = HeadHow(n_sequences=16)
    small, large = (head_memory(MODEL, how, batch) for batch in (2, 16))
    without = [head_memory(MODEL, HeadHow(n_sequences=16, saliency=0), batch) for batch in (2, 16)]
    assert 100_000_000 < without[0] < without[1] < large < 1_000_000_000
    assert without[0] < small < large
