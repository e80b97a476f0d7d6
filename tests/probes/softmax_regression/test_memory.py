"""What a dry run says of memory and work: numbers that grow with what is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mesascope.analyses.runs.estimating import stated_speed, timed_speed
from mesascope.models import load
from mesascope.probes import SoftmaxRegressionProbe
from mesascope.probes.probe import Cost


def cost_of(probe: SoftmaxRegressionProbe, model: str = "softmax-attention-1layer") -> Cost:
    cost = probe.cost(load(model), 64)
    assert cost is not None
    return cost


def test_more_tasks_cost_more() -> None:
    few, many = (SoftmaxRegressionProbe(limit=n) for n in (50, 500))
    layer = load("softmax-attention-1layer")
    assert cost_of(many).tokens == 10 * cost_of(few).tokens == 60 * 500 * 25
    assert cost_of(many).operations > cost_of(few).operations
    small, large = few.memory(layer), many.memory(layer)
    assert small is not None
    assert large is not None
    assert large > small
    assert cost_of(few).batch == (50, 25)


def test_more_queries_and_untrained_models_cost_more() -> None:
    least = cost_of(SoftmaxRegressionProbe(n_sequences=4, queries=2, untrained=0), "induction-1layer")
    most = cost_of(SoftmaxRegressionProbe(n_sequences=8, queries=4, untrained=2), "induction-1layer")
    assert most.tokens == 2 * 3 * least.tokens
    assert (least.draws, most.draws > 0) == (0, True)
    assert most.operations > least.operations
    memory = SoftmaxRegressionProbe().memory(load("induction-1layer"))
    assert memory is not None
    assert memory > 60_000_000


def test_a_users_tasks_are_counted(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", A=np.zeros((7, 5, 20)), b=np.full((7, 5), 0.2))
    assert cost_of(SoftmaxRegressionProbe(tasks=str(tmp_path / "own.npz"))).batch == (7, 5)


def test_the_probe_says_nothing_of_what_it_cannot_measure() -> None:
    linear = load("lsa-1layer")
    assert SoftmaxRegressionProbe().cost(linear, 8) is None
    assert SoftmaxRegressionProbe().memory(linear) is None


@pytest.mark.parametrize("model", ["softmax-attention-1layer", "induction-1layer"])
def test_both_ways_to_know_the_speed(model: str) -> None:
    subject, cost = load(model), cost_of(SoftmaxRegressionProbe(limit=20, n_sequences=2), model)
    for speed in (stated_speed(subject, cost), timed_speed(subject, cost)):
        assert 0 < speed.seconds(cost) < 600
