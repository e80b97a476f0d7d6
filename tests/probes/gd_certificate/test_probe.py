"""Planted, trained and untrained models under the certificate; and what has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import UsageError
from mesascope.models import (
    NotApplicable,
    RegressionConfig,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    from_softmax_layer,
    from_transformer,
    gd_transformer,
    gdpp_transformer,
    initialise,
    load,
    softmax_gradient_layer,
)
from mesascope.models.own.merged import predict_stack
from mesascope.probes.gd_certificate.optimum import Law, optimal_learning_rate, optimal_matrix
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.gd_certificate.verdicts import verdicts
from mesascope.probes.regression import nulls

MIXED = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=torch.float64)
Certified = Callable[..., Any]
Covariance = Callable[..., str]


def called(certificate: Any) -> list[tuple[str, str]]:
    return [(verdict.called, verdict.form.name) for verdict in verdicts(certificate.findings.measures)]


# -- found -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "tasks", [{"n_context": 10}, {"n_context": 4, "input_range": 2.0, "noise": 0.3, "weight_scale": 0.5}]
)
def test_a_planted_optimum_is_one(tasks: dict[str, Any], certified: Certified) -> None:
    width, n = tasks.get("input_range", 1.0), tasks["n_context"]
    noise = (tasks.get("noise", 0.0) / tasks.get("weight_scale", 1.0)) ** 2
    s = width**2 / 12
    best = n / ((n + 3 + 1 - 1.2) * s + noise)  # of d = 3 uniform inputs
    found = certified(gd_transformer(n, best, 3), **tasks)
    assert called(found) == [("step", "gd")]
    assert found["learning_rate"].values == pytest.approx([best], rel=1e-12)
    assert found["optimal_learning_rate"].estimate == pytest.approx(best, rel=1e-12)
    assert found["optimum_distance"].estimate < 1e-12
    assert found["excess_loss_step"].estimate == pytest.approx(0, abs=1e-15)
    assert found["excess_loss_other"].estimate == 0
    assert found["expected_loss"].estimate == pytest.approx(found["optimal_loss"].estimate, rel=1e-12)
    assert found["form_distance_gd"].values < 1e-15
    half = certified(gd_transformer(n, best / 2, 3), **tasks)
    assert half["optimum_distance"].estimate == pytest.approx(0.5, rel=1e-12)
    assert half["excess_loss_step"].estimate > 0
    assert called(half) == [("step", "gd")]


def test_a_preconditioned_step_is_called_so(
    certified: Certified, step_module: Callable[..., RegressionTransformer], covariance_file: Covariance
) -> None:
    law = Law(MIXED, 5)
    probe = GDCertificate(covariance=covariance_file(MIXED), n_context=5)
    found = certified(step_module(optimal_matrix(law)), probe)
    assert called(found) == [("step", "preconditioned_gd")]
    assert found["optimum_distance"].estimate == pytest.approx(0, abs=1e-12)
    assert found["gaussian_optimum_distance"].estimate == pytest.approx(0, abs=1e-12)
    assert found["identity_distance"].values > 0.1
    sizes = torch.linalg.eigvalsh(optimal_matrix(law))
    assert found["least_step_size"].values == pytest.approx([float(sizes[0])])
    assert found["largest_step_size"].values == pytest.approx([float(sizes[-1])])
    plain = certified(gd_transformer(5, optimal_learning_rate(law), 3), probe)
    assert called(plain) == [("step", "gd")]
    assert plain["optimum_distance"].estimate > 0.1
    inverse = certified(step_module(torch.linalg.inv(MIXED)), probe)
    assert inverse["whitened_identity_distance"].values < 1e-12 < inverse["identity_distance"].values


def test_gdpp_and_its_last_layer(certified: Certified) -> None:
    tied = certified(gdpp_transformer(8, [3.0], [0.4], 3, n_layers=2), n_context=8)
    assert called(tied) == [("step", "gdpp")]
    assert tied["gamma"].values == pytest.approx([0.4])
    assert tied["learning_rate"].values == pytest.approx([3.0])
    assert tied["optimum_distance"].status == "not applicable"
    assert "one layer" in tied["expected_loss"].message
    apart = certified(gdpp_transformer(8, [3.0, 2.0], [0.4, 0.3], 3, n_layers=2, tied=False), n_context=8)
    assert called(apart) == [("step", "gdpp"), ("step", "gd")]
    assert np.isnan(apart["gamma"].values[1])  # what it does to x reaches no answer
    plain = certified(gd_transformer(8, 3.0, 3, n_layers=2), n_context=8)
    assert called(plain) == [("step", "gd")]
    assert plain["form_distance_gd"].values == pytest.approx([0], abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_the_shipped_layers_are_near_the_optimum_of_their_law(seed: int) -> None:
    subject = load("lsa-1layer", revision=f"seed{seed}")
    measures = GDCertificate().measure(subject, 0, 1).measures
    assert measures["optimal_learning_rate"].estimate == pytest.approx(6.0606, abs=1e-4)
    assert measures["optimum_distance"].estimate < 0.05
    assert measures["expected_loss"].estimate < 1.005 * measures["optimal_loss"].estimate
    claim = GDCertificate().claim(measures, (subject.source,))
    assert claim.found.startswith("Layer 1 is one step of gradient descent at learning rate ")
    assert "of the optimum of its recorded law (6.06)" in claim.found


def test_the_shipped_stack_is_gdpp() -> None:
    subject = load("lsa-2layer-recurrent", revision="seed3")
    measures = GDCertificate().measure(subject, 0, 1).measures
    (verdict,) = verdicts(measures)
    assert (verdict.called, verdict.form.name) == ("step", "gdpp")
    assert verdict.away.value < 0.05
    assert measures["gamma"].values == pytest.approx([0.173], abs=0.002)  # von Oswald et al., figure 13: 0.179
    assert measures["form_distance"].sel(form="gd").values > 0.3


def test_a_layer_trained_on_gaussian_inputs_is_near_gamma(
    certified: Certified, covariance_file: Covariance, gaussian_tasks: Any
) -> None:
    """Adam on fresh tasks, all weights free, from a positive start (assumption 3.3 of Zhang, Frei & Bartlett)."""
    config, rng = RegressionConfig(d_in=3, d_head=4), torch.Generator().manual_seed(0)
    KQ, PV = (0.02 * torch.randn(1, 1, 1, 4, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    KQ[..., range(3), range(3)] += 0.3
    PV[..., 3, 3] -= 0.3
    adam = torch.optim.Adam([KQ.requires_grad_(), PV.requires_grad_()], lr=0.02)
    for step in range(300):
        adam.param_groups[0]["lr"] = 0.02 * (1 - step / 300)
        inputs, targets = gaussian_tasks(MIXED, 6, 2_048, step)
        loss = (predict_stack(config, KQ, PV, inputs)[0] - targets).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    module = RegressionTransformer.from_products(config, KQ[0].detach(), PV[0].detach())
    found = certified(module, GDCertificate(covariance=covariance_file(MIXED), n_context=6))
    assert found["gaussian_optimum_distance"].estimate < 0.05
    assert found["gaussian_optimum_distance"].estimate == found["optimum_distance"].estimate
    assert called(found) == [("step", "preconditioned_gd")]
    assert found["expected_loss"].estimate < 1.01 * found["optimal_loss"].estimate


# -- not found ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"d_in": 3}, {"d_in": 3, "n_layers": 3, "tied": False}, {"d_in": 2, "n_heads": 2}]
)
@pytest.mark.parametrize("scale", [0.002, 1.0])
def test_untrained_weights_are_no_step(
    settings: dict[str, Any], scale: float, certified: Certified, random_module: Callable[..., Any]
) -> None:
    for seed in (101, 102):
        found = certified(random_module(seed=seed, scale=scale, **settings), n_context=10)
        assert {word for word, _ in called(found)} == {"none"}
        assert "no step of gradient descent" in found.claim.found


def test_near_misses_are_no_step(certified: Certified, step_module: Callable[..., Any]) -> None:
    turn = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    assert called(certified(step_module(turn))) == [("mixed", "preconditioned_gd")]
    assert called(certified(step_module(-identity))) == [("ascent", "gd")]
    assert called(certified(step_module(0 * identity))) == [("empty", "gd")]
    assert called(certified(step_module(turn - turn.mT))) == [("mixed", "preconditioned_gd")]


@pytest.mark.parametrize(("size", "word"), [(0.05, "step"), (0.3, "closest"), (3.0, "none")])
def test_a_share_elsewhere_decides_the_word(size: float, word: str, certified: Certified) -> None:
    """A second head that pairs x with x: ever larger."""
    KQ, PV = torch.zeros(2, 1, 2, 4, 4, dtype=torch.float64)
    KQ[0, :, range(3), range(3)] = 1.0
    PV[0, 0, 3, 3], PV[0, 1, 0, 3] = -0.5, 0.5 * size
    found = certified(RegressionTransformer.from_products(RegressionConfig(d_in=3), KQ, PV), n_context=10)
    assert called(found)[0][0] == word
    other = size * np.sqrt((1 + 1 / 3) / (1 + size**2 * (1 + 1 / 3)))
    assert found["block_share_other"].values == pytest.approx([other], rel=1e-12)


# -- what has no certificate -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"softmax": True}, "linear attention, this model softmax attention"),
        ({"layer_norm": True}, "no layer norm, but this model has"),
        ({"n_layers": 2, "query_in_context": True}, "reads the model's own answer as a label"),
        ({"query_in_context": True}, ""),
        ({"n_layers": 2, "causal": True}, "has a causal mask"),
        ({"causal": True}, ""),
        ({}, ""),
    ],
)
def test_what_applies(settings: dict[str, Any], words: str, random_module: Callable[..., Any]) -> None:
    subject = from_transformer(random_module(**settings))
    reason = GDCertificate().applies(subject)
    assert (reason is None) == (not words)
    if reason is not None:
        assert words.replace("reads the", "read the") in reason.reason
        assert reason.reason.endswith("gd-alignment compares its predictions")
        with pytest.raises(UsageError, match="applies"):
            GDCertificate().measure(subject, 0, 1)


def test_other_subjects_have_none() -> None:
    predictor = from_predictor(lambda tokens: tokens[:, -1, :1], TokenLayout(3))
    softmax = from_softmax_layer(softmax_gradient_layer(6, 4.0, 3))
    hidden = GDCertificate().applies(predictor)
    assert isinstance(hidden, NotApplicable)
    assert "cannot read attention weights" in hidden.reason
    for subject in (softmax, load("induction-1layer")):  # gd-alignment does not apply to them either
        reason = GDCertificate().applies(subject)
        assert isinstance(reason, NotApplicable)
        assert reason.reason.startswith("this model does not answer linear-regression tasks")
        assert "gd-alignment" not in reason.reason
    assert not GDCertificate.by_default


def test_a_mask_changes_nothing_in_one_layer(certified: Certified) -> None:
    plain = gd_transformer(10, 4.0, 3)
    masked = RegressionTransformer(replace(plain.config, causal=True), dict(plain.named_parameters()))
    found, other = certified(plain, n_context=10), certified(masked, n_context=10)
    for name, measure in found.findings.measures.items():
        np.testing.assert_array_equal(measure.values, other[name].values, err_msg=name)
    assert found["optimum_distance"].has_number


def test_without_a_law_the_weights_still_speak(certified: Certified, covariance_file: Covariance) -> None:
    found = certified(gd_transformer(10, 4.0, 3))
    assert found["step_size"].values == pytest.approx([0.4])
    assert {found[name].status for name in ("learning_rate", "optimum_distance", "input_rank")} == {"not applicable"}
    assert "N, is not recorded" in found["learning_rate"].message
    assert called(found) == [("step", "gd")]
    with_n = certified(gd_transformer(10, 4.0, 3), GDCertificate(n_context=10))
    assert with_n["learning_rate"].values == pytest.approx([4.0])
    assert "--covariance FILE" in with_n["optimum_distance"].message


def test_a_clip_and_a_query_that_sees_itself_have_no_closed_loss(certified: Certified) -> None:
    clipped = certified(gd_transformer(10, 4.0, 3, activation_clip=5.0), n_context=10)
    assert clipped["learning_rate"].values == pytest.approx([4.0])
    assert "clips its activations" in clipped["optimum_distance"].message
    config = replace(gd_transformer(10, 4.0, 3).config, query_in_context=True)
    itself = certified(RegressionTransformer(config, dict(gd_transformer(10, 4.0, 3).named_parameters())), n_context=10)
    assert itself["optimum_distance"].has_number
    assert itself["excess_loss_step"].has_number
    assert "attends to itself" in itself["expected_loss"].message
    assert itself["excess_loss_other"].status == "not applicable"


def test_directions_that_no_input_has_are_left_out(
    certified: Certified, step_module: Callable[..., Any], covariance_file: Covariance
) -> None:
    """As a layer that was trained on such inputs is: any weights at all in the direction that it never saw."""
    law = Law(torch.diag(torch.tensor([1.0, 1.0, 0.0], dtype=torch.float64)), 5)
    M = optimal_matrix(law).clone()
    M[2] = torch.tensor([3.0, -1.0, -2.0])
    probe = GDCertificate(covariance=covariance_file(law.covariance.numpy()), n_context=5)
    found = certified(step_module(M), probe)
    assert called(found) == [("step", "gd")]
    assert found["optimum_distance"].estimate < 1e-12
    assert found["input_rank"].estimate == 2
    assert found["learning_rate"].values == pytest.approx([5 * float(M[0, 0])])
    assert "Inputs have 2 of 3 directions" in " ".join(found.claim.limits)
    stack = certified(gd_transformer(5, 2.0, 3, n_layers=2), probe)
    assert "singular" in stack["whitened_identity_distance"].message
    assert stack["learning_rate"].values == pytest.approx([2.0])


def test_more_inputs_than_pairs_are_nothing_special(certified: Certified) -> None:
    best = 2 / ((2 + 6 + 1 - 1.2) / 12)
    found = certified(gd_transformer(2, best, 6), n_context=2)
    assert found["optimum_distance"].estimate < 1e-12
    assert called(found) == [("step", "gd")]


def test_the_scale_of_untrained_weights_is_the_recorded_one(certified: Certified) -> None:
    subject = from_transformer(gd_transformer(10, 4.0, 3))
    sizes = []
    for scale in (0.01, 0.04):
        subject.source = replace(subject.source, record={"recipe": {"init_scale": scale}})
        sizes.append(GDCertificate().measure(subject, 0, 1).measures["largest_step_size"].nulls["untrained"])
    assert sizes[0].shape == (nulls.UNTRAINED, 1)
    np.testing.assert_allclose(sizes[1], 16 * sizes[0], rtol=1e-9)  # four weights, each as the root of the scale


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    subject = load("lsa-1layer", revision="seed0")
    one, again, other = (GDCertificate().measure(subject, seed, 1).measures["step_size"] for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.nulls["untrained"], again.nulls["untrained"])
    assert not np.array_equal(one.nulls["untrained"], other.nulls["untrained"])
    assert one.values == other.values


def test_work_and_memory_grow_with_the_layers() -> None:
    small, large = (
        from_transformer(initialise(RegressionConfig(d, d_head=4), 0.1, torch.Generator())) for d in (3, 30)
    )
    probe = GDCertificate()
    costs = [probe.cost(subject, 1) for subject in (small, large)]
    memories = [probe.memory(subject) for subject in (small, large)]
    assert costs[0] is not None
    assert costs[1] is not None
    assert costs[1].operations > 5 * costs[0].operations
    assert costs[0].draws == 50 * 4 * 4 * 4
    assert memories[0] is not None
    assert memories[1] is not None
    assert memories[1] > memories[0]
    assert probe.cost(load("induction-1layer"), 1) is probe.memory(load("induction-1layer")) is None
