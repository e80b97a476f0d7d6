"""Sentences of the card on whole models: printed where they hold, and only there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from mesascope.models import Source, TokenLayout, from_predictor, from_transformer, gd_transformer
from mesascope.models.regressors import PredictorRegressor, TransformerRegressor
from mesascope.probes import Findings, GDAlignment
from mesascope.probes.comparing.settings import AT_END
from torch import Tensor

Measured = Callable[..., Findings]
LAW: dict[str, Any] = {"n": 60, "n_context": 6, "d_in": 3}
SAME_DIRECTION = "With one step the sensitivity cosine does not depend on the learning rate"
CLIPPED = "The activation clip makes the sensitivity cosine depend on the learning rate"
OTHER_TASK = "It may solve another task, or read tokens in another layout."


def limits(findings: Findings, source: Source) -> str:
    return " ".join(GDAlignment().claim(findings.measures, (source,)).limits)


def one_step(activation_clip: float | None) -> TransformerRegressor:
    return from_transformer(gd_transformer(6, 6.0, 3, activation_clip=activation_clip))


@pytest.mark.parametrize(("clip", "same"), [(None, True), (100.0, True), (0.3, False)])
def test_a_clip_that_bites_makes_the_cosine_depend_on_the_rate(
    on_tasks: Measured, clip: float | None, same: bool
) -> None:
    """A prediction of ±0.3 does not change with the query any more."""
    subject = one_step(clip)
    findings = on_tasks(subject, **LAW, learning_rate=6.0)
    words = limits(findings, subject.source)
    assert (SAME_DIRECTION in words, CLIPPED in words) == (same, not same)
    assert "convex" not in words  # one head: the path goes through products of mixtures
    cosines = findings.measures["cosine_by_gd_rate"].values
    assert (float(cosines.max() - cosines.min()) < 1e-9) == same


def test_several_heads_mix(on_tasks: Measured) -> None:
    step = gd_transformer(6, 6.0, 3)
    config = type(step.config)(**{**step.config.as_dict(), "n_heads": 2})
    halves = {name: held.expand(-1, 2, -1, -1) / (2 if name == "W_O" else 1) for name, held in step.named_parameters()}
    subject = from_transformer(type(step)(config, halves))
    assert "the loss is convex along the mixture" in limits(on_tasks(subject, **LAW, learning_rate=6.0), subject.source)


def copying(scale: float) -> PredictorRegressor:
    """Reads the sum of the context's tokens, as a model of another task does."""

    def predict(inputs: Tensor) -> Tensor:
        return scale * inputs[:, :-1].sum(dim=(1, 2)) * inputs[:, -1, 0].exp()

    return from_predictor(predict, TokenLayout(3))


@pytest.mark.parametrize(("scale", "told"), [(1e7, True), (0.01, False)])
def test_a_model_of_another_task_is_told_so(on_tasks: Measured, scale: float, told: bool) -> None:
    subject = copying(scale)
    findings = on_tasks(subject, **LAW, learning_rate=6.0)
    assert (OTHER_TASK in limits(findings, subject.source)) == told
    found = GDAlignment().claim(findings.measures, (subject.source,)).found
    assert "No candidate explains the model" in found


@pytest.mark.parametrize(("scale", "at_end"), [(1e-6, True), (1e-4, False), (1.0, False)])
def test_a_rate_at_the_end_of_its_range_is_named(on_tasks: Measured, scale: float, at_end: bool) -> None:
    """Inputs of a millionth of the size need a learning rate of 3e12; what is tried ends at 1.5e10."""
    subject = from_transformer(gd_transformer(6, 3.0 / scale**2, 3))
    findings = on_tasks(subject, **LAW, input_range=scale, learning_rate=1.0)
    assert (findings.measures["learning_rate_gd_1"].message == AT_END) == at_end
    found = GDAlignment().claim(findings.measures, (subject.source,)).found
    assert found.startswith("The model agrees with 1 step of gradient descent") != at_end


def test_a_step_is_not_told_that_it_solves_another_task(on_tasks: Measured) -> None:
    subject = one_step(None)
    assert OTHER_TASK not in limits(on_tasks(subject, **LAW, learning_rate=6.0), subject.source)


def test_the_sensitivity_of_a_tiny_model_has_a_direction(on_tasks: Measured) -> None:
    """A step at a rate of 1e-9: with 1e-8 added to each norm its cosine would be near 0."""
    subject = from_transformer(gd_transformer(6, 1e-9, 3))
    m = on_tasks(subject, **LAW, learning_rate=6.0).measures
    assert m["cosine_gd"].estimate == pytest.approx(1, abs=1e-12)
    still = from_predictor(lambda inputs: inputs[:, 0, 0], TokenLayout(3))
    cosine = on_tasks(still, **LAW, learning_rate=6.0).measures["cosine_gd"]
    assert (cosine.status, cosine.message[:32]) == ("undefined", "the model does not look at the q")
