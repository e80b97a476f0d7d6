"""Recipes, digests and seeds: the same inputs have the same name, other inputs another."""

from __future__ import annotations

import json
import math

import pytest
import torch
from mesascope.data import Batch, Recipe
from mesascope.data.batch import generator, tensors_sha256
from mesascope.data.recipe import canonical_json, named_seed

RECIPE = Recipe("family", {"b": 1, "a": 2.0}, 0, 3, "digest")


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": [1, 2.5], "a": None}) == canonical_json({"a": None, "b": [1, 2.5]})
    assert canonical_json({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_canonical_json_holds_no_invalid_number(value: float) -> None:
    with pytest.raises(ValueError):
        canonical_json({"a": value})


def test_a_recipe_is_plain_json() -> None:
    assert json.loads(canonical_json(RECIPE.as_dict())) == {
        "family": "family",
        "settings": {"a": 2.0, "b": 1},
        "seed": 0,
        "n": 3,
        "sha256": "digest",
    }


def test_digest_sees_one_bit_the_shape_the_type_and_the_order() -> None:
    x, y = torch.arange(6.0, dtype=torch.float64), torch.ones(2, dtype=torch.float64)
    flipped = x.clone()
    flipped.view(torch.int64)[3] ^= 1
    variants = [(x, y), (flipped, y), (x.reshape(2, 3), y), (x.float(), y), (y, x), (x,), (x, y, y)]
    assert len({tensors_sha256(*tensors) for tensors in variants}) == len(variants)


def test_digest_does_not_see_strides_or_gradients() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    assert tensors_sha256(x) == tensors_sha256(x.T.contiguous().T) == tensors_sha256(x.clone().requires_grad_())


def test_a_named_seed_is_the_same_forever() -> None:
    """Reports carry seeds: a change here changes what every old report drew."""
    assert named_seed(0, "regression") == 1369026710264303923
    assert named_seed(0, "nulls", 7) == 8715226840113006185


def test_named_seeds_of_different_purposes_differ() -> None:
    purposes = [(0,), (0, "a"), (0, "b"), (1, "a"), (0, "a", "b"), (0, "ab"), (0, "a", 1), (0, "a", "1"), (10, "a")]
    seeds = [named_seed(seed, *names) for seed, *names in purposes]
    assert len(set(seeds)) == len(purposes)
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = [torch.rand(50, generator=generator(seed, *names), dtype=torch.float64) for seed, *names in purposes]
    assert len(torch.cat(draws).unique()) == 50 * len(purposes)


def test_a_generator_leaves_the_global_one_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=generator(0, "regression"))
    assert torch.equal(before, torch.get_rng_state())


def test_a_slice_keeps_inputs_beside_their_targets_under_the_recipe_of_the_whole() -> None:
    batch = Batch(torch.arange(12.0).reshape(3, 2, 2), torch.arange(3.0)[:, None], RECIPE)
    part = batch[1:3]
    assert len(batch) == 3
    assert len(part) == 2
    assert part.inputs[0].tolist() == [[4.0, 5.0], [6.0, 7.0]]
    assert part.targets[:, 0].tolist() == [1.0, 2.0]
    assert part.recipe is RECIPE


def test_casting_changes_type_and_nothing_else() -> None:
    batch = Batch(torch.rand(3, 2, 2, dtype=torch.float64), torch.rand(3, 1, dtype=torch.float64), RECIPE)
    cast = batch.to(torch.device("cpu"), torch.float32)
    assert cast.inputs.dtype == cast.targets.dtype == torch.float32
    assert batch.inputs.dtype == torch.float64
    assert torch.equal(cast.inputs, batch.inputs.float())
    assert cast.recipe is RECIPE


def test_as_many_targets_as_inputs() -> None:
    with pytest.raises(TypeError):
        Batch(torch.zeros(3, 2, 2), torch.zeros(4, 1), RECIPE)
