"""Figures: legible at every width, with and without a twin, for seeds and steps; their tables hold the numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from mesascope import models
from mesascope.models import RegressionTransformer
from mesascope.probes import Findings
from mesascope.probes.deep_features.figures import FIGURES
from mesascope.probes.deep_features.probe import DeepFeatures
from mesascope.probes.drawing import page
from mesascope.probes.regression import nulls

from ..drawn_figures import drawn_of, each_width
from ..measured import found_in_family

drawn = partial(drawn_of, FIGURES)
RECORD = {"recipe": {"tasks": {"n_context": 5, "d_in": 1, "d_out": 1, "amplitudes": [0.1, 0.5]}}}
Planted = Callable[..., RegressionTransformer]


@pytest.fixture(scope="module")
def path(planted: Planted, random_attention: Planted, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A family of two seeds whose attention comes to be the written step."""
    written, chance, tensors = dict(planted(scale=0.1).named_parameters()), random_attention(d_head=6), {}
    for seed in (0, 1):
        for step, share in ((0, 0.0), (100, 0.7), (1000, 1.0)):
            for name, held in written.items():
                other = held if "E" in name or "embed" in name else chance.get_parameter(name)
                tensors[f"seed{seed}/step{step}/{name}"] = (1 + 0.1 * seed) * (share * held + (1 - share) * other)
    file = tmp_path_factory.mktemp("family") / "family.safetensors"
    models.save_checkpoint(file, planted().config, tensors, RECORD)
    return str(file)


@pytest.fixture(scope="module")
def alone(path: str, probed: Callable[..., Any]) -> dict[str, Findings]:
    subject = models.load(path, "seed0-step100")
    return {"twin": probed(subject, twin=path).findings, "none": probed(subject).findings}


@pytest.fixture(scope="module")
def over_training(path: str) -> Findings:
    subjects = [models.load(path, f"seed{seed}-step{step}") for seed in (0, 1) for step in (0, 100, 1000)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nulls, "UNTRAINED", 2)
        patch.setattr(nulls, "SHUFFLES", 2)
        return found_in_family(subjects, DeepFeatures(limit=40, twin=path))


@pytest.mark.parametrize("name", ["alignment", "functions"])
@each_width
@pytest.mark.parametrize("model", ["twin", "none"])
def test_every_figure_is_legible(
    name: str, style: page.Style, model: str, alone: dict[str, Findings], faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, alone[model], style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


@pytest.mark.parametrize("name", ["alignment", "functions", "trajectory"])
@each_width
def test_families_are_legible(
    name: str, style: page.Style, over_training: Findings, faults: Callable[..., list[str]]
) -> None:
    figure, table = drawn(name, over_training, style)
    assert faults(figure, table, inspect.getdoc(FIGURES[name])) == []


def test_tables_hold_what_was_measured(alone: dict[str, Findings], over_training: Findings) -> None:
    rows = drawn("alignment", alone["twin"])[1]
    estimates = rows[rows["kind"] == "estimate"].set_index(["panel", "series"])["value"]
    of_panels = {"loss": "loss", "predictions": "prediction_difference", "slopes": "slope_agreement"}
    for panel, metric in of_panels.items():
        for series, candidate in (("twin", "twin"), ("GD on features", "feature_gd")):
            expected = alone["twin"].measures[metric].sel(candidate=candidate).estimate
            assert estimates[panel, series] == pytest.approx(expected)
    curves = drawn("functions", alone["twin"])[1]
    one = curves[(curves["panel"] == "task 2") & (curves["series"] == "model")]
    np.testing.assert_array_equal(one["value"], alone["twin"].arrays["function_model"][1])
    pairs = curves[(curves["panel"] == "task 2") & (curves["kind"] == "pair")]
    np.testing.assert_array_equal(pairs["value"], alone["twin"].arrays["function_context_y"][1])
    assert set(curves["series"].dropna()) >= {"target", "twin", "GD on features", "GD as attended"}
    steps = drawn("trajectory", over_training)[1]
    found = steps[(steps["series"] == "twin") & (steps["kind"] == "estimate") & (steps["panel"] == "slopes")]
    assert found["at"].tolist() == [0, 100, 1000]
    np.testing.assert_allclose(found["value"], over_training.measures["slope_agreement"].sel(candidate="twin").values)


def test_functions_of_several_seeds_are_those_of_the_first(over_training: Findings) -> None:
    curves = drawn("functions", over_training)[1]
    one = curves[(curves["panel"] == "task 1") & (curves["series"] == "model")]
    np.testing.assert_array_equal(one["value"], over_training.arrays["function_model"][0, 0])


def test_what_is_not_there_is_not_drawn(alone: dict[str, Findings]) -> None:
    assert page.render(FIGURES["trajectory"], alone["none"]) is None
    bare = replace(alone["none"], arrays={})
    assert page.render(FIGURES["functions"], bare) is None
    curves = drawn("functions", alone["none"])[1]
    assert "twin" not in set(curves["series"])
