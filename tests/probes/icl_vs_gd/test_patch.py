"""The context as a patch of the MLP's weights: the same answers, in plain and gated blocks."""

from __future__ import annotations

import torch
from mesascope.probes.icl_vs_gd.patch import Patch
from torch import Tensor, nn


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rms(x: Tensor) -> Tensor:
    return x / (x.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def plain(h: Tensor, W_in: Tensor, W_out: Tensor) -> Tensor:
    """A block's output of the stream before its MLP."""
    return h + torch.relu(h @ W_in) @ W_out


def gated(h: Tensor, W_gate: Tensor, W_in: Tensor, W_out: Tensor) -> Tensor:
    return h + (nn.functional.silu(rms(h) @ W_gate) * (rms(h) @ W_in)) @ W_out


def test_a_patched_mlp_answers_without_the_context_as_with_it() -> None:
    with_context, without = draw(5, 6), draw(5, 6, seed=1)
    W_in, W_gate, W_out = draw(6, 9, seed=2), draw(6, 9, seed=3), draw(9, 6, seed=4)
    patches = Patch.of(with_context, without, W_in).matrices()
    normed = [Patch.of(rms(with_context), rms(without), W).matrices() for W in (W_gate, W_in)]
    for q in range(5):
        skipped = with_context[q] - without[q]
        found = plain(without[q], W_in + patches[q], W_out)
        torch.testing.assert_close(found + skipped, plain(with_context[q], W_in, W_out), rtol=1e-12, atol=1e-12)
        assert (found - plain(with_context[q], W_in, W_out)).abs().max() > 0.1  # the skip's shift is no part of it
        found = gated(without[q], W_gate + normed[0][q], W_in + normed[1][q], W_out)
        expected = gated(with_context[q], W_gate, W_in, W_out)
        torch.testing.assert_close(found + skipped, expected, rtol=1e-12, atol=1e-12)
        assert torch.linalg.matrix_rank(patches[q]) == 1


def test_numbers_of_patches_are_those_of_their_matrices() -> None:
    patch, direction = Patch.of(draw(4, 6), draw(4, 6, seed=1), draw(6, 9, seed=2)), draw(6, 9, seed=3)
    matrices = patch.matrices()
    flat = matrices.flatten(1)
    torch.testing.assert_close(patch.sizes(), flat.norm(dim=-1), rtol=1e-12, atol=1e-12)
    cosines = torch.tensor([[nn.functional.cosine_similarity(a, b, dim=0) for b in flat] for a in flat])
    torch.testing.assert_close(patch.cosines(), cosines.double(), rtol=1e-6, atol=1e-6)
    off = [patch.cosines()[i, j] for i in range(4) for j in range(4) if i != j]
    torch.testing.assert_close(patch.overlap(), torch.stack(off).mean(), rtol=1e-12, atol=1e-12)
    along = torch.stack([nn.functional.cosine_similarity(a, direction.flatten(), dim=0) for a in flat])
    torch.testing.assert_close(patch.along(direction), along, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(patch.along(matrices[2])[2].item(), 1.0, rtol=1e-12, atol=1e-12)


def test_without_a_context_there_is_no_patch() -> None:
    same = draw(3, 6)
    patch = Patch.of(same, same, draw(6, 9, seed=1))
    assert patch.sizes().tolist() == [0, 0, 0]
    assert patch.cosines().isnan().all()
    assert patch.overlap().isnan()
