"""Figures: legible at every width, for one head and many, for seeds and steps; and their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionTransformer, from_transformer
from mesascope.probes import Findings
from mesascope.probes.drawing import page
from mesascope.probes.label_copying.figures import FIGURES
from mesascope.probes.label_copying.figures.maps import MOST_HEADS
from mesascope.probes.label_copying.probe import LabelCopying
from mesascope.probes.regression import nulls

from ..drawn_figures import drawn_of, each_width
from ..measured import found_in_family

N = 5
drawn = partial(drawn_of, FIGURES)
Planted = Callable[[], RegressionTransformer]


@pytest.fixture(scope="module")
def models(planted: Planted, random_model: Callable[..., Any], copied: Callable[..., Any]) -> dict[str, Findings]:
    """The written model, and one of more heads than are drawn."""
    return {"written": copied(planted()).findings, "heads": copied(random_model(n_heads=7)).findings}


@pytest.fixture(scope="module")
def over_training(planted: Planted) -> Findings:
    """Two seeds at three steps, whose first layer comes to copy."""
    subjects = []
    for seed in (0, 1):
        for step, copies in ((0, 0.0), (100, 0.3 + 0.2 * seed), (1000, 1.0)):
            module = planted()
            with torch.no_grad():
                module.W_O[0] *= copies
                module.W_Q[0] *= max(copies, 0.01)
            subjects.append(from_transformer(module, "made"))
            object.__setattr__(subjects[-1].source, "seed", seed)
            object.__setattr__(subjects[-1].source, "step", step)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "UNTRAINED", 2)
        return found_in_family(subjects, LabelCopying(limit=40, n_context=N))


@pytest.mark.parametrize("name", ["copying", "maps"])
@each_width
@pytest.mark.parametrize("model", ["written", "heads"])
def test_every_figure_is_legible(
    name: str, style: page.Style, model: str, models: dict[str, Findings], faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, models[model], style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


@pytest.mark.parametrize("name", ["copying", "trajectory"])
@each_width
def test_families_are_legible(
    name: str, style: page.Style, over_training: Findings, faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, over_training, style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_tables_hold_what_was_measured(models: dict[str, Findings], over_training: Findings) -> None:
    rows = drawn("copying", models["written"])[1]
    estimates = rows[rows["kind"] == "estimate"].set_index(["panel", "series"])["value"]
    assert estimates["attention to labels", "best head of layer 0"] == 1
    assert estimates["sensitivity", "next token"] == pytest.approx(1)
    losses = models["written"].measures["loss"]
    assert estimates["loss", "without copies"] == losses.sel(candidate="without_copies").estimate
    maps = drawn("maps", models["written"])[1]
    head = maps[(maps["panel"] == "L0H0") & (maps["kind"] == "estimate")]
    assert head[head["value"] == 1][["series", "at"]].to_numpy().tolist() == [[f"token {k}", k + 1] for k in range(9)]
    steps = drawn("trajectory", over_training)[1]
    copies = steps[(steps["series"] == "next token") & (steps["kind"] == "estimate")]
    assert copies["at"].tolist() == [0, 100, 1000]
    np.testing.assert_allclose(copies["value"], over_training.measures["copy_sensitivity"].sel(to="next").values)
    assert set(steps["panel"]) == {"loss", "sensitivity", "attention to labels"}


def test_what_is_not_there_is_not_drawn(models: dict[str, Findings], over_training: Findings) -> None:
    assert page.render(FIGURES["trajectory"], models["written"]) is None
    assert page.render(FIGURES["maps"], over_training) is None
    figure, table = drawn("maps", models["heads"])
    assert set(table["panel"]) == {*(f"L0H{head}" for head in range(MOST_HEADS)), "sensitivity"}
    assert "the first 5 of 7 heads" in figure.get_suptitle()
