"""Softmax heads that cancel: planted, absent, and free of what must not matter."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer, gd_transformer, initialise
from mesascope.models.constructed.softmax_descent import softmax_transformer
from mesascope.probes import Findings
from mesascope.probes.gd_alignment.softmax_heads import Heads, softmax_heads, softmax_of_several_heads
from mesascope.probes.regression.products import module_products

from .slow_cases import Run, cases, equal

Measured = Callable[..., Findings]
NAMES = ("head_write", "head_diagonal", "heads_cancel", "heads_off_identity")
LAW: dict[str, Any] = {"n": 30, "n_context": 6, "d_in": 3, "learning_rate": 6.0}
RATE, BETA = 3.0, 0.25


def heads_of(model: RegressionTransformer) -> Heads:
    return softmax_heads(module_products(model))


def random_heads(seed: int = 0, **settings: Any) -> RegressionTransformer:
    config = RegressionConfig(3, **({"d_head": 4, "n_heads": 3, "softmax": True} | settings))
    return initialise(config, 0.4, torch.Generator().manual_seed(seed)).double()


def changed(model: RegressionTransformer, **tensors: torch.Tensor) -> RegressionTransformer:
    return RegressionTransformer(model.config, {**dict(model.named_parameters()), **tensors})


def test_two_heads_of_opposite_directions_cancel(on_tasks: Measured) -> None:
    measures = on_tasks(softmax_transformer(RATE, BETA, 3), **LAW).measures
    write = RATE / (2 * BETA)
    np.testing.assert_allclose(measures["head_write"].values, [[-write, write]], rtol=1e-12)
    np.testing.assert_allclose(measures["head_diagonal"].values, [[BETA, -BETA]], rtol=1e-12)
    np.testing.assert_allclose(measures["heads_cancel"].values, [0], atol=1e-12)
    np.testing.assert_allclose(measures["heads_off_identity"].values, [0], atol=1e-12)


def test_heads_of_one_sign_do_not_cancel_and_a_part_is_found_at_its_size() -> None:
    model = softmax_transformer(RATE, BETA, 3)
    one_way = changed(model, W_O=model.W_O * torch.tensor([1.0, -1.0])[None, :, None, None])
    assert heads_of(one_way).heads_cancel == pytest.approx([1])
    part = changed(model, W_O=model.W_O * torch.tensor([1.0, 0.5])[None, :, None, None])
    assert heads_of(part).heads_cancel == pytest.approx([1 / 3])
    assert heads_of(part).heads_off_identity == pytest.approx([0])


def test_a_turned_head_is_off_the_identity_by_the_closed_form() -> None:
    """Scores of one head about an axis turned by an angle φ: S is proportional to 1 + R, in a plane of three axes."""
    angle = 0.7
    turn = torch.eye(4, dtype=torch.float64)
    turn[:2, :2] = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    model = softmax_transformer(RATE, BETA, 3)
    W_K = model.W_K.detach().clone()
    W_K[0, 1] = turn @ W_K[0, 1]
    S = np.eye(3) + turn[:3, :3].numpy().T
    expected = math.sqrt(1 - np.trace(S) ** 2 / 3 / (S**2).sum())
    assert heads_of(changed(model, W_K=W_K)).heads_off_identity == pytest.approx([expected], rel=1e-12)


def test_an_entry_for_the_label_is_outside_of_the_block_that_is_compared() -> None:
    model = softmax_transformer(RATE, BETA, 3)
    W_K = model.W_K.detach().clone()
    W_K[0, 0, 3] = 2.0
    assert heads_of(changed(model, W_K=W_K)).heads_off_identity == pytest.approx([0], abs=1e-12)


def test_heads_are_as_numpy_loops_say() -> None:
    model = random_heads(n_layers=2, tied=False, d_out=2)
    found, weights = heads_of(model), {name: w.detach().numpy() for name, w in model.named_parameters()}
    for layer in range(2):
        S, writes = np.zeros((3, 3)), []
        for head in range(3):
            W_Q, W_K, W_V, W_O = (weights[name][layer, head] for name in ("W_Q", "W_K", "W_V", "W_O"))
            writes.append(np.mean([W_V[y] @ W_O[:, y] for y in (3, 4)]))
            assert found.head_write[layer, head] == pytest.approx(writes[-1], rel=1e-12)
            scores = [[W_Q[i] @ W_K[j] / math.sqrt(4) for j in range(3)] for i in range(3)]
            assert found.head_diagonal[layer, head] == pytest.approx(np.mean([scores[i][i] for i in range(3)]))
            S += writes[-1] * np.array(scores)
        assert found.heads_cancel[layer] == pytest.approx(abs(sum(writes)) / sum(map(abs, writes)))
        off = S - np.trace(S) / 3 * np.eye(3)
        assert found.heads_off_identity[layer] == pytest.approx(np.linalg.norm(off) / np.linalg.norm(S))


@cases(lambda case: bool(case.model.get("softmax")))
def test_the_products_of_a_file_are_in_the_report(run: Run) -> None:
    for head, (W_Q, W_K, W_V, W_O) in enumerate(run.model.layers[0]):
        equal(run.findings.arrays["KQ"][0, head], W_Q @ W_K.T)
        equal(run.findings.arrays["PV"][0, head], W_V @ W_O)
        equal(run.findings.measures["head_write"].values[0, head], (W_V @ W_O)[-1, -1])


def test_the_order_of_heads_and_inputs_and_a_basis_within_heads_do_not_matter() -> None:
    model, rng = random_heads(), torch.Generator().manual_seed(3)
    before, moved = heads_of(model), [2, 0, 1]
    basis = torch.randn(3, 4, 4, dtype=torch.float64, generator=rng) + 2 * torch.eye(4, dtype=torch.float64)
    inverse = torch.linalg.inv(basis)
    coordinates = [1, 2, 0, 3]
    same = changed(
        model,
        W_Q=(model.W_Q @ basis)[:, moved][:, :, coordinates],
        W_K=(model.W_K @ inverse.mT)[:, moved][:, :, coordinates],
        W_V=(model.W_V @ basis)[:, moved][:, :, coordinates],
        W_O=(inverse @ model.W_O)[:, moved][..., coordinates],
    )
    after = heads_of(same)
    for name in ("head_write", "head_diagonal"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name)[:, moved], rtol=1e-9)
    for name in ("heads_cancel", "heads_off_identity"):
        np.testing.assert_allclose(getattr(after, name), getattr(before, name), rtol=1e-9)


def test_the_scale_of_scores_is_no_gauge() -> None:
    model = random_heads()
    louder = heads_of(changed(model, W_Q=model.W_Q * 2, W_O=model.W_O / 2))
    np.testing.assert_allclose(louder.head_diagonal, 2 * heads_of(model).head_diagonal)
    np.testing.assert_allclose(louder.head_write, heads_of(model).head_write / 2)


def test_heads_that_write_nothing_have_no_shares_and_the_report_says_so(on_tasks: Measured) -> None:
    silent = changed(model := softmax_transformer(RATE, BETA, 3), W_O=torch.zeros_like(model.W_O))
    measures = on_tasks(silent, **LAW).measures
    assert measures["heads_cancel"].status == measures["heads_off_identity"].status == "undefined"
    assert "all of the entries are 0" in measures["heads_cancel"].message
    np.testing.assert_array_equal(measures["head_write"].values, [[0, 0]])


@pytest.mark.usefixtures("all_nulls")
def test_untrained_heads_neither_cancel_nor_have_the_identity(on_tasks: Measured) -> None:
    measures = on_tasks(softmax_transformer(RATE, BETA, 3), **LAW).measures
    for name, shape in dict(zip(NAMES, ((50, 1, 2),) * 2 + ((50, 1),) * 2, strict=True)).items():
        assert measures[name].nulls["untrained"].shape == shape
    assert measures["heads_cancel"].nulls["untrained"].mean() > 0.4
    assert measures["heads_off_identity"].nulls["untrained"].min() > 0.3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"n_heads": 1}, "one softmax head"),
        ({"layer_norm": True}, "layer norm"),
        ({"mlp": "shared"}, "MLPs"),
        ({"d_position": 2}, "position codes"),
        ({"softmax": False}, "linear attention"),
    ],
)
def test_other_models_are_told_why(settings: dict[str, Any], reason: str) -> None:
    found = softmax_of_several_heads(from_transformer(random_heads(**settings)))
    assert reason in found.reason  # type: ignore[union-attr]


def test_linear_heads_have_no_such_measures(on_tasks: Measured) -> None:
    measures = on_tasks(gd_transformer(6, 6.0, 3), **LAW).measures
    assert {measures[name].status for name in NAMES} == {"not applicable"}
