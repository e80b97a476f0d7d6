"""Models whose tokens are not the residual stream, or trained on other tasks: measured, or refused in words."""

from __future__ import annotations

from dataclasses import replace

import torch
from mesascope.models import RegressionConfig, from_transformer, initialise
from mesascope.models.regressors import TransformerRegressor
from mesascope.models.subject import NotApplicable
from mesascope.probes.gd_alignment.probe import GDAlignment
from mesascope.probes.regression.products import products


def model(record: dict[str, object] | None = None, **settings: object) -> TransformerRegressor:
    config = RegressionConfig(**{"d_in": 3, "d_head": 4, **settings})  # type: ignore[arg-type]
    subject = from_transformer(initialise(config, 0.5, torch.Generator().manual_seed(0)))
    return TransformerRegressor(subject.module, replace(subject.source, record=record or {}))


def test_weights_that_are_not_alone_are_not_set_beside_constructed_ones() -> None:
    for settings, named in (
        ({"mlp": "shared"}, "this model has MLPs"),
        ({"d_embed": 6}, "an embedding of its tokens"),
        ({"d_position": 4}, "position codes"),
        ({"token_order": "interleaved"}, "x and y in tokens of their own"),
    ):
        found = products(model(**settings))
        assert isinstance(found, NotApplicable)
        assert named in found.reason


def test_a_model_of_sines_is_not_asked_about_linear_regression() -> None:
    sines = {"recipe": {"tasks": {"amplitudes": [0.1, 0.5], "n_context": 10, "d_in": 1, "d_out": 1}}}
    found = GDAlignment().applies(model(sines, d_in=1, d_embed=6))
    assert isinstance(found, NotApplicable)
    assert "was trained on sines" in found.reason
    assert GDAlignment(n_context=5).applies(model(sines, d_in=1, d_embed=6)) is None
    assert GDAlignment().applies(model({"recipe": {"tasks": {"n_context": 10}}})) is None
