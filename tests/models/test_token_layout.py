"""Where x and y stand in a token: written out by hand; and the same transformer with its label elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    from_transformer,
    initialise,
)
from mesascope.models.own.regression_transformer import with_label_last
from mesascope.models.token_layout import joint_layouts, layouts_apart

TASK = torch.tensor([[[1.0, 2.0, 9.0], [3.0, 4.0, 8.0], [5.0, 6.0, 0.0]]])  # two pairs [x ; y] and a query

BY_HAND = {
    ("joint", 2): [[1, 2, 9], [3, 4, 8], [5, 6, 0]],
    ("joint", 1): [[1, 9, 2], [3, 8, 4], [5, 0, 6]],
    ("joint", 0): [[9, 1, 2], [8, 3, 4], [0, 5, 6]],
    ("separate", 2): [[1, 2, 0], [0, 0, 9], [3, 4, 0], [0, 0, 8], [5, 6, 0]],
    ("separate", 0): [[0, 1, 2], [9, 0, 0], [0, 3, 4], [8, 0, 0], [0, 5, 6]],
    ("interleaved", 0): [[1, 2], [9, 0], [3, 4], [8, 0], [5, 6]],
    ("interleaved", 1): [[1, 2], [0, 9], [3, 4], [0, 8], [5, 6]],
}


@pytest.mark.parametrize(("order", "slot"), BY_HAND)
def test_tokens_are_arranged(order: Any, slot: int) -> None:
    layout = TokenLayout(2, 1, order, slot)
    assert layout.arrange(TASK).tolist() == [BY_HAND[order, slot]]
    assert layout.name == f"{order}-{slot}"


def test_what_is_not_said_is_the_papers_way() -> None:
    """von Oswald et al.: the label behind x. Garg et al., whose tokens are as wide as x: the label first."""
    assert TokenLayout(2).arrange(TASK).tolist() == [BY_HAND["joint", 2]]
    assert TokenLayout(2, order="separate").arrange(TASK).tolist() == [BY_HAND["separate", 2]]
    assert TokenLayout(2, order="interleaved").arrange(TASK).tolist() == [BY_HAND["interleaved", 0]]
    assert not TokenLayout(2).declared
    assert TokenLayout(2, order="joint").declared
    assert TokenLayout(2, label_slot=2).declared


def test_every_layout_of_a_task_is_listed_once() -> None:
    listed = [(layout.order, layout.slot) for layout in joint_layouts(2, 1) + layouts_apart(2, 1)]
    assert sorted(listed) == sorted(BY_HAND)
    assert listed[0] == ("joint", 2)
    assert [layout.name for layout in layouts_apart(1, 1)] == ["interleaved-0", "separate-1", "separate-0"]
    assert [layout.name for layout in layouts_apart(1, 2)] == ["separate-1", "separate-0"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"label_slot": 3}, "label_slot = 3; expected 0 to 2: a token is 3 wide, and a label 1"),
        ({"label_slot": -1}, "label_slot = -1; expected 0 to 2"),
        ({"label_slot": 2, "order": "interleaved"}, "label_slot = 2; expected 0 to 1: a token is 2 wide"),
    ],
)
def test_a_slot_outside_of_the_token_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("[", r"\[")):
        TokenLayout(2, **given)


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("settings", [{}, {"layer_norm": True}, {"softmax": True, "target_only": True}])
def test_a_transformer_with_its_label_elsewhere_answers_the_same(slot: int, settings: Any) -> None:
    """One layer, in NumPy, reads tokens with the label at the slot and writes the prediction there."""
    config = RegressionConfig(d_in=3, d_out=2, d_head=4, n_heads=2, **settings)
    rng = np.random.default_rng(0)
    weights = {name: rng.normal(size=shape) for name, shape in config.shapes.items()}
    model = RegressionTransformer(config, {name: torch.from_numpy(held) for name, held in weights.items()})
    tokens = rng.normal(size=(6, 5))
    layout = TokenLayout(3, 2, "joint", slot)
    placed = layout.arrange(torch.from_numpy(tokens)[None])[0].numpy()
    expected = one_layer(weights, placed, config, labels=slice(slot, slot + 2))
    read = from_transformer(model).read_as(layout)
    assert read.layout == layout
    answered = read.predict(torch.from_numpy(tokens)[None])[0].numpy()
    np.testing.assert_allclose(answered, expected, rtol=1e-12)
    np.testing.assert_allclose(
        with_label_last(model, slot).W_Q[0, 1, -2:].numpy(), weights["W_Q"][0, 1, slot : slot + 2]
    )


def one_layer(weights: Any, h: np.ndarray, config: RegressionConfig, labels: slice) -> np.ndarray:
    x = h
    if config.layer_norm:
        centred = h - h.mean(axis=1, keepdims=True)
        x = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        x = x * weights["ln_scale"][0] + weights["ln_offset"][0]
    update = np.zeros(h.shape[1])
    for head in range(config.n_heads):
        query = x[-1] @ weights["W_Q"][0, head]
        scores = x[:-1] @ weights["W_K"][0, head] @ query
        if config.softmax:
            scores = np.exp(scores / np.sqrt(config.d_head))
            scores = scores / scores.sum()
        update += scores @ x[:-1] @ weights["W_V"][0, head] @ weights["W_O"][0, head]
    return -(h[-1] + update)[labels]


def test_a_model_without_positions_cannot_read_x_and_y_apart() -> None:
    model = from_transformer(
        RegressionTransformer(
            RegressionConfig(d_in=2, d_head=3),
            {n: torch.zeros(s) for n, s in RegressionConfig(d_in=2, d_head=3).shapes.items()},
        )
    )
    with pytest.raises(ValueError, match="separate tokens; expected joint ones"):
        model.read_as(TokenLayout(2, order="separate"))
    assert [layout.name for layout in model.layouts()] == ["joint-2", "joint-0", "joint-1"]


def test_a_model_that_arranges_tokens_itself_is_read_with_the_label_behind_x_alone() -> None:
    config = RegressionConfig(d_in=2, d_head=3, token_order="interleaved", d_position=4)
    model = from_transformer(initialise(config, 1.0, torch.Generator().manual_seed(0)))
    (layout,) = model.layouts()
    assert layout.name == "joint-2"
    assert torch.equal(model.read_as(layout).predict(TASK.double()), model.predict(TASK.double()))
    with pytest.raises(ValueError, match="expected it behind x: this model has x and y in tokens of their own"):
        model.read_as(TokenLayout(2, label_slot=0))
    with pytest.raises(ValueError, match="expected joint ones: this model makes interleaved ones of them by itself"):
        model.read_as(TokenLayout(2, order="separate"))


def test_a_predictor_reads_what_it_is_given() -> None:
    """Its first number is that of the first token, whatever stands there."""
    subject = from_predictor(lambda tokens: tokens[:, 0, 0], TokenLayout(2))
    assert subject.predict(TASK).item() == 1
    assert subject.read_as(TokenLayout(2, label_slot=0)).predict(TASK).item() == 9
    assert len(subject.layouts()) == len(BY_HAND)
