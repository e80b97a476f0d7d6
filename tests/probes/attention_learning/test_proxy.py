"""Co-occurrence: where bags differ a word says itself, where they do not it says nothing; and the fit is a minimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mesascope.probes.attention_learning import proxy as proxy_module
from mesascope.probes.attention_learning.agreement import agreement, by_chance
from mesascope.probes.attention_learning.proxy import RIDGE, Proxy, counts_of, fitted_proxy
from scipy.optimize import minimize
from torch import Tensor


def sources(n: int, n_words: int, n_tokens: int, seed: int = 0) -> Tensor:
    """So many different words in random order."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([rng.permutation(n_words)[:n_tokens] for _ in range(n)]))


def fitted(words: Tensor, targets: Tensor, d_vocab: int) -> Proxy:
    proxy = fitted_proxy(words, targets, d_vocab)
    assert isinstance(proxy, Proxy)
    return proxy


def test_where_bags_differ_every_word_says_itself() -> None:
    """40 of 60 words, copied: the diagonal is the largest number of every row, and of every column of another bag."""
    words = sources(512, 60, 40)
    proxy = fitted(words, words, 60)
    assert proxy.table.argmax(dim=1).tolist() == list(range(60))
    other = sources(20, 60, 40, seed=1)
    said = proxy.of(other[:, :, None], other[:, None, :]).numpy()
    attention = np.broadcast_to(np.eye(40), said.shape)
    np.testing.assert_array_equal(agreement(attention, said), 1.0)


def test_where_all_bags_are_the_same_no_word_says_anything() -> None:
    """Permutations: every source says exactly the same, so the agreement is that by chance."""
    words = sources(64, 40, 40)
    proxy = fitted(words, words, 40)
    assert proxy.table.unique().tolist() == [-math.log(40)]
    said = proxy.of(words[:, :, None], words[:, None, :]).numpy()
    attention = np.broadcast_to(np.eye(40), said.shape)
    np.testing.assert_allclose(agreement(attention, said), by_chance(attention, said))
    twice = torch.tensor([[0, 0, 1], [1, 0, 0], [0, 1, 0]])  # words that are not equally frequent
    assert fitted(twice, twice[:, :1], 3).table.unique().tolist() == [-math.log(3)]


def test_words_that_are_translated_are_found_off_the_diagonal() -> None:
    order = np.random.default_rng(3).permutation(20)
    words = sources(256, 20, 8)
    proxy = fitted(words, torch.from_numpy(order)[words], 20)
    assert proxy.table.argmax(dim=1).tolist() == order.tolist()


def test_one_target_a_bag_and_bags_of_all_sizes() -> None:
    """The prefixes of sequences in which each word is followed by the next: negative words do not count."""
    rng = np.random.default_rng(0)
    prefixes, following = [], []
    for _ in range(1_500):
        first, length = rng.integers(12), rng.integers(1, 5)
        words = [*rng.integers(12, size=length - 1), first]
        prefixes.append([*words, *[-1] * (4 - length)])
        following.append([(first + 1) % 12])
    proxy = fitted(torch.from_numpy(np.array(prefixes)), torch.from_numpy(np.array(following)), 12)
    assert proxy.table.argmax(dim=1).tolist() == [*range(1, 12), 0]


def test_the_fit_is_where_the_gradient_of_its_loss_is_zero() -> None:
    """The loss by loops over bags, its gradient by autograd. The loss is convex: there is one such place."""
    words, targets = sources(30, 7, 4), sources(30, 7, 3, seed=2)
    words[:5, 2:] = -1
    table = fitted(words, targets, 7).table
    # softmax(M) leaves a constant of each row open, and the ridge makes it the one for which the row sums to 0
    M = (table - table.mean(dim=1, keepdim=True)).requires_grad_()
    losses = []
    for bag, said in zip(words.tolist(), targets.tolist(), strict=True):
        logits = torch.stack([M[word] for word in bag if word >= 0]).mean(dim=0)
        losses += [-logits.log_softmax(dim=0)[word] for word in said]
    loss = (torch.stack(losses).sum() + RIDGE / 2 * M.square().sum()) / len(losses)
    (gradient,) = torch.autograd.grad(loss, M)
    assert gradient.abs().max() < 1e-7
    assert M.abs().max() > 1


def test_a_word_that_is_in_no_bag_says_the_same_of_all() -> None:
    words = sources(100, 9, 4)
    proxy = fitted(words, words, 10)
    assert proxy.table[9].tolist() == pytest.approx([-math.log(10)] * 10)
    assert proxy.table[:9, 9].max() < proxy.table[:9, :9].diagonal().min()


def test_neither_the_order_of_words_nor_that_of_bags_matters() -> None:
    words = sources(40, 8, 4)
    table = fitted(words, words, 8).table
    torch.testing.assert_close(fitted(words.flip(0), words.flip(0).flip(1), 8).table, table, rtol=1e-4, atol=1e-4)


def test_the_same_bags_are_fitted_once_and_other_bags_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[int] = []
    monkeypatch.setattr(proxy_module, "minimize", lambda *args, **named: fits.append(1) or minimize(*args, **named))
    words = torch.tensor([[0, 1], [2, 3], [1, 4], [0, 4]])
    first, again, other = (fitted(bags, bags, 5) for bags in (words, words.clone(), words[:3]))
    assert len(fits) == 2
    assert torch.equal(first.table, again.table)
    assert not torch.equal(first.table, other.table)


def test_counts_by_a_loop() -> None:
    words = torch.tensor([[0, 2, 2, -1], [-1, -1, -1, -1], [1, 0, 1, 1]], dtype=torch.int32)
    expected = [[row.count(word) for word in range(3)] for row in words.tolist()]
    assert counts_of(words, 3).tolist() == expected


def test_pairs_are_looked_up_by_target_and_source() -> None:
    proxy = Proxy(torch.arange(9.0, dtype=torch.float64).reshape(3, 3))
    assert proxy.of(torch.tensor([[0], [2]]), torch.tensor([[1, 2]])).tolist() == [[3.0, 6.0], [5.0, 8.0]]


def test_reasons_why_there_is_none() -> None:
    words = sources(4, 6, 3)
    assert fitted_proxy(words, words, 513) == (
        "co-occurrence is fitted for at most 512 words, and the vocabulary has 513"
    )
    nothing = torch.full_like(words, -1)
    apart = torch.cat([words, nothing]), torch.cat([nothing, words])
    reason = "no word occurs with a target in any of the 8 sequences that co-occurrence is fitted to"
    assert fitted_proxy(*apart, 6) == reason
    same = torch.zeros_like(words)
    assert isinstance(fitted_proxy(same, words, 512), Proxy)


def test_bags_without_words_or_targets_are_left_out() -> None:
    words = sources(20, 6, 3)
    nothing = torch.full_like(words, -1)
    said = torch.cat([nothing, words, words]), torch.cat([words.flip(0), nothing, words])
    assert fitted(*said, 6).table.equal(fitted(words, words, 6).table)
