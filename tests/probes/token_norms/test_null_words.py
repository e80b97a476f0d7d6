"""What the card says beside untrained models: a difference only where p allows it, and where p can be small at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.probes.token_norms.null_words import Nulls

NINETEEN = np.linspace(-0.9, 0.9, 19)
SAME = "Not distinguishable from untrained models on the same tokens: "
UNADJUSTED = "The p values are not adjusted for the number of statistics that are compared."


def test_a_value_in_the_middle_of_untrained_ones_is_not_different(made: Any) -> None:
    """Outside its narrow interval lie all of them: that once was called a difference from all."""
    among = {"anisotropy": np.array([0.294, 0.477, 0.518] + [0.3] * 8 + [0.7] * 8)}
    nulls = Nulls(made.comparison(among, anisotropy=0.491))
    assert nulls.p["anisotropy"] > 0.9
    assert next(nulls.limits()) == f"{SAME}anisotropy (p = {nulls.p['anisotropy']:.2g})."
    far = Nulls(made.comparison(among, anisotropy=1.5))
    assert far.p["anisotropy"] == 0.05
    assert list(far.limits()) == [UNADJUSTED]


@pytest.mark.parametrize(
    ("n", "smallest"),
    [
        (1, "With 1 untrained model p cannot be below 0.5"),
        (18, "With 18 untrained models p cannot be below 0.053"),
    ],
)
def test_too_few_untrained_models_make_no_difference(made: Any, n: int, smallest: str) -> None:
    nulls = Nulls(made.comparison({"norm_growth_later": np.linspace(1.1, 1.2, n)}, norm_growth_later=9.0))
    assert nulls.p == {}
    assert list(nulls.limits()) == [f"{smallest}: nothing is called different from them."]


def test_nineteen_are_enough(made: Any) -> None:
    nulls = Nulls(made.comparison({"norm_growth_later": NINETEEN}, norm_growth_later=9.0))
    assert nulls.p == {"norm_growth_later": 0.05}
    assert list(nulls.limits()) == [UNADJUSTED]


def test_the_growth_of_untrained_models(made: Any) -> None:
    def said(*untrained: float, own: float = 2.0) -> str:
        return Nulls(made.comparison({"norm_growth_later": np.array(untrained)}, norm_growth_later=own)).of_growth()

    assert said(*np.linspace(1.1, 1.2, 19)) == "Untrained models: × 1.10 to 1.20 (p ≤ 1/20)."
    assert said(*np.linspace(1.1, 1.2, 19), own=1.15) == "Untrained models: × 1.10 to 1.20 (p = 1)."
    assert said(1.1, 1.2, 1.15) == "Untrained models: × 1.10 to 1.20."
    assert said(1.1) == "One untrained model: × 1.10."


def test_without_untrained_models_nothing_is_compared(made: Any) -> None:
    for nothing in ({}, made.comparison({}, norm_growth_later=2.0)):
        nulls = Nulls(nothing)
        assert nulls.of_growth() == "No untrained model was measured beside it."
        assert list(nulls.limits()) == []
    only_others = Nulls(made.comparison({"anisotropy": NINETEEN}, anisotropy=0.1))
    assert only_others.of_growth() == "The growth of untrained models is undefined."


def test_what_is_not_distinguishable_is_listed_with_its_p(made: Any) -> None:
    untrained = dict.fromkeys(("norm_growth_later", "spearman_surprisal", "sink_metric", "massive_windows"), NINETEEN)
    untrained["massive_windows"] = np.zeros(19)
    own = {"norm_growth_later": 9.0, "spearman_surprisal": 0.0, "sink_metric": 0.85, "massive_windows": 0.0}
    nulls = Nulls(made.comparison(untrained, **own))
    words = "correlation with surprisal (p = 1), attention sinks (p = 0.2)"
    assert list(nulls.limits()) == [f"{SAME}{words}.", UNADJUSTED]  # no massive activations in any model: no finding
    with_some = Nulls(made.comparison(untrained | {"massive_windows": np.array([*[0.0] * 18, 1.0])}, **own))
    assert "massive activations (p = 1)" in next(with_some.limits())
