"""A causal mask: no token attends to later ones, and so the order of a context matters from the second layer on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer
from torch import Tensor

Make = Callable[..., RegressionTransformer]
Inputs = Callable[..., Tensor]
CAUSAL: dict[str, dict[str, Any]] = {
    "linear": {"n_layers": 3},
    "norms": {"n_layers": 4, "tied": False, "layer_norm": True},
    "softmax": {"n_layers": 2, "softmax": True},
    "query in context": {"n_layers": 3, "query_in_context": True},
}
each_causal = pytest.mark.parametrize("settings", CAUSAL.values(), ids=CAUSAL)


def keep(activation: Tensor, layer: int) -> Tensor:
    return activation


@each_causal
def test_later_tokens_change_no_earlier_state(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    inputs, changed = random_inputs(4, tokens=6), random_inputs(4, tokens=6, seed=2)
    changed[:, :3] = inputs[:, :3]
    for causal in (True, False):
        model = random_model(**settings, causal=causal)
        one, other = (
            torch.stack(model.run(tokens, {"resid_post": keep}).values["resid_post"]) for tokens in (inputs, changed)
        )
        assert torch.equal(one[:, :, :3], other[:, :, :3]) == causal
        assert not torch.equal(one[:, :, 3:], other[:, :, 3:])


@each_causal
def test_a_token_without_later_ones_is_in_the_state_that_a_shorter_context_gives_it(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    model, inputs = random_model(**settings, causal=True), random_inputs(4, tokens=6)
    whole = model.run(inputs, {"resid_post": keep}).values["resid_post"][-1]
    shorter = model.run(inputs[:, :4], {"resid_post": keep}).values["resid_post"][-1]
    torch.testing.assert_close(whole[:, :3], shorter[:, :3], rtol=1e-12, atol=1e-13)


@each_causal
def test_only_a_mask_makes_the_order_of_a_context_matter(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    inputs = random_inputs(4, tokens=6)
    mixed = inputs[:, [2, 0, 4, 1, 3, 5]]
    moved = {
        (layers, causal): ((model(mixed) - model(inputs)) / model(inputs)).abs().max().item()
        for layers in (1, settings["n_layers"])
        for causal in (True, False)
        for model in [random_model(**{**settings, "n_layers": layers}, causal=causal)]
        if model.config.order_matters == (causal and layers > 1)
    }
    assert len(moved) == 4
    assert moved.pop((settings["n_layers"], True)) > 1e-3
    assert max(moved.values()) < 1e-12


@each_causal
def test_a_query_alone_is_predicted_and_differentiated_as_among_all_tokens(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    model, inputs = random_model(**settings, causal=True), random_inputs(4, tokens=6)
    query = inputs[:, -1:].clone().requires_grad_()
    whole = torch.cat([inputs[:, :-1], query], dim=1)
    answers = model.predict_query(inputs[:, :-1], query), model(whole)
    torch.testing.assert_close(*answers, rtol=1e-12, atol=1e-13)
    torch.testing.assert_close(
        *(torch.autograd.grad(answer.sum(), query)[0] for answer in answers), rtol=1e-12, atol=1e-13
    )


def test_a_mask_that_is_off_leaves_no_trace() -> None:
    """Of files and reports from before there was one."""
    assert "causal" not in RegressionConfig(d_in=3).as_dict()
    assert RegressionConfig(d_in=3, causal=True).as_dict()["causal"] is True
