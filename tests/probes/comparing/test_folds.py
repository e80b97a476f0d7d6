"""Cross-fitting: no task judges a setting that it helped to choose."""

from __future__ import annotations

import torch
from mesascope.data import LinearRegression
from mesascope.probes.comparing.folds import halves


def test_each_half_is_judged_by_what_was_fitted_on_the_other() -> None:
    tasks = LinearRegression(3, 2).sample(5, seed=0)
    folds = halves(tasks)
    assert torch.equal(torch.cat([fold.evaluation.inputs for fold in folds]), tasks.inputs)
    for fold, other in zip(folds, reversed(folds), strict=True):
        assert torch.equal(fold.tuning.inputs, other.evaluation.inputs)
        assert not torch.equal(fold.tuning.inputs[:2], fold.evaluation.inputs[:2])


def test_a_single_task_has_no_other_half() -> None:
    tasks = LinearRegression(3, 2).sample(1, seed=0)
    (fold,) = halves(tasks)
    assert fold.tuning is fold.evaluation is tasks
