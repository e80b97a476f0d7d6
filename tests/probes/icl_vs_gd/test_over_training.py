"""When in-context learning appears along a training, as far as the measured steps can tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.probes.icl_vs_gd.over_training import over_training

from .made_up_numbers import NONE, made, over_seeds

LABELS_DO_NOT_MATTER = {"in context": 0.9, "in context, shuffled labels": 0.9}
YES, NO, EITHER = made(), made(accuracy=NONE), made(accuracy=LABELS_DO_NOT_MATTER)
HARDLY = made(accuracy={"in context": 0.52, "in context, shuffled labels": 0.5})
BEGINS = "In-context learning of the rule begins between steps"


@pytest.mark.parametrize(
    ("steps", "bounds", "sentence"),
    [
        ([NO, NO, YES, YES], (10, 20), f"{BEGINS} 10 and 20."),
        ([NO, YES], (0, 10), f"{BEGINS} 0 and 10, seen at the last step only."),
        ([NO, EITHER, YES, YES], (10, 20), f"{BEGINS} 10 and 20."),  # labels do not matter yet
        ([NO, HARDLY, YES, YES], (10, 20), f"{BEGINS} 10 and 20."),  # so much there is by chance
        ([NO, YES, NO, YES, YES], (20, 30), f"{BEGINS} 20 and 30."),  # it was lost again
        ([YES, YES], (np.nan, 0), "The first checkpoint learns in context already."),
        ([NO, EITHER], (10, np.nan), "In-context learning of the rule has not begun by step 10."),
    ],
)
def test_the_bracket_of_steps(steps: list[Any], bounds: tuple[float, float], sentence: str) -> None:
    found = over_training({10 * n: measures for n, measures in enumerate(steps)})
    assert found.sentence == sentence
    assert float(HARDLY["accuracy_gain"].interval[0]) > 0
    measure = found.measures["in_context_onset"]
    np.testing.assert_array_equal(measure.values, bounds)
    assert measure.labels("bound") == ("not at", "from")
    assert ("cannot be told" in measure.message) == bool(np.isnan(bounds[0]))
    assert ("has not begun by the last step" in measure.message) == bool(np.isnan(bounds[1]))


def test_steps_may_come_in_any_order_and_without_intervals() -> None:
    assert over_training({20: YES, 0: NO, 10: made(n=1)}).sentence == f"{BEGINS} 0 and 20, seen at the last step only."
    nothing = over_training({0: made(n=1), 10: made(n=1)})
    assert (nothing.sentence, dict(nothing.measures)) == ("", {})


def test_of_seeds_their_mean_counts() -> None:
    no = over_seeds(*(made(seed=seed, accuracy=NONE) for seed in range(3)))
    yes = over_seeds(*(made(seed=seed) for seed in range(3)))
    mixed = over_seeds(NO, made(seed=1), made(seed=2))
    assert over_training({0: no, 1: mixed, 2: yes, 3: yes}).sentence == f"{BEGINS} 1 and 2."
