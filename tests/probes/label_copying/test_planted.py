"""Written models: copying is found where it is, and not where one part of it is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionTransformer

N, D = 5, 3
Found = Callable[..., Any]
Planted = Callable[[], RegressionTransformer]


def test_written_copying_is_found(planted: Planted, copied: Found) -> None:
    found = copied(planted())
    assert found.standing.called == "copies"
    assert found["first_layer_score"].estimate == found["prefix_matching_score"].values[0, 0] == 1
    assert found["next_attention"].values[0, 0] == 1
    assert (found.to("own"), found.to("next")) == pytest.approx((np.sqrt(D + 1), 1.0))
    assert found["next_over_own"].estimate == pytest.approx(1 / np.sqrt(D + 1))
    assert found.to("other") == pytest.approx(1 / (2 * N - 1))
    assert found.to("other_without_next") == 0
    assert found.loss("without_copies") == pytest.approx(found.loss("zero"), rel=1e-12)
    assert found.loss("ablated") == pytest.approx(found.loss("zero"), rel=1e-12)
    assert found.loss("copies_only") == pytest.approx(found.loss("model"), rel=1e-12)
    assert found.claim.badge == "Copies labels"


def test_a_step_at_the_tuned_rate_has_its_loss(planted: Planted, copied: Found) -> None:
    rate = copied(planted())["learning_rate"].estimate
    module = planted()
    with torch.no_grad():
        module.W_O[1] *= rate / 4.0
    found = copied(module)
    assert found.loss("model") == pytest.approx(found.loss("gd"), rel=1e-12)
    assert abs(found["loss_gap"].sel(candidate="model").estimate) < 1e-12
    assert found.standing.beside == "same"


def moved(module: RegressionTransformer, by: int) -> RegressionTransformer:
    """The first layer attends to the token so far after each one, instead of the next."""
    codes = D + 1 + torch.arange(2 * N + 1)
    with torch.no_grad():
        module.W_Q[0] = 0
        pairs = [(query, query + by) for query in range(2 * N + 1) if 0 <= query + by < 2 * N]
        for query, key in pairs:
            module.W_Q[0, 0, codes[query], codes[key]] = 1.0
    return module


@pytest.mark.parametrize("by", [0, 2, 3, -1])
def test_attention_to_another_token_is_no_copying(by: int, planted: Planted, copied: Found) -> None:
    """Its own, the next x, the next pair's label, the one before: none of these is its label."""
    found = copied(moved(planted(), by))
    assert found.standing.called == "none"
    assert found["first_layer_score"].estimate == 0
    assert found.to("next") == 0
    assert found.claim.badge == "No label copying"


def test_attention_that_writes_nothing_is_no_copying(planted: Planted, copied: Found) -> None:
    module = planted()
    with torch.no_grad():
        module.W_O[0] = 0
    found = copied(module)
    assert found.standing.called == "attends"
    assert found["first_layer_score"].estimate == 1
    assert found.to("next") == 0
    assert found.loss("without_copies") == found.loss("model")
    assert found.claim.badge == "Attends to labels, does not copy them"


def test_copies_that_are_not_read_are_not_needed(planted: Planted, copied: Found) -> None:
    module = planted()
    with torch.no_grad():
        module.W_O[1] = 0
    found = copied(module)
    assert found.standing.called == "unused"
    assert found.standing.beside == "zero"
    assert found.claim.badge == "Copies labels that it does not need"


def test_copies_beside_much_other_attention_are_copies_in_part(planted: Planted, copied: Found) -> None:
    """As much attention to every x token, which holds no label: it adds nothing, and is most of all attention."""
    module = planted()
    codes = D + 1 + torch.arange(2 * N + 1)
    with torch.no_grad():
        module.W_Q[0, 0, codes[:, None], codes[None, 0 : 2 * N : 2]] = 1.0
    found = copied(module)
    assert found["first_layer_score"].estimate == pytest.approx(1 / (N + 1))
    assert found.loss("model") == pytest.approx(copied(planted()).loss("model"), rel=1e-12)
    assert found.standing.needed
    assert not found.standing.attends
    assert found.standing.called == "in part"
    assert found.claim.badge == "Copies labels in part"


@pytest.mark.parametrize("order", ["interleaved", "separate"])
def test_untrained_models_do_not_copy(order: str, random_model: Found, copied: Found) -> None:
    found = copied(random_model(0.01, token_order=order))
    assert found.standing.called == "none"
    assert found["first_layer_score"].estimate == pytest.approx(1 / (2 * N), rel=0.01)
    assert found["next_over_own"].estimate < 0.01


def test_softmax_attention_copies_too(planted: Planted, copied: Found) -> None:
    """A large score at the next token: what is left of 1 goes elsewhere."""
    module = planted()
    weights = {name: held.clone() for name, held in module.named_parameters()}
    weights["W_Q"][0] *= 8 * np.sqrt(module.config.d_head)
    soft = RegressionTransformer(replace(module.config, softmax=True, linear_from=1), weights)
    found = copied(soft)
    expected = np.exp(8) / (np.exp(8) + 2 * N - 1)
    assert found["first_layer_score"].estimate == pytest.approx(expected, rel=1e-9)
    assert found["next_attention"].values[0, 0] == pytest.approx(expected, rel=1e-9)
    assert found.to("next") == pytest.approx(expected, rel=1e-9)
    assert found.standing.called == "copies"
    assert found["next_attention"].nulls["even attention"][0, 0, 0] == 1 / (2 * N)
    assert np.isnan(found["next_attention"].nulls["even attention"][0, 1, 0])


# -- what must not matter ----------------------------------------------------------------------------------------------


def test_gauge_and_batch_size_do_not_matter(planted: Planted, copied: Found) -> None:
    module = planted()
    with torch.no_grad():
        for one, other in (("W_Q", "W_K"), ("W_V", "W_O")):
            module.get_parameter(one).mul_(3)
            module.get_parameter(other).div_(3)
    one, other = copied(planted()), copied(module, batch_size=7)
    for name in ("prefix_matching_score", "next_attention", "copy_sensitivity", "loss", "loss_gap"):
        np.testing.assert_allclose(one[name].values, other[name].values, rtol=1e-10, atol=1e-12, err_msg=name)


def test_a_head_that_does_nothing_does_not_matter(planted: Planted, copied: Found) -> None:
    """Wherever it stands among the heads."""
    module = planted()
    idle = {name: torch.zeros_like(held) for name, held in module.named_parameters()}
    heads = {name: torch.cat([idle[name], held], dim=1) for name, held in module.named_parameters()}
    two = copied(RegressionTransformer(replace(module.config, n_heads=2), heads))
    one = copied(planted())
    assert two["prefix_matching_score"].values[0].tolist() == [0, 1]
    assert two["first_layer_score"].estimate == one["first_layer_score"].estimate
    assert "head 1" in two["first_layer_score"].message
    for name in ("copy_sensitivity", "loss"):
        np.testing.assert_allclose(two[name].values, one[name].values, rtol=1e-12, atol=1e-14)


def test_a_model_of_negative_answers_is_turned(planted: Planted, copied: Found) -> None:
    module = planted()
    with torch.no_grad():
        module.W_O[1] *= -1
    found, plain = copied(module), copied(planted())
    assert found["readout_sign"].estimate == -1
    assert found.claim.found.startswith("Sign turned. The first layer copies labels")
    np.testing.assert_allclose(found["loss"].values, plain["loss"].values, rtol=1e-12)


def test_the_losses_are_those_of_tasks_in_numpy(planted: Planted, copied: Found) -> None:
    found = copied(planted())
    recipe = found.findings.recipes["evaluation"]
    tasks = LinearRegression(**recipe.settings).sample(recipe.n, recipe.seed)
    errors = {"model": [], "gd": [], "zero": []}
    for task, target in zip(tasks.inputs.double().numpy(), tasks.targets.double().numpy()[:, 0], strict=True):
        step = np.sum(task[:-1, D] * (task[:-1, :D] @ task[-1, :D])) / N
        for name, answer in (("model", 4.0 * step), ("gd", found["learning_rate"].estimate * step), ("zero", 0.0)):
            errors[name].append(0.5 * (target - answer) ** 2)
    for name, held in errors.items():
        assert found.loss(name) == pytest.approx(np.mean(held), rel=1e-5), name
    gap = np.mean(errors["model"]) / np.mean(errors["gd"]) - 1
    assert found["loss_gap"].sel(candidate="model").estimate == pytest.approx(gap, rel=1e-4)


def test_nulls_are_untrained_models_beside_the_same_step_on_their_own_tasks(planted: Planted, copied: Found) -> None:
    found = copied(planted())
    recipe = found.findings.recipes["nulls"]
    tasks = LinearRegression(**recipe.settings).sample(recipe.n, recipe.seed)[:100]
    X, y = tasks.inputs[:, :-1, :D].double().numpy(), tasks.inputs[:, :-1, D].double().numpy()
    step = np.einsum("tnd,tn,td->t", X, y, tasks.inputs[:, -1, :D].double().numpy()) / N
    target = tasks.targets[:, 0].double().numpy()
    expected = np.mean(0.5 * (found["learning_rate"].estimate * step - target) ** 2)
    loss, gap, rise = (found[name].sel(candidate="ablated").nulls["untrained"] for name in
                       ("loss", "loss_gap", "loss_rise"))  # fmt: skip
    assert len(loss) == 2
    np.testing.assert_allclose(gap, loss / expected - 1, rtol=1e-9)
    whole = found["loss"].sel(candidate="model").nulls["untrained"]
    np.testing.assert_allclose(rise, (loss - whole) / expected, rtol=1e-9)
    following, own = (found["copy_sensitivity"].sel(to=kind).nulls["untrained"] for kind in ("next", "own"))
    np.testing.assert_allclose(found["next_over_own"].nulls["untrained"], following / own, rtol=1e-12)
