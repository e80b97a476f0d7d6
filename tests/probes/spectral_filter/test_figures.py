"""Figures: legible at every width, for one layer and many, for seeds and steps; and their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from mesascope.models import from_transformer, gd_transformer, load
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.spectral_filter import learned
from mesascope.probes.spectral_filter.figures import FIGURES
from mesascope.probes.spectral_filter.figures.rules import LEAST
from mesascope.probes.spectral_filter.probe import SpectralFilter

from ..drawn_figures import NARROW, WIDE, drawn_of, each_width
from ..measured import found_in_family

D, N = 4, 12
drawn = partial(drawn_of, FIGURES)


@pytest.fixture(scope="module")
def stacks(filtered: Callable[..., Any]) -> dict[int, Findings]:
    """Gradient descent of one step, of three and of ten, by number of layers."""
    return {n: filtered(from_transformer(gd_transformer(N, 6.0, D, n_layers=n)), n=60).findings for n in (1, 3, 10)}


@pytest.fixture(scope="module")
def over_training() -> Findings:
    """Two seeds at three steps."""
    names = [f"seed{seed}-step{step}" for seed in (0, 1) for step in (0, 500, 5000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learned, "UNTRAINED_MODELS", 2)
        subjects = [load("lsa-2layer-recurrent", revision=name) for name in names]
        return found_in_family(subjects, SpectralFilter(limit=40))


@pytest.mark.parametrize("name", ["filter", "rules", "layers"])
@pytest.mark.parametrize("style", [WIDE, NARROW, page.STYLES["acl"]], ids=["5.5", "3.25", "6.3"])
@pytest.mark.parametrize("layers", [1, 3, 10])
def test_every_figure_is_legible(
    name: str, style: page.Style, layers: int, stacks: dict[int, Findings], faults: Callable[..., list[str]]
) -> None:
    if (name, layers) == ("layers", 1):
        assert page.render(FIGURES[name], stacks[layers], style) is None
        return
    figure, table = drawn(name, stacks[layers], style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


@pytest.mark.parametrize("name", list(FIGURES))
@each_width
def test_families_are_legible(
    name: str, style: page.Style, over_training: Findings, faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, over_training, style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_tables_hold_what_was_measured(stacks: dict[int, Findings]) -> None:
    findings = stacks[3]
    table = drawn("filter", findings)[1]
    output = table[(table["panel"] == "output") & (table["series"] == "model") & (table["kind"] == "estimate")]
    np.testing.assert_array_equal(output["value"], findings.measures["response"].values[-1])
    np.testing.assert_array_equal(output["at"], findings.measures["eigenvalue"].values)
    assert {"gradient descent", "min-norm least squares", "distribution of eigenvalues"} <= set(table["series"])
    rows = drawn("rules", findings)[1]
    best = rows[
        (rows["panel"] == "after layer 2") & (rows["series"] == "gradient descent (2)") & (rows["kind"] == "estimate")
    ]
    assert best["value"].item() == LEAST  # which is less
    steps = drawn("layers", findings)[1]
    steps = steps[(steps["panel"] == "steps") & (steps["kind"] == "estimate")]
    assert steps["value"].tolist() == [1, 2, 3]


def test_many_layers_are_cut_and_said_so(stacks: dict[int, Findings]) -> None:
    for name in ("filter", "rules"):
        figure, table = drawn(name, stacks[10])
        assert set(table["panel"]) == {"output", *(f"after layer {i}" for i in range(1, 8))}
        assert "the output and the first 7 of 10 layers" in figure.get_suptitle()
    assert page.render(FIGURES["trajectory"], stacks[3], WIDE) is None
