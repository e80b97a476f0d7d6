"""Shifted tasks: one draw for all strengths, and each shift moves what it says and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.regression.nulls import reordered
from mesascope.probes.shift_battery.names import (
    COVARIANCE,
    LENGTH,
    NOISE,
    PRIOR_MEAN,
    QUERY,
    SCALE,
    SHIFTS,
    SPECTRUM,
    Shift,
)
from mesascope.probes.shift_battery.tasks import UNCHANGED, Change, FromFile, FromLaw, Tasks

D, N, MANY = 3, 6, 4_000
LAW = LinearRegression(n_context=N, d_in=D, d_out=2, input_range=1.5, weight_scale=2.0)
DRAWN = FromLaw.draw(LAW, 50, 0)


def parts(tasks: Tasks) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return tasks.contexts.X, tasks.contexts.Y, tasks.contexts.query, tasks.targets


@pytest.mark.parametrize("shift", SHIFTS, ids=lambda shift: shift.name)
def test_the_strength_of_training_changes_nothing(shift: Shift) -> None:
    assert DRAWN.training(shift) in DRAWN.strengths(shift)
    assert list(DRAWN.strengths(shift)) == sorted(DRAWN.strengths(shift))
    assert DRAWN.changed(shift, DRAWN.training(shift)) is UNCHANGED
    x, y, query, targets = parts(DRAWN.tasks())
    assert x.shape == (50, N, D)
    torch.testing.assert_close(y, x @ DRAWN.w)
    torch.testing.assert_close(targets, torch.einsum("ti,tik->tk", query, DRAWN.w))
    assert (DRAWN.tasks().contexts.inputs[:, -1, D:] == 0).all()
    assert x.abs().max() <= 0.75


def test_inputs_and_labels_grow_with_the_scale() -> None:
    for tasks, factor in ((DRAWN.tasks(Change(input_scale=3.0)), 3.0),):
        for changed, plain in zip(parts(tasks), parts(DRAWN.tasks()), strict=True):
            torch.testing.assert_close(changed, factor * plain)


def test_a_longer_context_begins_with_the_shorter_one() -> None:
    assert DRAWN.strengths(LENGTH) == (2.0, 3.0, 6.0, 12.0, 24.0)
    assert FromLaw.draw(replace(LAW, n_context=1), 2, 0).strengths(LENGTH) == (1.0, 2.0, 4.0)
    short, long = DRAWN.tasks(Change(n_context=2.0)), DRAWN.tasks(Change(n_context=24.0))
    torch.testing.assert_close(long.contexts.X[:, :2], short.contexts.X)
    torch.testing.assert_close(long.contexts.Y[:, :6], DRAWN.tasks().contexts.Y)
    torch.testing.assert_close(long.targets, short.targets)


def test_noise_is_for_context_labels_alone_and_in_their_unit() -> None:
    drawn = FromLaw.draw(LAW, MANY, 1)
    plain, noisy = drawn.tasks(), drawn.tasks(Change(label_noise=0.5))
    added = noisy.contexts.Y - plain.contexts.Y
    assert float(added.std() / plain.contexts.Y.std()) == pytest.approx(0.5, rel=0.02)
    torch.testing.assert_close(noisy.targets, plain.targets)
    torch.testing.assert_close(noisy.contexts.X, plain.contexts.X)


def test_the_noise_of_a_law_stays_and_is_shifted_by_factors() -> None:
    drawn = FromLaw.draw(replace(LAW, noise=0.3), 50, 0)
    y = drawn.tasks().contexts.Y - drawn.tasks().contexts.X @ drawn.w
    assert float(y.std()) == pytest.approx(0.3, rel=0.1)
    unit = 1.5 * 2.0 * (D / 12) ** 0.5
    np.testing.assert_allclose(drawn.strengths(NOISE), [0, 0.15 / unit, 0.3 / unit, 0.6 / unit, 1.2 / unit])
    assert drawn.training(NOISE) == drawn.strengths(NOISE)[2]
    assert FromLaw.draw(replace(LAW, noise=0.3, n_corrupted=2), 5, 0).law.n_corrupted == 0


def test_a_covariance_has_its_condition_number_and_the_trace_of_training() -> None:
    drawn = FromLaw.draw(LAW, MANY, 2)
    ratio = (drawn.tasks(Change(condition_number=16.0)).contexts.X / drawn.tasks().contexts.X).square()[:, 0]
    torch.testing.assert_close(
        ratio.sort(dim=1).values[:, -1] / ratio.sort(dim=1).values[:, 0], torch.full((MANY,), 16.0).double()
    )
    torch.testing.assert_close(ratio.sum(dim=1), torch.full((MANY,), float(D)).double())
    assert {tuple(order.tolist()) for order in ratio[:200].argsort(dim=1)} == {
        (a, b, 3 - a - b) for a in range(3) for b in range(3) if a != b
    }
    query = drawn.tasks(Change(condition_number=16.0)).contexts.query / drawn.tasks().contexts.query
    torch.testing.assert_close(query.square(), ratio)


def test_random_eigenvalues_have_the_moments_of_an_exponential_law() -> None:
    drawn = FromLaw.draw(LAW, MANY, 3)
    ratio = (drawn.tasks(Change(eigenvalue_spread=1.0)).contexts.X / drawn.tasks().contexts.X).square()[:, 0]
    error = 4 * ratio.std() / (MANY * D) ** 0.5
    assert abs(float(ratio.mean()) - 1) < error
    assert float(ratio.square().mean()) == pytest.approx(2, rel=0.1)
    half = (drawn.tasks(Change(eigenvalue_spread=0.5)).contexts.X / drawn.tasks().contexts.X).square()[:, 0]
    torch.testing.assert_close(half, (1 + ratio) / 2)


def test_the_query_alone_is_scaled() -> None:
    changed, plain = DRAWN.tasks(Change(query_scale=2.0)), DRAWN.tasks()
    torch.testing.assert_close(changed.contexts.inputs[:, :-1], plain.contexts.inputs[:, :-1])
    torch.testing.assert_close(changed.contexts.query, 2 * plain.contexts.query)
    torch.testing.assert_close(changed.targets, 2 * plain.targets)


def test_the_mean_of_teachers_is_one_vector_of_its_length() -> None:
    changed, plain = DRAWN.tasks(Change(teacher_mean=3.0)), DRAWN.tasks()
    moved = torch.linalg.lstsq(plain.contexts.X, changed.contexts.Y - plain.contexts.Y).solution
    torch.testing.assert_close(moved, moved[:1].expand_as(moved))
    torch.testing.assert_close(moved[0].norm(dim=0), torch.full((2,), 6.0).double())  # 3 times the sd of an entry, 2


def test_a_seed_gives_the_same_tasks_and_says_so() -> None:
    again, other = FromLaw.draw(LAW, 50, 0), FromLaw.draw(LAW, 50, 1)
    assert again.recipe == DRAWN.recipe
    assert other.recipe.sha256 != DRAWN.recipe.sha256
    assert again.recipe.settings["strengths"]["input_scale"] == (0.25, 0.5, 1.0, 2.0, 4.0)
    assert again.recipe.settings["training"]["n_context"] == N
    first = DRAWN.first(7)
    for changed, plain in zip(
        parts(first.tasks(Change(eigenvalue_spread=1.0))),
        parts(DRAWN.tasks(Change(eigenvalue_spread=1.0))),
        strict=True,
    ):
        torch.testing.assert_close(changed, plain[:7])


@pytest.mark.parametrize("shift", [COVARIANCE, SPECTRUM, PRIOR_MEAN], ids=lambda shift: shift.name)
def test_a_file_has_no_law_to_shift(shift: Shift) -> None:
    assert FromFile.of(LAW.sample(9, 0), D, 0, 0).strengths(shift) == ()


def test_the_tasks_of_a_file_are_shifted_as_they_stand() -> None:
    batch = LAW.sample(2_000, 0)
    drawn = FromFile.of(batch, D, 0, 0)
    torch.testing.assert_close(drawn.tasks().contexts.inputs, batch.inputs)
    assert drawn.strengths(LENGTH) == (2.0, 3.0, 6.0)
    assert drawn.recipe is batch.recipe
    for shift in (SCALE, LENGTH, NOISE, QUERY):
        assert drawn.changed(shift, drawn.training(shift)) is UNCHANGED
    scaled = drawn.tasks(Change(input_scale=2.0))
    torch.testing.assert_close(scaled.contexts.inputs, 2 * batch.inputs)
    torch.testing.assert_close(scaled.targets, 2 * batch.targets)
    asked = drawn.tasks(Change(query_scale=4.0))
    torch.testing.assert_close(asked.contexts.inputs[:, :-1], batch.inputs[:, :-1])
    torch.testing.assert_close(asked.targets, 4 * batch.targets)
    noise = drawn.tasks(Change(label_noise=2.0)).contexts.Y - batch.inputs[:, :-1, D:]
    assert float(noise.std()) == pytest.approx(2 * float(batch.inputs[:, :-1, D:].square().mean().sqrt()), rel=0.05)
    short = drawn.tasks(Change(n_context=2.0)).contexts
    torch.testing.assert_close(short.X, batch.inputs[:, :2, :D])
    assert len(drawn.first(5).tasks(Change(label_noise=1.0)).targets) == 5


def test_pairs_in_another_order_are_the_same_pairs() -> None:
    tasks = DRAWN.tasks()
    mixed = reordered(tasks.contexts.inputs, torch.Generator().manual_seed(0))
    torch.testing.assert_close(mixed[:, -1], tasks.contexts.inputs[:, -1])
    torch.testing.assert_close(mixed.sum(dim=1), tasks.contexts.inputs.sum(dim=1))
    torch.testing.assert_close(mixed.mT @ mixed, tasks.contexts.inputs.mT @ tasks.contexts.inputs)
    assert (mixed[:, 0] != tasks.contexts.inputs[:, 0]).any()
