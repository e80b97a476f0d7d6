"""Planted heads do exactly what they claim, read off the model's own attention patterns, and nothing else does."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from mesascope.models.constructed.induction import (
    ANTI_INDUCTION,
    BOS,
    CURRENT_TOKEN,
    DUPLICATE_TOKEN,
    FIRST_TOKEN,
    INDUCTION,
    PREVIOUS_TOKEN,
    SILENT,
    PlantedHead,
    in_memory,
    induction_circuit,
    near_misses,
    planted_model,
)
from mesascope.models.own.attention_only import AttentionOnlyModel
from torch import Tensor

S = 20
D_VOCAB = 30


def repeated(period: int = S, n: int = 5, repeats: int = 2) -> Tensor:
    """[BOS] + r + r …, the tokens of r distinct."""
    rng = torch.Generator().manual_seed(0)
    r = torch.stack([1 + torch.randperm(D_VOCAB - 1, generator=rng)[:period] for _ in range(n)])
    return torch.cat([torch.full((n, 1), BOS), *[r] * repeats], dim=1)


def patterns(model: AttentionOnlyModel, tokens: Tensor) -> list[Tensor]:
    return model.run(tokens, watch={"pattern": lambda pattern, layer: pattern}).values["pattern"]


def on_diagonal(pattern: Tensor, offset: int, start: int) -> Tensor:
    """Attention of every query from `start` on to the key `offset` before it, of one head [batch pos pos]."""
    return pattern.diagonal(-offset, dim1=-2, dim2=-1)[..., start - offset :]


def stripe(model: AttentionOnlyModel, head: int, shift: int = 0, period: int = S) -> Tensor:
    """Attention of the second repeat's queries to the token `shift` after the one that an induction head attends to."""
    return on_diagonal(patterns(model, repeated(period))[1][:, head], period - 1 - shift, period + 1)


def losses(model: AttentionOnlyModel, tokens: Tensor) -> Tensor:
    """[batch pos]: the loss of predicting token 1, 2, …"""
    return -model.logits(tokens)[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]


@pytest.mark.parametrize("period", [2, 7, S, D_VOCAB - 1])
def test_the_circuit_attends_to_what_followed_whatever_the_period(period: int) -> None:
    model = induction_circuit()
    assert (1 - stripe(model, 0, period=period)).abs().max() < 1e-6
    previous = patterns(model, repeated(period))[0][:, 0]
    assert (1 - on_diagonal(previous, 1, 1)).abs().max() < 1e-6
    assert (previous[:, 0, 0] == 1).all()


def test_the_circuit_predicts_the_second_repeat_and_knows_nothing_in_the_first() -> None:
    loss = losses(induction_circuit(), repeated())
    torch.testing.assert_close(loss[:, :S], torch.full_like(loss[:, :S], math.log(D_VOCAB - 1)), atol=1e-6, rtol=0)
    # the query at position S is the last of the first repeat: what follows it has not been seen yet
    assert loss[:, S] == pytest.approx(math.log(D_VOCAB - 1), abs=1e-6)
    assert loss[:, S + 1 :].max() < 1e-6


def test_it_takes_the_latest_prefix_over_three_repeats() -> None:
    pattern = patterns(induction_circuit(), repeated(10, repeats=3))[1][:, 0]
    both = on_diagonal(pattern, 9, 21) + on_diagonal(pattern, 19, 21)
    assert (1 - both).abs().max() < 1e-6  # both earlier occurrences, half each
    assert on_diagonal(pattern, 9, 21).sub(0.5).abs().max() < 1e-6


def test_without_repeats_the_head_rests_on_bos() -> None:
    tokens = repeated()[:, : S + 1]
    assert (1 - patterns(induction_circuit(), tokens)[1][:, 0, :, BOS]).abs().max() < 1e-6


@pytest.mark.parametrize("shift", [-1, 1])
def test_a_shifted_circuit_attends_beside_the_stripe(shift: int) -> None:
    model = induction_circuit(shift)
    assert stripe(model, 0).max() < 1e-6
    assert (1 - stripe(model, 0, shift)[..., 1:]).abs().max() < 1e-6
    assert losses(model, repeated())[:, S + 1 :].min() > 5  # it predicts another token


def test_near_misses_are_what_they_are_called() -> None:
    offset, duplicate, anti, noise = range(4)
    model, other = near_misses(S), S - 6
    assert (1 - stripe(model, offset)).abs().max() < 1e-6
    assert stripe(model, offset, period=other).max() < 1e-6  # the peak does not move with the period
    assert (1 - stripe(model, duplicate, -1)).abs().max() < 1e-6
    assert stripe(model, duplicate).max() < 1e-6
    assert (1 - stripe(model, anti)).abs().max() < 1e-6
    assert stripe(model, noise).mean() < 0.2


@pytest.mark.parametrize(("head", "sign"), [(INDUCTION, 1), (ANTI_INDUCTION, -1), (DUPLICATE_TOKEN, 1), (SILENT, 0)])
def test_what_a_head_does_to_the_token_it_attends_to(head: PlantedHead, sign: int) -> None:
    model = planted_model([PREVIOUS_TOKEN], [head])
    weights = model.weights()
    OV = weights.W_V[1, 0] @ weights.W_O[1, 0]
    effect = model.module.W_E @ OV @ model.module.W_U
    torch.testing.assert_close(effect, 20.0 * sign * torch.eye(D_VOCAB, dtype=torch.float64))


def test_an_anti_copying_head_makes_the_right_token_the_least_likely() -> None:
    tokens = repeated()
    anti = planted_model([PREVIOUS_TOKEN], [ANTI_INDUCTION]).logits(tokens)[:, S + 1 : -1]
    assert (anti[..., 1:].argmin(-1) + 1 == tokens[:, S + 2 :]).all()


def test_previous_current_and_first() -> None:
    heads = [PREVIOUS_TOKEN, CURRENT_TOKEN, FIRST_TOKEN]
    first, second = patterns(planted_model(heads, [INDUCTION]), repeated())
    for head, offset in enumerate((1, 0)):
        assert (1 - on_diagonal(first[:, head], offset, offset)).abs().max() < 1e-6
    assert (1 - first[:, 2, :, BOS]).abs().max() < 1e-6
    assert (1 - second[:, 1:, :, BOS]).abs().max() < 1e-6  # the heads that fill the second layer up


def test_the_random_head_has_the_scale_of_an_induction_head() -> None:
    weights = planted_model([PREVIOUS_TOKEN], [INDUCTION, PlantedHead(noise=3)]).weights()
    for W in (weights.W_Q[1], weights.W_K[1]):
        torch.testing.assert_close(W[1].norm(), W[0].norm())
        assert (W[1] != 0).all()


def changed(model: AttentionOnlyModel, name: str, change: Any) -> AttentionOnlyModel:
    parameters = {key: value.detach().clone() for key, value in model.module.named_parameters()}
    parameters[name] = change(parameters[name])
    return in_memory(model.config, parameters, "changed")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("W_Q", lambda W: W.roll(1, dims=-1)),
        ("W_K", lambda W: -W),
        ("W_pos", lambda W: W.flip(0)),
        ("W_O", lambda W: torch.cat([torch.zeros_like(W[:1]), W[1:]])),
        ("W_V", lambda W: W.roll(1, dims=-1)),
        ("W_U", lambda W: -W),
    ],
)  # fmt: skip
def test_a_change_of_any_part_breaks_the_circuit(name: str, change: Any) -> None:
    broken = changed(induction_circuit(), name, change)
    assert losses(broken, repeated())[:, S + 1 :].mean() > 2


def test_the_same_circuit_is_the_same_model() -> None:
    one, again = induction_circuit(), induction_circuit()
    other = planted_model([PREVIOUS_TOKEN], [replace(INDUCTION, copies=2.0)])
    assert one.source.weights_sha256 == again.source.weights_sha256 != other.source.weights_sha256
    assert one.bos == BOS
