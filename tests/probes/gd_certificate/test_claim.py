"""Every sentence of the card: where it must stand, and where it must not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    gd_transformer,
    gdpp_transformer,
)
from mesascope.models.subject import Source
from mesascope.probes.gd_certificate import limits
from mesascope.probes.gd_certificate.claim import CITATIONS, certificate_claim
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.measure import Measure

Certified = Callable[..., Any]
IDENTITY = torch.eye(3, dtype=torch.float64)
MIXED = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=torch.float64)


def beside(size: float, sizes: tuple[float, ...] = (0.5,)) -> RegressionTransformer:
    """Layers of steps of these sizes, each with a second head that pairs x with x."""
    KQ, PV = torch.zeros(2, len(sizes), 2, 4, 4, dtype=torch.float64)
    KQ[..., range(3), range(3)] = 1.0
    for layer, step in enumerate(sizes):
        PV[layer, 0, 3, 3], PV[layer, 1, 0, 3] = -step, step * size
    config = RegressionConfig(d_in=3, n_layers=len(sizes), tied=len(sizes) == 1)
    return RegressionTransformer.from_products(config, KQ, PV)


def test_one_step_near_its_optimum(certified: Certified) -> None:
    claim = certified(gd_transformer(10, 9.3, 3), n_context=10).claim
    assert claim.found == (
        "Layer 1 is one step of gradient descent at learning rate 9.30: less than 0.1 % of its weights, by norm, are"
        " elsewhere, and the step is within 0.8 % of the optimum of its recorded law (9.38)."
    )
    assert claim.badge == "One step of gradient descent, less than 0.1 % elsewhere"
    assert claim.rival.startswith("Untrained weights of the same shape have 97 % elsewhere (the least of 5: 9")
    assert claim.evidence.startswith(
        "The weights alone: no task was drawn, and nothing was resampled. Expected loss 0.0"
    )
    assert "less than 0.1 % above the least of any such layer" in claim.evidence
    assert claim.citations == CITATIONS
    assert "closed form" in claim.methods
    assert "GD++" not in claim.methods


def test_one_step_far_from_its_optimum(certified: Certified) -> None:
    claim = certified(gd_transformer(10, 4.0, 3), n_context=10).claim
    assert "elsewhere, but the step is 57 % from the optimum of its recorded law (9.38)." in claim.found
    assert limits.EXPECTED not in claim.limits


def test_the_words_of_the_law(certified: Certified, covariance_file: Callable[..., str]) -> None:
    other_n = certified(gd_transformer(10, 9.3, 3), GDCertificate(n_context=20), n_context=10).claim
    assert "from the optimum of its recorded law with N = 20 (10.5)." in other_n.found
    assert "N is not that of training: you asked for N = 20." in other_n.limits
    same_n = certified(gd_transformer(10, 9.3, 3), GDCertificate(n_context=10), n_context=10).claim
    assert not [limit for limit in same_n.limits if "N is not that of training" in limit]
    probe = GDCertificate(covariance=covariance_file(MIXED), n_context=10)
    given = certified(gd_transformer(10, 0.7, 3), probe).claim
    assert "from the optimum of the covariance that you gave with N = 10 (0." in given.found
    assert "Inputs were taken to be Gaussian, with the covariance that you gave." in given.limits
    assert limits.ZHANG not in given.limits
    assert limits.ZHANG in same_n.limits
    assert not [limit for limit in same_n.limits if "Gaussian, with" in limit]
    unknown = certified(gd_transformer(10, 9.3, 3)).claim
    assert unknown.found.startswith("Layer 1 is one step of gradient descent at learning rate / N 0.930: less than")
    assert unknown.found.endswith("are elsewhere.")
    assert any(
        limit.startswith("There is no distance from an optimum: the law of the inputs") for limit in unknown.limits
    )
    assert "Expected loss" not in unknown.evidence
    assert "closed form" not in unknown.methods


def test_a_preconditioned_step(certified: Certified, step_module: Callable[..., Any]) -> None:
    M = torch.diag(torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64))
    claim = certified(step_module(M), n_context=10).claim
    assert claim.found.startswith(
        "Layer 1 is one step of preconditioned gradient descent at learning rates from 3.00 to 9.00 by direction: less"
    )
    assert claim.found.endswith("of the optimum of its recorded law.") or "from the optimum" in claim.found
    assert "(9.38)" not in claim.found
    unknown = certified(step_module(M)).claim.found
    assert "at learning rates / N from 0.300 to 0.900 by direction" in unknown


def test_steps_that_go_up(certified: Certified, step_module: Callable[..., Any]) -> None:
    up = certified(step_module(-0.4 * IDENTITY), n_context=10).claim
    assert up.found.startswith("Layer 1 is one step up the loss at learning rate -4.00, or its answer is read with the")
    assert up.badge == "One step up the loss"
    mixed = certified(step_module(torch.diag(torch.tensor([0.6, -0.3, 0.3]).double())), n_context=10).claim
    assert mixed.found == (
        "Layer 1 is no step of gradient descent: along some directions it goes up the loss at learning rates from -3.00"
        " to 6.00 by direction."
    )
    assert mixed.badge == "No step of gradient descent"
    for claim in (up, mixed):
        assert limits.EXPECTED not in claim.limits
        assert "optimum of" not in claim.found


def test_weights_elsewhere(certified: Certified) -> None:
    near = certified(beside(0.3), n_context=10).claim
    assert near.found == (
        "Layer 1 is closest to one step of gradient descent at learning rate 5.00, but 33 % of its weights, by norm,"
        " are elsewhere."
    )
    assert near.badge == "Closest to gradient descent, 33 % elsewhere"
    assert limits.WEIGHTS in near.limits
    assert limits.LABEL in near.limits
    far = certified(beside(3.0), n_context=10).claim
    assert far.found == "Layer 1 is no step of gradient descent: 96 % of its weights, by norm, are elsewhere."
    assert far.badge == "No step of gradient descent"
    assert limits.WEIGHTS not in far.limits
    assert limits.LABEL in far.limits
    step = certified(beside(0.05), n_context=10).claim
    assert limits.LABEL not in step.limits


def test_a_trained_optimum_is_what_training_gives(certified: Certified) -> None:
    assert limits.EXPECTED in certified(gd_transformer(10, 9.3, 3), n_context=10).claim.limits
    assert limits.EXPECTED not in certified(beside(0.3, (0.93,)), n_context=10).claim.limits
    assert limits.EXPECTED not in certified(gd_transformer(10, 9.3, 3, n_layers=2), n_context=10).claim.limits


def test_layers_that_share_their_weights(certified: Certified) -> None:
    claim = certified(gdpp_transformer(10, [3.0], [0.4], 3, n_layers=4), n_context=10).claim
    assert claim.found == (
        "Each of 4 layers, which share their weights, is one step of GD++ at learning rate 3.00 and γ = 0.400: less"
        " than 0.1 % of its weights, by norm, are elsewhere."
    )
    assert any("closed form is known for one layer only" in limit for limit in claim.limits)
    assert "GD++" in claim.methods


def test_layers_with_weights_of_their_own(certified: Certified) -> None:
    alike = certified(gdpp_transformer(10, [3.0, 2.0, 1.0], [0.4, 0.3, 0.2], 3, n_layers=3, tied=False), n_context=10)
    assert alike.claim.found == (
        "Layers 1, 2: one step of GD++; layer 3: one step of gradient descent. Steps have learning rates from 1.00 to"
        " 3.00, and less than 0.1 % of a layer's weights elsewhere."
    )
    assert alike.claim.badge == "Layers of several kinds"
    same = certified(gdpp_transformer(10, [3.0, 2.0], [0.0, 0.0], 3, n_layers=2, tied=False)).claim
    assert same.found.startswith(
        "Layers 1, 2: one step of gradient descent. Steps have learning rates / N from 0.200 to 0.300"
    )
    assert same.badge == "One step of gradient descent, less than 0.1 % elsewhere"
    KQ, PV = torch.zeros(2, 2, 1, 4, 4, dtype=torch.float64)
    KQ[0, 0, range(3), range(3)], PV[0, 0, 3, 3] = 1.0, -0.3
    empty = RegressionTransformer.from_products(RegressionConfig(d_in=3, n_layers=2, tied=False), KQ, PV)
    claim = certified(empty, n_context=10).claim
    assert claim.found.startswith("Layer 1: one step of gradient descent; layer 2: writes nothing. Steps have")
    nothing = RegressionTransformer.from_products(RegressionConfig(d_in=3, n_layers=2, tied=False), KQ * 0, PV)
    assert certified(nothing, n_context=10).claim.found == "Layers 1, 2: writes nothing."


def test_nothing_at_all(certified: Certified, step_module: Callable[..., Any]) -> None:
    claim = certified(step_module(0 * IDENTITY), n_context=10).claim
    assert claim.found == "Layer 1 writes nothing: all its weights are 0."
    assert claim.badge == "Writes nothing"
    assert claim.rival == "Nothing was compared."


@pytest.mark.parametrize(
    ("settings", "limit"),
    [({"activation_clip": 9.0}, limits.CLIP), ({"query_in_context": True}, limits.SELF), ({}, "")],
)
def test_limits_of_other_layers(settings: dict[str, Any], limit: str, certified: Certified) -> None:
    plain = gd_transformer(10, 9.3, 3)
    module = RegressionTransformer(replace(plain.config, **settings), dict(plain.named_parameters()))
    found = set(certified(module, n_context=10).claim.limits)
    assert found & {limits.CLIP, limits.SELF} == ({limit} if limit else set())


def test_few_inputs_may_be_near_a_step_by_chance(certified: Certified) -> None:
    assert limits.CHANCE in certified(gd_transformer(10, 4.0, 2), n_context=10).claim.limits
    assert limits.CHANCE not in certified(gd_transformer(10, 4.0, 3), n_context=10).claim.limits


# -- several seeds -----------------------------------------------------------------------------------------------------


def of_seeds(measures: dict[str, Measure]) -> dict[str, Measure]:
    """As the mean over four seeds: values with an interval of a tenth around them."""
    return {
        name: replace(m, interval=(np.asarray(m.values * 0.95), np.asarray(m.values * 1.05)), replicate="seed", n=4)
        if m.status == "ok" and m.stacked is None
        else m
        for name, m in measures.items()
    }


def test_seeds_have_intervals(certified: Certified, source: Source) -> None:
    found = certified(gd_transformer(10, 9.3, 3), n_context=10)
    claim = certificate_claim(of_seeds(dict(found.findings.measures)), (source, source), None, None)
    assert "at learning rate 9.30 (95 % CI 8.8" in claim.found
    assert claim.evidence.startswith("4 seeds, their weights alone: no task was drawn. Expected loss 0.0")


def test_an_interval_decides_with_its_upper_end(certified: Certified, source: Source) -> None:
    found = certified(beside(0.08), n_context=10)
    measures = dict(found.findings.measures)
    assert "is one step of gradient descent" in found.claim.found
    distances = measures["form_distance"]
    low, high = distances.values * 0.5, distances.values * 1.6
    measures["form_distance"] = replace(distances, interval=(low, high), replicate="seed", n=4)
    claim = certificate_claim(measures, (source,), None, None)
    assert "is closest to one step of gradient descent" in claim.found
    assert np.all(high > 0.1)


def test_weights_no_farther_than_untrained_ones_are_nothing(certified: Certified, source: Source) -> None:
    """However near to a step: where untrained weights are as near, nothing was learned."""
    measures = dict(certified(beside(0.05), n_context=10).findings.measures)
    distances = measures["form_distance"]
    near = {"untrained": np.full((5, *distances.values.shape), 1.9 * distances.values.max())}
    measures["form_distance"] = replace(distances, nulls=near)
    assert "is no step of gradient descent" in certificate_claim(measures, (source,), None, None).found


def test_notes_of_the_source_stand_once(certified: Certified, source: Source) -> None:
    found = certified(gd_transformer(10, 9.3, 3), n_context=10)
    noted = replace(source, notes=("something was assumed",))
    claim = certificate_claim(found.findings.measures, (noted, noted), None, None)
    assert claim.limits.count("something was assumed") == 1
