"""What a run is said to take grows with tasks and layers, and is not said of other models."""

from __future__ import annotations

from mesascope.models import from_transformer, gd_transformer
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes.spectral_filter.probe import SpectralFilter


def test_memory_and_cost_grow_with_tasks_and_layers() -> None:
    one, many = (from_transformer(gd_transformer(8, 1.0, 3, n_layers=n)) for n in (1, 8))
    few, more = SpectralFilter(limit=100), SpectralFilter(limit=10_000)
    assert 0 < few.memory(one) < more.memory(one) < more.memory(many)
    costs = [probe.cost(subject, 2048) for probe, subject in ((few, one), (more, one), (more, many))]
    assert costs[0].tokens < costs[1].tokens
    assert costs[1].operations < costs[2].operations
    assert costs[0].batch == (100, 4)
    other = induction_circuit(d_vocab=24, n_ctx=24)
    assert few.memory(other) is few.cost(other, 1) is None
