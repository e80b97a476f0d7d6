"""One tuned step of gradient descent: closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.data.batch import Batch
from mesascope.models import gd_transformer
from mesascope.probes.comparing.folds import Fold, halves
from mesascope.probes.label_copying.gradient_step import TunedStep, pooled, step_answers, unit_step


def tasks(n: int, seed: int = 0, d_out: int = 1) -> Batch:
    return LinearRegression(n_context=10, d_in=10, d_out=d_out).sample(n, seed)


def test_it_is_the_written_step() -> None:
    batch = tasks(20, d_out=2)
    written = gd_transformer(10, 1.0, 10, 2)(batch.inputs.double())
    torch.testing.assert_close(unit_step(batch, 10), written, rtol=1e-12, atol=1e-14)


def test_the_rate_is_the_best_one_and_near_that_of_all_tasks() -> None:
    """The best rate over all tasks of this law is 6.0606: d s / E tr S², with the inputs' variance s."""
    batch = tasks(20_000)
    step = TunedStep.on(batch, 10)
    assert step.rate == pytest.approx(6.0606, rel=0.02)
    answers, labels = unit_step(batch, 10), batch.targets.double()
    losses = [(rate * answers - labels).square().mean().item() for rate in step.rate * np.array([0.99, 1.0, 1.01])]
    assert losses[1] == min(losses)


def test_each_task_is_judged_at_the_rate_of_others() -> None:
    batch = tasks(10)
    folds = halves(batch)
    steps = [TunedStep.on(fold.tuning, 10) for fold in folds]
    found = step_answers(folds, steps, 10)
    assert steps[0].rate != steps[1].rate
    torch.testing.assert_close(found[:5], steps[0].rate * unit_step(batch[:5], 10))
    torch.testing.assert_close(found[5:], steps[1].rate * unit_step(batch[5:], 10))
    assert pooled(steps).rate == pytest.approx(TunedStep.on(batch, 10).rate)


def test_pairs_that_say_nothing_have_no_rate() -> None:
    batch = tasks(3)
    blank = Batch(torch.zeros_like(batch.inputs), batch.targets, batch.recipe)
    assert TunedStep.on(blank, 10).rate == 0
    assert step_answers((Fold(blank, batch),), [TunedStep.on(blank, 10)], 10).abs().max() == 0
