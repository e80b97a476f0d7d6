"""Plateaus: planted staircases are found on any grid, a curve without a rest has none, and doubt is told."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.statistics.plateaus import BOUND, SHORTEST, cannot_tell, dwell, plateaus, resolution
from scipy.special import expit

STEPS = tuple(sorted({0, *(round(10 ** (k / 40)) for k in range(161))}))  # 40 a decade, up to 10,000
LEVELS = (1.0, 0.6, 0.3, 0.1)
DROPS = (100.0, 500.0, 2000.0)
"""Steps at which a planted curve falls from one level to the next."""


def staircase(steps: tuple[int, ...], width: float = 0.01) -> np.ndarray:
    """A curve that falls within `width` decades at each drop."""
    at = np.log10(np.maximum(steps, 1))
    falls = np.diff(LEVELS)
    return LEVELS[0] + sum(
        fall * expit((at - np.log10(drop)) / (width / 4)) for fall, drop in zip(falls, DROPS, strict=True)
    )


def even(steps: tuple[int, ...]) -> np.ndarray:
    """A curve that falls alike in each decade."""
    return 1 - 0.2 * np.log10(np.maximum(steps, 1))


def test_planted_plateaus_are_found_where_they_are() -> None:
    found = plateaus(STEPS, staircase(STEPS))
    assert cannot_tell(STEPS, staircase(STEPS)) is None
    assert [plateau.loss for plateau in found] == pytest.approx(LEVELS, abs=1e-6)
    for plateau, start, end in zip(found, (None, *DROPS), (*DROPS, None), strict=True):
        assert (plateau.before, plateau.after) == (
            None if start is None else max(step for step in STEPS if step < plateau.first),
            None if end is None else min(step for step in STEPS if step > plateau.last),
        )
        assert start is None or (plateau.before or 0) <= 1.06 * start < 1.13 * plateau.first
        assert end is None or plateau.last < 1.06 * end <= 1.13 * (plateau.after or 0)
        assert plateau.decades == pytest.approx(np.log10(plateau.last / plateau.first))


def test_the_scale_and_the_offset_of_a_loss_do_not_matter() -> None:
    plain, scaled = plateaus(STEPS, staircase(STEPS)), plateaus(STEPS, 7 + 1e-3 * staircase(STEPS))
    assert [(one.first, one.last) for one in plain] == [(one.first, one.last) for one in scaled]


def test_the_unit_of_steps_does_not_matter() -> None:
    later = tuple(10 * step for step in STEPS)
    found = plateaus(later, staircase(STEPS))
    assert [(one.first, one.last) for one in found] == [
        (10 * one.first, 10 * one.last) for one in plateaus(STEPS, staircase(STEPS))
    ]


def test_a_curve_without_a_rest_has_none() -> None:
    assert plateaus(STEPS, even(STEPS)) == []
    assert cannot_tell(STEPS, even(STEPS)) is None


@pytest.mark.parametrize(("slope", "expected"), [(0.8 * BOUND, 1), (1.2 * BOUND, 0)])
def test_the_bound_is_a_share_of_the_whole_fall_in_a_decade(slope: float, expected: int) -> None:
    """Between two steep falls by one half each the curve goes down a slope for half a decade."""
    at = np.log10(np.maximum(STEPS, 1))
    gentle = 2 * slope / (1 - slope / 2)  # of a curve that falls by 2 beside it
    curve = -2 * np.clip(at - 1, 0, 0.5) - gentle * np.clip(at - 1.5, 0, 0.5) - 2 * np.clip(at - 2, 0, 0.5)
    between = [one for one in plateaus(STEPS, curve) if one.before is not None and one.after is not None]
    assert len(between) == expected


def test_a_plateau_is_as_long_as_stated_or_longer() -> None:
    """A rest between two drops that is a little shorter than the shortest plateau, and one that is a little longer."""
    for length, expected in ((0.8 * SHORTEST, 2), (1.2 * SHORTEST, 3)):
        steps = tuple(sorted({round(10 ** (k / 400)) for k in range(400, 1601)}))
        at = np.log10(steps)
        curve = 1 - 0.5 * (at > 2.5) - 0.5 * (at > 2.5 + length)
        assert len(plateaus(steps, curve)) == expected


def test_the_loss_of_a_plateau_is_that_of_its_flattest_steps() -> None:
    """A curve that comes to rest slowly is above its level for a part of the plateau."""
    at = np.log10(np.maximum(STEPS, 1))
    curve = 0.1 + 0.9 * np.exp(-np.maximum(at - 1, 0) / 0.4)
    last = plateaus(STEPS, curve)[-1]
    whole = curve[[number for number, step in enumerate(STEPS) if last.first <= step <= last.last]]
    assert last.loss == pytest.approx(curve[-1], abs=1e-3)
    assert whole.mean() > curve[-1] + 3e-3


def test_a_rise_and_a_fall_inside_a_window_are_no_rest() -> None:
    curve = staircase(STEPS)
    bump = {step: number for number, step in enumerate(STEPS)}[1000]
    curve[bump] += 0.05
    assert not any(plateau.first <= 1000 <= plateau.last for plateau in plateaus(STEPS, curve))


def test_the_ends_are_true_to_the_grid() -> None:
    coarse = tuple(sorted({round(10 ** (k / 8)) for k in range(33)}))
    found = plateaus(coarse, staircase(coarse))
    assert [plateau.loss for plateau in found] == pytest.approx(LEVELS, abs=1e-6)
    for plateau, drop in zip(found, DROPS, strict=False):
        assert plateau.last <= drop <= (plateau.after or 0)


def test_resolution_is_that_of_the_grid_where_the_curve_falls() -> None:
    coarse = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096)
    falling = np.array([1, 1, 1, 0.9, 0.5, 0.3, 0.2, 0.1, 0, 0, 0])
    assert resolution(coarse, falling) == pytest.approx(2 * np.log10(2))
    assert resolution(STEPS, staircase(STEPS)) < 0.12
    last = falling.copy()
    last[-2] = 0.2
    last[-3] = 0.25
    assert resolution(coarse, last) == pytest.approx(2 * np.log10(4))


@pytest.mark.parametrize("seed", range(5))
def test_small_noise_changes_no_plateau_and_large_noise_is_told(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=len(STEPS))
    small = staircase(STEPS) + 1e-4 * noise
    assert cannot_tell(STEPS, small) is None
    assert [one.loss for one in plateaus(STEPS, small)] == pytest.approx(LEVELS, abs=1e-3)
    for large in (3e-3, 3e-2):
        assert cannot_tell(STEPS, staircase(STEPS) + large * noise) == (
            "losses of neighbouring steps differ too irregularly for plateaus to be told"
        )


@pytest.mark.parametrize(
    ("steps", "losses", "words"),
    [
        ((0, 1, 2, 4), [1, 1, 1, 0], "3 steps after step 0, and plateaus take at least 8 to tell"),
        ((0, 5), [1, 0], "1 step after step 0"),
        (range(8), [1, 1, 1, 1, 0, 0, 0, 0], "7 steps after step 0"),
        (range(9), [1, 1, 1, 1, np.nan, 0, 0, 0, 0], "a loss is not finite"),
        (range(9), [0, 1, 1, 1, 1, 1, 1, 1, 2], "the loss does not fall"),
        (range(9), [1.0] * 9, "the loss does not fall"),
    ],
)
def test_what_cannot_be_told_is_said(steps, losses, words: str) -> None:
    assert words in (cannot_tell(tuple(steps), np.array(losses, dtype=float)) or "")


def test_eight_steps_are_enough() -> None:
    assert cannot_tell(range(9), np.array([1.0] * 5 + [0.0] * 4)) is None


def test_step_0_does_not_count() -> None:
    curve = staircase(STEPS)
    curve[0] = 50.0
    assert plateaus(STEPS, curve) == plateaus(STEPS[1:], curve[1:])
    assert dwell(STEPS, curve, 1.0, 0.01) == dwell(STEPS[1:], curve[1:], 1.0, 0.01)


def test_dwell_is_the_time_near_a_level() -> None:
    steps, curve = (1, 10, 100, 1000), np.array([1.0, 1.0, 0.0, 0.0])
    assert dwell(steps, curve, 1.0, 0.1) == pytest.approx(1.1)  # a decade on it, a tenth of one leaving it
    assert dwell(steps, curve, 0.5, 0.1) == pytest.approx(0.2)
    assert dwell(steps, curve, 0.0, 0.1) == pytest.approx(1.1)
    assert dwell(steps, curve, -1.0, 0.1) == 0.0
    fine = np.linspace(0, 3, 200_001)
    inside = np.abs(np.interp(fine, [0, 1, 2, 3], curve) - 0.93) <= 0.05
    assert dwell(steps, curve, 0.93, 0.05) == pytest.approx(3 * inside.mean(), abs=1e-3)
