"""The inner problem: its two identities to 1e-10, gradients by finite differences, and what it costs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models.norms import Norm
from mesascope.probes.token_norms import inner_problem
from mesascope.probes.token_norms.inner_problem import cosine, first_order, foresight, inner_loss, inner_step, radial
from mesascope.probes.token_norms.read_out import ReadOut
from torch import Tensor

D, V, N = 6, 11, 5
NORMS = ("none", "layer", "rms")


@pytest.fixture
def rand() -> Callable[..., Tensor]:
    rng = torch.Generator().manual_seed(3)
    return lambda *shape: torch.randn(*shape, generator=rng, dtype=torch.float64)


@pytest.fixture
def problem(rand: Callable[..., Tensor]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States, unembedding, targets and other targets."""
    return rand(N, D), rand(D, V), torch.tensor([3, 0, 10, 3, 7]), torch.tensor([1, 2, 3, 4, 5])


def norm_of_kind(kind: str, rand: Callable[..., Tensor], eps: float = 0.0) -> Norm:
    if kind == "none":
        return Norm()
    return Norm(kind, 1 + 0.3 * rand(D), 0.3 * rand(D) if kind == "layer" else None, eps)


def test_foresight_by_loops(rand: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    logits, targets = 5 * rand(7, V), torch.tensor([3, 0, 10, 3, 7, 1, 1])
    slow = []
    for row, y in zip(logits.numpy(), targets, strict=True):
        p = np.exp(row) / np.exp(row).sum()
        slow.append((-np.log(p[y]), -sum(q * np.log(q) for q in p)))
    for chunk in (1, 2 * V, 10**6):
        monkeypatch.setattr(inner_problem, "CACHED", chunk)
        np.testing.assert_allclose(torch.stack(foresight(logits, targets), dim=1), slow, rtol=1e-12)


def test_foresight_far_from_one() -> None:
    found = foresight(torch.tensor([[1e4, 0.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([1, 2]))
    np.testing.assert_allclose(found.surprisal, [1e4, np.log(3)])
    np.testing.assert_allclose(found.entropy, [0, np.log(3)], atol=1e-12)


def test_radial_identity_without_norm(problem: tuple[Tensor, ...]) -> None:
    states, U, targets, others = problem
    step = inner_step(states, ReadOut(U), targets, others)
    seen = foresight(states @ U, targets)
    along = (states * step.push).sum(dim=-1)
    np.testing.assert_allclose(along, seen.entropy - seen.surprisal, atol=1e-10)
    np.testing.assert_allclose(radial(states, step.push) * states.norm(dim=-1), along, atol=1e-10)
    np.testing.assert_allclose(step.loss, seen.surprisal, atol=1e-12)


@pytest.mark.parametrize("kind", ["layer", "rms"])
def test_radial_identity_under_a_norm(kind: str, problem: tuple[Tensor, ...], rand: Callable[..., Tensor]) -> None:
    """The push is at a right angle to the state, so that a step of any size can only lengthen it."""
    states, U, targets, others = problem
    norm = norm_of_kind(kind, rand)
    push = inner_step(states, ReadOut(U, norm), targets, others).push
    np.testing.assert_allclose(radial(states, push), 0, atol=1e-10)
    if kind == "layer":
        np.testing.assert_allclose(push.sum(dim=-1), 0, atol=1e-10)
    longer = (states + 0.7 * push).norm(dim=-1) ** 2 - states.norm(dim=-1) ** 2
    np.testing.assert_allclose(longer, 0.49 * push.norm(dim=-1) ** 2, atol=1e-10)


@pytest.mark.parametrize("kind", NORMS)
@pytest.mark.parametrize("cap", [None, 2.0])
def test_pushes_are_slopes_of_the_loss(
    kind: str, cap: float | None, problem: tuple[Tensor, ...], rand: Callable[..., Tensor]
) -> None:
    """Against central differences; with a bias, and with logits that are capped as Gemma 2 does."""
    states, U, targets, others = problem
    norm, bias, at = norm_of_kind(kind, rand, eps=1e-2), rand(V), 1e-5

    read_out = ReadOut(U, norm, bias, cap)

    def loss(h: Tensor, y: Tensor) -> Tensor:
        logits = norm(h) @ U + bias
        return foresight(logits if cap is None else cap * (logits / cap).tanh(), y).surprisal

    def slopes(y: Tensor) -> np.ndarray:
        columns = []
        for unit in torch.eye(D, dtype=torch.float64):
            ends = [loss(states + sign * at * unit, y) for sign in (1, -1)]
            columns.append((ends[1] - ends[0]) / (2 * at))
        return torch.stack(columns, dim=1).numpy()

    step = inner_step(states, read_out, targets, others)
    np.testing.assert_allclose(step.push, slopes(targets), atol=1e-8)
    np.testing.assert_allclose(step.shuffled, slopes(others), atol=1e-8)


def test_chunks_change_nothing(problem: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    states, U, targets, others = problem
    whole = inner_step(states, ReadOut(U), targets, others)
    monkeypatch.setattr(inner_problem, "CHUNK", 2 * V)
    for a, b in zip(whole, inner_step(states, ReadOut(U), targets, others), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("cap", [None, 2.0])
def test_losses_alone_are_those_of_the_steps(
    cap: float | None, problem: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    states, U, targets, others = problem
    read_out = ReadOut(U, cap=cap)
    monkeypatch.setattr(inner_problem, "CHUNK", 2 * V)
    before = states.clone()
    found = inner_loss(states, read_out, targets)
    np.testing.assert_allclose(found, inner_step(states, read_out, targets, others).loss, rtol=1e-12)
    assert torch.equal(states, before)


def test_sums_are_wide_where_exponentials_are_narrow(rand: Callable[..., Tensor]) -> None:
    """Of a large vocabulary in float32, beside float64 from the beginning."""
    states, U, targets = rand(3, D), 2 * rand(D, 20_011), torch.tensor([5, 20_010, 0])
    narrow = inner_loss(states.float(), ReadOut(U.float()), targets)
    expected = foresight(states.float().double() @ U.float().double(), targets).surprisal
    assert narrow.dtype == torch.float64
    np.testing.assert_allclose(narrow, expected, rtol=1e-6)


def test_nobodys_logits_are_written_over(rand: Callable[..., Tensor]) -> None:
    logits, targets = (4 * rand(3, V)).float(), torch.tensor([5, 10, 0])
    before = logits.clone()
    foresight(logits, targets)
    foresight(logits.double(), targets)
    assert torch.equal(logits, before)


def test_a_small_gradient_step_gains_what_first_order_says(problem: tuple[Tensor, ...]) -> None:
    states, U, targets, others = problem
    push = inner_step(states, ReadOut(U), targets, others).push
    write = 1e-5 * push
    after = foresight((states + write) @ U, targets).surprisal
    gain = foresight(states @ U, targets).surprisal - after
    np.testing.assert_allclose(gain, first_order(write, push), rtol=1e-3)
    np.testing.assert_allclose(cosine(write, push), 1, atol=1e-12)
    np.testing.assert_allclose(cosine(-write, push), -1, atol=1e-12)


def test_what_is_zero_has_cosine_and_radial_part_zero(rand: Callable[..., Tensor]) -> None:
    x = rand(2, D)
    assert (cosine(0 * x, x) == 0).all()
    assert (radial(0 * x, x) == 0).all()


def test_neither_gradients_nor_the_callers_tensors_change(problem: tuple[Tensor, ...]) -> None:
    states, U, targets, others = problem
    with torch.no_grad():
        step = inner_step(states, ReadOut(U), targets, others)
    assert not states.requires_grad
    assert not step.push.requires_grad
    assert not torch.is_grad_enabled() or states.grad is None
