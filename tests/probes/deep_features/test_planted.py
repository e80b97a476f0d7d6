"""Written models: the step is found where it is, not where attention is at random, and whatever must not matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionTransformer

Found = Callable[..., Any]
Planted = Callable[..., RegressionTransformer]


def test_a_written_step_is_found(planted: Planted, probed: Found) -> None:
    found = probed(planted())
    assert found.standing.called == "agrees"
    assert found.standing.closest == "feature_gd"
    assert found.claim.badge == "A step of gradient descent on its features"
    assert found.of("unexplained_share", "feature_gd") < 1e-12
    assert found.of("prediction_difference", "feature_gd") < 1e-10
    assert found.of("model_difference", "feature_gd") < 1e-9
    assert found.of("slope_agreement", "feature_gd") == 1
    assert found.of("unexplained_share", "embedding") == 1
    assert found.of("learning_rate", "feature_gd") == pytest.approx(3.0)


def test_several_written_steps_are_found(planted: Planted, probed: Found) -> None:
    found = probed(planted(n_layers=2, rate=0.2))
    assert found.claim.badge == "2 steps of gradient descent on its features"
    assert found.of("unexplained_share", "feature_gd") < 1e-5
    assert found["unexplained_share"].sel(candidate="attended_gd").status == "not applicable"
    assert "candidate" in found["learning_rate"].axes


def test_linear_tasks_of_several_inputs(planted: Planted, probed: Found) -> None:
    found = probed(planted(d_in=3), tasks=None, n_context=5)
    assert found.claim.badge == "A step of gradient descent on its features"
    assert found.of("slope_agreement", "feature_gd") == pytest.approx(1)
    assert not any(name.startswith("function_") for name in found.findings.arrays)


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_attention_at_random_is_not_the_step(seed: int, random_attention: Planted, probed: Found) -> None:
    found = probed(random_attention(seed))
    assert found.standing.called != "agrees"
    assert found.of("unexplained_share", "feature_gd") > 0.3


def test_chance_agreement_of_few_features_is_no_step(random_attention: Planted, probed: Found) -> None:
    """Where one feature is larger than all others, any attention is nearly a step on it: untrained models are, too."""
    found = probed(random_attention(2))
    assert found.of("unexplained_share", "feature_gd") < 0.1
    assert found.standing.called == "in part"


def test_values_that_are_not_the_labels_are_found_missing(planted: Planted, probed: Found) -> None:
    """The written step, whose values come from a feature instead of the slot."""
    module = planted()
    with torch.no_grad():
        module.W_V[0, 0] = module.W_V[0, 0].roll(1, dims=0)
    found = probed(module)
    assert found.of("unexplained_share", "feature_gd") > 0.4
    assert found.standing.called != "agrees"


def test_a_step_on_true_labels_as_attended_is_found(planted: Planted, probed: Found) -> None:
    """Slots hold labels and nothing else; features are weighed by W_Q and W_K."""
    module = planted()
    with torch.no_grad():
        module.embed_W_out.zero_()
        module.W_E[:, -1] = torch.tensor([0.0, 1.0])
        module.W_Q[0, 0] = torch.randn(6, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        module.W_Q[0, 0, -1] = 0
    found = probed(module)
    assert found.of("unexplained_share", "attended_gd") < 1e-10
    assert found.standing.closest == "attended_gd"
    assert found.of("learning_rate", "attended_gd") == pytest.approx(3.0)
    assert found.of("unexplained_share", "feature_gd") > 1e-3


def rotated(module: RegressionTransformer) -> RegressionTransformer:
    """Features in other coordinates, with all that reads them turned along."""
    width = module.config.d_model
    R = torch.eye(width, dtype=torch.float64)
    noise = torch.randn(width - 1, width - 1, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    R[:-1, :-1] = torch.linalg.qr(noise).Q
    weights = dict(module.named_parameters())
    turned = {name: R.mT @ weights[name] for name in ("W_Q", "W_K", "W_V", "embed_W_in")}
    turned |= {name: weights[name] @ R for name in ("W_O", "W_E", "embed_W_out", "embed_b_out")}
    return RegressionTransformer(module.config, {**weights, **turned})


@pytest.mark.parametrize("kind", ["planted", "random"])
def test_coordinates_of_features_do_not_matter(
    kind: str, planted: Planted, random_attention: Planted, probed: Found
) -> None:
    module = planted() if kind == "planted" else random_attention()
    plain, other = probed(module), probed(rotated(module))
    for name in ("loss", "unexplained_share", "prediction_difference", "slope_agreement", "learning_rate"):
        np.testing.assert_allclose(
            plain[name].values, other[name].values, rtol=1e-3, atol=1e-9
        )  # the penalty is sought


def test_the_batch_size_does_not_matter(random_attention: Planted, probed: Found) -> None:
    one, other = (probed(random_attention(), batch_size=size) for size in (7, 60))
    for name in ("loss", "unexplained_share", "model_difference", "linear_readout"):
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-9)


def test_the_sign_of_a_read_out_does_not_matter(planted: Planted, probed: Found) -> None:
    """A model of the same size that outputs the negative is turned, and is the same step."""
    found = probed(planted(), sign=-1)
    assert found["readout_sign"].estimate == -1
    assert found.claim.found.startswith("Sign turned. Attention adds")
    held = found.findings.arrays
    np.testing.assert_allclose(held["function_model"], held["function_feature_gd"], atol=1e-9)  # turned, too
    assert found.of("unexplained_share", "feature_gd") < 1e-12
