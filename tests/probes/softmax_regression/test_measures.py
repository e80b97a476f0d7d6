"""Measures on tasks: which nulls they have, when a premise holds, and what stands beside them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mesascope.data.batch import generator
from mesascope.models import SoftmaxRegressor, from_softmax_layer, softmax_gradient_layer
from mesascope.probes import Findings
from mesascope.probes.measure import Measures
from mesascope.probes.probe import silent
from mesascope.probes.softmax_regression.formulas import cosine
from mesascope.probes.softmax_regression.measuring import task_findings
from mesascope.probes.softmax_regression.setup import Setup
from mesascope.probes.softmax_regression.solvers import first_step
from mesascope.probes.softmax_regression.task_shifts import DataShift, WeightShift

from .conftest import LAW

SetupOf = Callable[..., Setup]


def measured(setup: Setup) -> tuple[Measures, Findings]:
    findings = task_findings(setup, silent)
    return Measures(findings.measures), findings


def test_the_premise_holds_for_small_steps_only(setup_of: SetupOf) -> None:
    """A step of 1e-4 moves no entry of A x by 0.01, one of 10 does."""
    shares = {}
    for rate in (1e-4, 10.0):
        layer = softmax_gradient_layer(LAW.n_tokens, rate, LAW.d_in, 1e-3)
        found, _ = measured(setup_of(from_softmax_layer(layer), learning_rate=rate))
        shares[rate] = [found[name].estimate for name in ("premise_x", "premise_A")]
        moves = [found[name].estimate for name in ("largest_move_x", "largest_move_A")]
        assert (max(moves) < 0.01) == (rate < 1)
    assert shares == {1e-4: [1, 1], 10.0: [0, 0]}


def test_every_shift_has_its_own_nulls(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    setup = setup_of(step_layer)
    found, _ = measured(setup)
    assert set(found["shift_x"].nulls) == set(found["shift_ratio_x"].nulls) == {"random directions"}
    assert set(found["shift_A"].nulls) == set(found["shift_cosine"].nulls) == {"random directions", "untrained"}
    assert [len(null) for null in found["shift_cosine"].nulls.values()] == [20, 50]
    assert abs(found["shift_cosine"].nulls["random directions"].mean()) < 0.15 < found["shift_cosine"].estimate
    # the gradient step is kept: with both turned it would be the cosine of two random shifts
    A, rng = setup.splits.evaluation, generator(0, "random directions", 0, 0)
    step = WeightShift(A.inputs, first_step(A.inputs, A.targets, found["learning_rate_gd"].estimate))
    written = DataShift.of(A.inputs, step_layer.predict(A.inputs, A.targets).log())
    step.in_random_direction(rng)  # drawn first
    first = cosine(step.shift, written.in_random_direction(rng).shift).mean()
    assert found["shift_cosine"].nulls["random directions"][0] == pytest.approx(float(first), abs=1e-9)
    assert found["shift_A"].nulls["untrained"].max() < 0.1 < found["shift_A"].estimate


def test_the_bound_reached_is_the_largest_of_the_tasks(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    found, findings = measured(setup_of(step_layer))
    for moved in "xA":
        shares = findings.arrays[f"shift_ratio_{moved}"] / findings.arrays[f"bound_{moved}"]
        assert found[f"bound_reached_{moved}"].estimate == pytest.approx(shares.max())
        assert shares.max() <= 1


def test_candidates_have_the_cosine_that_a_model_would_have(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    setup = setup_of(step_layer)
    found, _ = measured(setup)
    assert found["candidate_shift_cosine_gd"].estimate == pytest.approx(1)
    assert not found["candidate_shift_cosine_zero"].has_number
    b = setup.splits.evaluation.targets.numpy()
    exact, step = 1 / 8 - b, 1 / 8 - setup.evaluation(setup.fitted()).candidates["gd"].prediction.numpy()
    cosines = np.sum(exact * step, axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(step, axis=1)
    assert found["candidate_shift_cosine_exact"].estimate == pytest.approx(cosines.mean(), rel=1e-6)


def test_the_loss_over_that_of_the_step_is_a_ratio_of_means(fresh_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    found, findings = measured(setup_of(fresh_layer))
    losses = [findings.arrays[name].mean() for name in ("loss_model", "loss_gd")]
    ratio = found["loss_over_gd"]
    assert ratio.estimate == pytest.approx(losses[0] / losses[1])
    assert float(ratio.interval[0]) < ratio.estimate < float(ratio.interval[1])
    assert ratio.nulls["untrained"].mean() == pytest.approx(ratio.estimate, rel=0.3)


def test_the_exact_solution_has_settled_on_tasks_that_have_one(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    found, _ = measured(setup_of(step_layer))
    assert found["exact_settled"].estimate == 1
    assert found["loss_exact"].estimate < 1e-20
    assert found["output_scale"].estimate == 1.0
