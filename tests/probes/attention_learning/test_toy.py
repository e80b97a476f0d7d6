"""The toy in which attention waits for the words' scores: integrated, in closed form, and by small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.attention_learning.toy import closed_form, integrate, time_to

STARTS = [(0.5, 0.0), (0.3, 0.4), (0.01, 0.0), (0.9, 2.0)]
TIMES = np.linspace(0, 3, 61)


@pytest.mark.parametrize("start", STARTS)
def test_the_closed_form_is_what_an_integrator_finds(start: tuple[float, float]) -> None:
    """Before and after p is 1."""
    found, expected = integrate(TIMES, *start), closed_form(TIMES, *start)
    assert (expected.p[0], expected.D[0]) == start
    assert (expected.p < 1).any()
    np.testing.assert_allclose(found.p, expected.p, rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.D, expected.D, rtol=0, atol=1e-10)


def test_small_steps_of_gradient_ascent_agree() -> None:
    """Of the margins p (b1 - b0), by a loop: no integrator, and p is clamped."""
    b0, b1, p, dt = 0.0, 0.0, 0.5, 1e-4
    for _ in range(20_000):
        b0, b1, p = b0 - dt * p, b1 + dt * p, min(1.0, p + dt * (b1 - b0))
    found = closed_form(np.array([2.0]))
    assert (p, b1 - b0) == (pytest.approx(found.p[0]), pytest.approx(found.D[0], abs=1e-3))


def test_attention_is_all_on_the_word_at_arcosh_2() -> None:
    end = math.acosh(2) / math.sqrt(2)
    assert time_to(1.0) == pytest.approx(end, rel=1e-14)
    assert end == pytest.approx(0.931, abs=5e-4)
    before, after = integrate(np.array([end - 1e-6, end + 1e-6])).p
    assert before < 1
    assert after == pytest.approx(1, abs=1e-12)
    assert closed_form(np.array([end, 5.0])).p.tolist() == pytest.approx([1, 1])


def test_once_it_is_the_scores_part_at_an_even_pace() -> None:
    late = closed_form(np.array([2.0, 3.0, 5.0]))
    np.testing.assert_allclose(np.diff(late.D), [2, 4])
    np.testing.assert_allclose(integrate(np.array([2.0, 3.0, 5.0])).D, late.D, atol=1e-10)


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_when_p_is_reached(start: tuple[float, float], share: float) -> None:
    p = start[0] + share * (1 - start[0])
    assert closed_form(np.array([time_to(p, *start)]), *start).p[0] == pytest.approx(p, abs=1e-12)


def test_attention_waits_for_the_words_scores() -> None:
    """Scores part by t, attention moves by t²/2: in both ways of finding it."""
    early = np.array([0.05, 0.1])
    for path in (closed_form(early), integrate(early)):
        np.testing.assert_allclose(path.D / early, 1, atol=4e-3)
        np.testing.assert_allclose((path.p - 0.5) / (early**2 / 2), 1, atol=4e-3)
    # scores that have parted already: attention moves at once
    np.testing.assert_allclose((closed_form(early, D0=1.0).p - 0.5) / early, 1, atol=0.1)
