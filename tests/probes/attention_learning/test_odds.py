"""Log-odds and the push on attention by autograd, by NumPy, and where probabilities round to 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.attention_learning.odds import attention_push, log_odds


def test_log_odds_are_those_of_the_softmax(rng: np.random.Generator) -> None:
    logits, targets = 3 * rng.normal(size=(4, 6, 11)), rng.integers(11, size=(4, 6))
    found = log_odds(torch.from_numpy(logits), torch.from_numpy(targets))
    for place in np.ndindex(4, 6):
        powers = np.exp(logits[place])
        q = powers[targets[place]] / powers.sum()
        assert float(found[place]) == pytest.approx(np.log(q / (1 - q)), rel=1e-12)


def test_of_two_words_they_are_the_difference_of_logits() -> None:
    logits = torch.tensor([[3.0, 1.5], [-900.0, 900.0]])
    assert log_odds(logits, torch.tensor([0, 0])).tolist() == [1.5, -1800.0]
    assert log_odds(logits, torch.tensor([1, 1])).tolist() == [-1.5, 1800.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_saturated_words_stay_finite_and_in_order(dtype: torch.dtype) -> None:
    """The probability is 1, or 0, to all digits, and the log-odds still tell rows apart."""
    heights = torch.arange(80, 2_000, 40, dtype=dtype)
    logits = torch.zeros(len(heights), 60, dtype=dtype)
    logits[:, 7] = heights
    assert (logits.double().softmax(dim=-1)[:, 7] == 1).all()
    for target in (7, 3):
        found = log_odds(logits, torch.full((len(heights),), target))
        assert found.dtype == torch.float64
        assert found.isfinite().all()
        assert (found.diff().sign() == (1 if target == 7 else -1)).all()
    torch.testing.assert_close(log_odds(logits, torch.full((len(heights),), 7)), heights.double() - np.log(59))


def test_a_constant_added_to_all_logits_does_not_matter() -> None:
    logits, targets = torch.randn(5, 9, dtype=torch.float64), torch.arange(5)
    torch.testing.assert_close(log_odds(logits + 500, targets), log_odds(logits, targets), rtol=1e-9, atol=1e-9)


def test_the_push_is_the_gradient_by_the_attention_logits() -> None:
    """Of a score that is linear in what attention brings, here by a value and a read-out."""
    rng = torch.Generator().manual_seed(0)
    logits, states = (torch.randn(3, 7, *rest, generator=rng, dtype=torch.float64) for rest in ((), (5,)))
    readout = torch.randn(5, generator=rng, dtype=torch.float64)
    logits.requires_grad_()
    alpha, beta = logits.softmax(dim=-1), states @ readout
    score = (alpha[..., None] * states).sum(dim=-2) @ readout
    (gradient,) = torch.autograd.grad(score.sum(), logits)
    torch.testing.assert_close(attention_push(alpha.detach(), beta), gradient, rtol=0, atol=1e-14)


def test_of_two_words_the_score_is_the_log_odds_of_a_softmax_read_out() -> None:
    """Contexts that are read out linearly into two logits: beta and push from the model's own logits and autograd."""
    rng = torch.Generator().manual_seed(1)
    states, W_U = (torch.randn(*shape, generator=rng, dtype=torch.float64) for shape in ((7, 5), (5, 2)))
    logits = torch.randn(7, generator=rng, dtype=torch.float64).requires_grad_()
    alpha = logits.softmax(dim=0)
    target = torch.tensor(1)
    (gradient,) = torch.autograd.grad(log_odds((alpha @ states) @ W_U, target), logits)
    beta = log_odds(states @ W_U, target.expand(7))
    torch.testing.assert_close(attention_push(alpha.detach(), beta), gradient, rtol=0, atol=1e-14)


def test_the_push_by_loops(rng: np.random.Generator) -> None:
    alpha, beta = rng.dirichlet(np.ones(6), size=4), rng.normal(size=(4, 6))
    found = attention_push(torch.from_numpy(alpha), torch.from_numpy(beta))
    for t, s in np.ndindex(4, 6):
        assert float(found[t, s]) == pytest.approx(alpha[t, s] * (beta[t, s] - sum(alpha[t] * beta[t])))


def test_at_uniform_attention_the_push_is_beta_less_its_mean() -> None:
    beta = torch.tensor([[1.0, 4.0, -2.0, 5.0]])
    assert attention_push(torch.full((1, 4), 0.25), beta).tolist() == [[-0.25, 0.5, -1.0, 0.75]]
    assert attention_push(torch.full((1, 4), 0.25), torch.full((1, 4), 3.0)).tolist() == [[0.0] * 4]


def test_hidden_sources_have_no_push_and_change_none() -> None:
    alpha, beta = torch.tensor([[0.2, 0.8, 0.0]]), torch.tensor([[1.0, 2.0, 3.0]])
    beside = attention_push(torch.tensor([[0.2, 0.8, torch.nan]]), torch.tensor([[1.0, 2.0, torch.nan]]))
    torch.testing.assert_close(beside[:, :2], attention_push(alpha, beta)[:, :2])
    assert beside.isnan().tolist() == [[False, False, True]]
