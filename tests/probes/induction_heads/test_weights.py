"""Copying and composition by weights: against the products multiplied out, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.models.norms import Norm, NormKind
from mesascope.probes.induction_heads.weights import (
    composition_scores,
    folded_output,
    ov_copying_score,
    ov_top1_share,
    rotated_composition_scores,
    vocabulary_product,
)
from torch import Tensor

D_MODEL, D_HEAD, D_VOCAB, HEADS = 10, 3, 17, 4


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def heads() -> dict[str, Tensor]:
    return {
        "W_V": normal(HEADS, D_MODEL, D_HEAD, seed=1),
        "W_O": normal(HEADS, D_HEAD, D_MODEL, seed=2),
        "W_Q": normal(HEADS, D_MODEL, D_HEAD, seed=3),
        "W_K": normal(HEADS, D_MODEL, D_HEAD, seed=4),
        "W_E": normal(D_VOCAB, D_MODEL, seed=5),
        "W_U": normal(D_MODEL, D_VOCAB, seed=6),
    }


def full_circuit(heads: dict[str, Tensor], head: int) -> np.ndarray:
    """W_E W_V W_O W_U multiplied out, vocabulary squared; logits with their mean taken out."""
    logits = (heads["W_E"] @ heads["W_V"][head] @ heads["W_O"][head] @ heads["W_U"]).numpy()
    return logits - logits.mean(axis=1, keepdims=True)


def test_a_head_that_copies_scores_one_and_one_that_anti_copies_minus_one() -> None:
    W_E, W_V = torch.eye(D_MODEL, dtype=torch.float64), normal(1, D_MODEL, D_HEAD)
    W_O = torch.linalg.pinv(W_V)  # W_V W_O projects: tokens come out as far as they fit through d_head
    product = vocabulary_product(W_E, W_E)
    assert ov_copying_score(W_V, W_O, product).item() == pytest.approx(1.0, abs=1e-12)
    assert ov_copying_score(W_V, -W_O, product).item() == pytest.approx(-1.0, abs=1e-12)


def test_a_head_that_writes_the_next_token_does_not_copy() -> None:
    """The eigenvalues of a cyclic shift are the roots of unity; 1 goes with the mean over the vocabulary."""
    every = torch.eye(D_MODEL, dtype=torch.float64)
    score = ov_copying_score(every[None], every[None], vocabulary_product(every.roll(1, dims=0), every))
    assert score.item() == pytest.approx(-1 / (D_MODEL - 1), abs=1e-9)


def test_the_score_is_that_of_the_whole_circuit(heads: dict[str, Tensor]) -> None:
    found = ov_copying_score(heads["W_V"], heads["W_O"], vocabulary_product(heads["W_U"], heads["W_E"]))
    for head in range(HEADS):
        eigenvalues = np.linalg.eigvals(full_circuit(heads, head))
        assert found[head].item() == pytest.approx(eigenvalues.real.sum() / np.abs(eigenvalues).sum(), abs=1e-6)


def test_blocks_of_the_vocabulary_add_up(heads: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vocabulary_product(heads["W_U"], heads["W_E"])
    tokens = torch.tensor([16, 0, 5])
    parts = {name: heads[name] for name in ("W_V", "W_O", "W_U")}
    share = ov_top1_share(heads["W_E"][tokens], tokens, **parts)
    monkeypatch.setattr("mesascope.probes.induction_heads.weights._BLOCK", 5)
    assert torch.allclose(vocabulary_product(heads["W_U"], heads["W_E"]), whole)
    assert torch.equal(ov_top1_share(heads["W_E"][tokens], tokens, **parts), share)


def test_a_head_that_writes_nothing_readable_has_no_score(heads: dict[str, Tensor]) -> None:
    product = vocabulary_product(heads["W_U"], heads["W_E"])
    assert torch.isnan(ov_copying_score(heads["W_V"], torch.zeros_like(heads["W_O"]), product)).all()
    unread = torch.linalg.svd(heads["W_U"][:, :4], full_matrices=True).U[:, 4:].mT[None, :D_HEAD]
    narrow = vocabulary_product(heads["W_U"][:, :4], heads["W_E"][:4])  # rounding leaves 1e-16, which is no score
    assert torch.isnan(ov_copying_score(heads["W_V"][:1], unread, narrow)).all()


def test_top1_share_by_rows(heads: dict[str, Tensor]) -> None:
    heads["W_E"][3:9] += 4 * heads["W_U"].mT[3:9]
    heads["W_O"][0] = torch.linalg.pinv(heads["W_V"][0])
    tokens = torch.arange(D_VOCAB)
    found = ov_top1_share(heads["W_E"], tokens, heads["W_V"], heads["W_O"], heads["W_U"])
    expected = [(full_circuit(heads, head).argmax(axis=1) == tokens.numpy()).mean() for head in range(HEADS)]
    assert np.array_equal(found.numpy(), expected)
    assert 0 < found[0] < 1
    some = torch.tensor([8, 3])
    of_some = ov_top1_share(heads["W_E"][some], some, heads["W_V"], heads["W_O"], heads["W_U"])
    assert of_some[0].item() == np.mean([full_circuit(heads, 0)[t].argmax() == t for t in (8, 3)])


def test_a_tie_is_not_the_largest() -> None:
    zeros = torch.zeros(1, D_MODEL, D_HEAD), torch.zeros(1, D_HEAD, D_MODEL)
    assert ov_top1_share(torch.ones(2, D_MODEL), torch.tensor([0, 1]), *zeros, torch.ones(D_MODEL, 5)).item() == 0.0


@pytest.mark.parametrize("kind", ["layer", "rms", "none"])
def test_folding_the_final_norm_gives_its_linear_part(heads: dict[str, Tensor], kind: NormKind) -> None:
    norm = Norm(kind, None if kind == "none" else 1 + 0.3 * normal(D_MODEL, seed=9), None, 1e-6)
    z, state = normal(6, D_HEAD, seed=7), normal(6, D_MODEL, seed=8)
    mine = z @ folded_output(heads["W_O"], norm)[0] / norm.spread(state)[:, None]
    assert torch.allclose(mine, norm.linear(z @ heads["W_O"][0], state))


def test_the_same_added_to_every_logit_changes_no_score(heads: dict[str, Tensor]) -> None:
    before = ov_copying_score(heads["W_V"], heads["W_O"], vocabulary_product(heads["W_U"], heads["W_E"]))
    moved = heads["W_U"] + 3 * normal(D_MODEL, 1, seed=30)
    after = ov_copying_score(heads["W_V"], heads["W_O"], vocabulary_product(moved, heads["W_E"]))
    assert torch.allclose(before, after)


@pytest.mark.parametrize("kind", ["Q", "K", "V"])
def test_composition_is_the_ratio_of_norms_multiplied_out(heads: dict[str, Tensor], kind: str) -> None:
    later = {"W_V": normal(2, D_MODEL, 5, seed=11), "W_O": normal(2, 5, D_MODEL, seed=12)}
    later |= {"W_Q": normal(2, D_MODEL, 5, seed=13), "W_K": normal(2, D_MODEL, 5, seed=14)}
    left, right = {
        "Q": (later["W_Q"], later["W_K"].mT),
        "K": (later["W_K"], later["W_Q"].mT),
        "V": (later["W_V"], later["W_O"]),
    }[kind]
    found = composition_scores(heads["W_V"], heads["W_O"], left, right)
    for one in range(HEADS):
        for other in range(2):
            L, R = heads["W_V"][one] @ heads["W_O"][one], left[other] @ right[other]
            expected = (L @ R).norm() / (L.norm() * R.norm())
            assert found[one, other].item() == pytest.approx(expected.item(), rel=1e-9)


def test_composition_does_not_see_the_gauge(heads: dict[str, Tensor]) -> None:
    """Turning the stream under both heads, and any basis of d_head, change nothing; turning it under one does."""
    W_V, W_O, W_K, W_Q = (heads[name] for name in ("W_V", "W_O", "W_K", "W_Q"))
    before = composition_scores(W_V, W_O, W_K, W_Q.mT)
    turn, basis = torch.linalg.qr(normal(D_MODEL, D_MODEL, seed=20)).Q, normal(D_HEAD, D_HEAD, seed=21)
    after = composition_scores(turn.mT @ W_V @ basis, basis.inverse() @ W_O @ turn, turn.mT @ W_K, W_Q.mT @ turn)
    assert torch.allclose(before, after)
    assert not torch.allclose(before, composition_scores(W_V, W_O @ turn, W_K, W_Q.mT), atol=0.05)


def test_random_rotations_have_the_expected_mean_square(heads: dict[str, Tensor]) -> None:
    left, right = heads["W_K"], heads["W_Q"].mT
    arguments = (heads["W_V"], heads["W_O"], left, right)
    found = rotated_composition_scores(*arguments, draws=3000, rng=torch.Generator().manual_seed(0))
    assert found.shape == (3000, HEADS, HEADS)
    assert torch.allclose(found.square().mean(dim=0), torch.full((HEADS, HEADS), 1 / D_MODEL).double(), rtol=0.05)
    narrow = rotated_composition_scores(*arguments, 3000, torch.Generator().manual_seed(0), width=D_MODEL - 1)
    assert narrow.square().mean().item() == pytest.approx(1 / (D_MODEL - 1), rel=0.03)


def test_random_rotations_are_distributed_as_rotations_multiplied_out(heads: dict[str, Tensor]) -> None:
    arguments = (heads["W_V"][:1], heads["W_O"][:1], heads["W_K"][:1], heads["W_Q"][:1].mT)
    found = rotated_composition_scores(*arguments, 2000, torch.Generator().manual_seed(1)).flatten()
    L, R = arguments[0][0] @ arguments[1][0], arguments[2][0] @ arguments[3][0]
    turns = torch.linalg.qr(normal(2000, D_MODEL, D_MODEL, seed=2)).Q
    slow = (L @ turns @ R).norm(dim=(1, 2)) / (L.norm() * R.norm())
    quantiles = torch.tensor([0.05, 0.5, 0.95], dtype=torch.float64)
    assert torch.allclose(found.quantile(quantiles), slow.quantile(quantiles), atol=0.02)


def test_heads_wider_than_the_stream() -> None:
    wide = normal(2, 3, 5), normal(2, 5, 3), normal(1, 3, 5, seed=3), normal(1, 5, 3, seed=4)
    found = composition_scores(*wide)
    expected = (wide[0] @ wide[1] @ wide[2] @ wide[3]).norm(dim=(1, 2))
    assert torch.allclose(found[:, 0], expected / ((wide[0] @ wide[1]).norm(dim=(1, 2)) * (wide[2] @ wide[3]).norm()))
    assert rotated_composition_scores(*wide, 2, torch.Generator().manual_seed(0)).isfinite().all()
