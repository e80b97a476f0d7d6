"""What a run is said to take, beside what it takes."""

from __future__ import annotations

from typing import Any

import pytest
from mesascope import analyses, models
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes.few_shot_heads.how import How
from mesascope.probes.few_shot_heads.memory import passes_of
from mesascope.probes.few_shot_heads.names import PURPOSE, PURPOSES
from mesascope.probes.few_shot_heads.probe import FewShotHeads

from .subjects import subject_of


def small(**settings: Any) -> FewShotHeads:
    return FewShotHeads(**{"n_tasks": 8, "k": 2, "n_queries": 2, "random_sets": 3, **settings})


@pytest.mark.parametrize("given", [None, "L0H0"])
def test_passes_are_about_as_many_as_are_counted(given: str | None) -> None:
    subject, probe = induction_circuit(d_vocab=24, n_ctx=24), small(given_heads=given)
    report = analyses.run(subject, probe)
    assert isinstance(report, analyses.Report)
    passes = report.measures["passes"]
    alone, sets = (passes.sel(**{PURPOSE: purpose}).estimate for purpose in PURPOSES[1:])
    how = probe._how
    said = passes_of(probe, subject, how)
    cost = probe.cost(subject, 4)
    assert cost is not None
    assert f"{said + 4 * 8 * 4:,.0f} forward passes" in cost.counted
    of_sets = 4 * 4 * (5 if given else 4) * (1 + 4 + 3)
    assert said - of_sets == alone  # each head by itself: exactly
    assert 0 < sets <= of_sets  # sets that turn out equal, or empty, are sent once or not at all


def test_more_of_anything_takes_more() -> None:
    subject = subject_of("gpt2")
    small_cost, small_memory = small().cost(subject, 4), small().memory(subject)
    assert small_cost is not None
    assert small_memory is not None
    for settings in ({"n_tasks": 64}, {"random_sets": 40}, {"k": 3}, {"n_queries": 1, "n_tasks": 40}):
        cost = small(**settings).cost(subject, 4)
        assert cost is not None
        assert cost.tokens > small_cost.tokens, settings
    assert (small(n_tasks=500).memory(subject) or 0) > small_memory
    assert passes_of(small(), subject, How()) < passes_of(small(), subject, How(random_sets=40))


def test_models_of_other_kinds_have_no_estimate() -> None:
    regressor = models.from_transformer(models.gd_transformer(4, 1.0, 3))
    assert small().memory(regressor) is None
    assert small().cost(regressor, 4) is None
