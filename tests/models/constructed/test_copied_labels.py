"""A transformer that copies each label to its input, and then takes a step of gradient descent."""

from __future__ import annotations

import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.data.errors import TaskError
from mesascope.models import gd_transformer
from mesascope.models.constructed.copied_labels import copying_transformer


@pytest.mark.parametrize(("n_context", "d_in", "d_out"), [(6, 3, 1), (4, 2, 2), (1, 1, 1)])
def test_it_answers_as_a_step_does(n_context: int, d_in: int, d_out: int) -> None:
    inputs = LinearRegression(n_context=n_context, d_in=d_in, d_out=d_out).sample(20, 0).inputs
    found = copying_transformer(n_context, 2.0, d_in, d_out)(inputs)
    torch.testing.assert_close(found, gd_transformer(n_context, 2.0, d_in, d_out)(inputs), rtol=1e-12, atol=1e-13)


def test_it_needs_both_layers() -> None:
    inputs = LinearRegression(n_context=5, d_in=3).sample(20, 0).inputs
    model = copying_transformer(5, 2.0, 3)
    assert model.predict_layers(inputs)[0].abs().max() == 0
    with torch.no_grad():
        model.W_O[0] = 0
    assert model(inputs).abs().max() == 0


def test_each_input_attends_to_its_label_alone() -> None:
    inputs = LinearRegression(n_context=3, d_in=2).sample(1, 0).inputs
    pattern = copying_transformer(3, 2.0, 2).run(inputs, watch={"pattern": lambda a, layer: a}).values["pattern"][0]
    following = torch.zeros(7, 6, dtype=torch.float64)
    for position in range(5):
        following[position, position + 1] = 1  # neither the last label nor the query has a token behind it
    assert torch.equal(pattern[0, 0], following)


def test_fewer_pairs_are_read_too() -> None:
    inputs = LinearRegression(n_context=4, d_in=3).sample(20, 0).inputs
    found = copying_transformer(8, 2.0, 3)(inputs)
    torch.testing.assert_close(found, gd_transformer(4, 1.0, 3)(inputs), rtol=1e-12, atol=1e-13)


def test_more_pairs_than_positions_are_refused() -> None:
    with pytest.raises(TaskError, match="13 tokens; expected at most 12"):
        copying_transformer(5, 2.0, 3)(LinearRegression(n_context=6, d_in=3).sample(2, 0).inputs)
