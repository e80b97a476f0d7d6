"""Every candidate has one title and label, found by its name, in the order of figures."""

from __future__ import annotations

import pytest
from mesascope.probes.algorithms.named import algorithms
from mesascope.probes.gd_alignment.names import GD, GDPP, candidates, descents, same_steps


@pytest.mark.parametrize("layers", [1, 2, 12])
def test_every_name_of_a_report_has_a_candidate(layers: int) -> None:
    names = [GD.name, GDPP.name, *(algorithm.name for algorithm in algorithms(range(1, 2 * layers + 1)))]
    found = candidates(names)
    assert set(found) == set(names)
    assert all(candidate.name == name for name, candidate in found.items())
    for field in ("title", "label"):
        assert len({getattr(candidate, field) for candidate in found.values()}) == len(names)
    assert same_steps(layers) == {"gd", f"gd_{layers}"}
    assert descents(names) == list(range(1, 2 * layers + 1))


def test_figures_list_constructed_models_then_steps_then_the_others() -> None:
    held = ("zero", "gd_2", "model", "ridge", "gd_1", "gd", "min_norm", "mean_label")
    assert list(candidates(held)) == ["gd", "gd_1", "gd_2", "ridge", "min_norm", "mean_label", "zero"]


def test_what_is_no_candidate_is_left_out() -> None:
    assert candidates(("model", "gd_x", "gd_0")) == {}
    assert list(candidates(("gd_40", "gd_7"))) == ["gd_7", "gd_40"]  # steps between them need not be there
