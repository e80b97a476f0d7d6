"""Readings of copy models against loops over every head, target and source, and against finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from mesascope.models import from_copy_transformer, plant_anti_attention, plant_copying
from mesascope.models.copy_models import CopyModel
from mesascope.probes.attention_learning.copy_reading import copy_betas, read_copies, share_right

from .planted_copies import random_copy

TOKENS = torch.tensor([[0, 3, 1, 4], [2, 2, 0, 1], [4, 1, 3, 0]])
KINDS = [{}, {"positions_in_values": False}, {"n_heads": 1}, {"uniform_attention": True}]


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max())
    return exponentials / exponentials.sum()


class ByLoops:
    """The model's formulas, one number at a time."""

    def __init__(self, subject: CopyModel) -> None:
        self.config = subject.config
        self.W = {name: weight.detach().double().numpy() for name, weight in subject.module.weights.items()}

    def embedded(self, words: np.ndarray) -> np.ndarray:
        return np.stack([self.W["W_E"][word] for word in words])

    def pattern(self, head: int, target: int, embedded: np.ndarray) -> np.ndarray:
        if self.config.uniform_attention:
            return np.full(len(embedded), 1 / len(embedded))
        query = self.W["W_query"][target] @ self.W["W_Q"][head]
        keys = [(row + self.W["W_pos"][s]) @ self.W["W_K"][head] for s, row in enumerate(embedded)]
        return softmax(np.array([query @ key for key in keys]) / np.sqrt(self.config.d_head))

    def alone(self, head: int, source: int, embedded: np.ndarray) -> np.ndarray:
        """The logits of a head that attends to one source only."""
        place = self.W["W_pos"][source] if self.config.positions_in_values else 0.0
        return (embedded[source] + place) @ self.W["W_V"][head] @ self.W["W_O"][head] @ self.W["W_U"]

    def logits(self, target: int, embedded: np.ndarray, forced: dict[int, int] | None = None) -> np.ndarray:
        """forced: heads that attend to one source only"""
        heads = []
        for head in range(self.config.n_heads):
            pattern = self.pattern(head, target, embedded)
            if forced is not None and head in forced:
                pattern = np.eye(len(embedded))[forced[head]]
            heads.append(sum(pattern[s] * self.alone(head, s, embedded) for s in range(len(embedded))))
        return sum(heads) / self.config.n_heads

    def log_odds(self, word: int, logits: np.ndarray) -> float:
        q = softmax(logits)
        return np.log(q[word]) - np.log(np.delete(q, word).sum())


def places() -> itertools.product[tuple[int, int, int]]:
    return itertools.product(range(3), range(4), range(4))


@pytest.mark.parametrize("kind", KINDS)
def test_attention_and_beta_by_loops(kind: dict[str, int | bool]) -> None:
    subject = random_copy(**kind)
    loops, found = ByLoops(subject), read_copies(subject, TOKENS, 32)
    heads = range(subject.config.n_heads)
    for i, t, s in places():
        words = TOKENS[i].numpy()
        embedded = loops.embedded(words)
        patterns = [loops.pattern(head, t, embedded)[s] for head in heads]
        assert found.attention[i, t, s] == pytest.approx(np.mean(patterns), rel=1e-12)
        all_on_it = loops.logits(t, embedded, dict.fromkeys(heads, s))
        assert found.beta[i, t, s] == pytest.approx(loops.log_odds(words[t], all_on_it), rel=1e-9)
        if found.heads is None:
            continue
        for head in heads:
            assert found.heads.attention[i, head, t, s] == pytest.approx(patterns[head], rel=1e-12)
            others_as_they_are = loops.logits(t, embedded, {head: s})
            expected = loops.log_odds(words[t], others_as_they_are)
            assert found.heads.beta[i, head, t, s] == pytest.approx(expected, rel=1e-9)
    assert (found.heads is None) == (len(heads) == 1)
    torch.testing.assert_close(copy_betas(subject, TOKENS, 2), found.beta)


@pytest.mark.parametrize("kind", KINDS)
def test_saliency_by_finite_differences_of_a_mask(kind: dict[str, int | bool]) -> None:
    """The embedding of one source times 1 + h and 1 - h, wherever it is read: by keys and by values."""
    subject = random_copy(**kind)
    loops, found = ByLoops(subject), read_copies(subject, TOKENS, 32)
    h = 1e-5
    for i, t, s in places():

        def log_p(factor: float, i: int = i, t: int = t, s: int = s) -> float:
            words = TOKENS[i].numpy()
            embedded = loops.embedded(words)
            embedded[s] *= factor
            return np.log(softmax(loops.logits(t, embedded))[words[t]])

        assert found.saliency[i, t, s] == pytest.approx((log_p(1 + h) - log_p(1 - h)) / (2 * h), abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_right_by_loops(kind: dict[str, int | bool]) -> None:
    subject = random_copy(7, **kind)
    loops, found = ByLoops(subject), read_copies(subject, TOKENS, 32)
    heads = range(subject.config.n_heads)
    for i, t, _ in places():
        words = TOKENS[i].numpy()
        embedded = loops.embedded(words)
        assert found.task[i, t] == float(np.argmax(loops.logits(t, embedded)) == words[t])
        patterns = np.array([loops.pattern(head, t, embedded) for head in heads])
        read_out = np.array([loops.alone(head, t, embedded) for head in heads])
        right = 1 / 4 if subject.config.uniform_attention else float(patterns.mean(axis=0).argmax() == t)
        assert found.attended[i, t] == right
        assert found.ktiw[i, t] == float(read_out.mean(axis=0).argmax() == words[t])
        if found.heads is not None:
            for head in heads:
                alone = 1 / 4 if subject.config.uniform_attention else float(patterns[head].argmax() == t)
                assert found.heads.attended[i, head, t] == alone
                assert found.heads.ktiw[i, head, t] == float(read_out[head].argmax() == words[t])


def test_the_push_is_that_of_attention_and_beta() -> None:
    found = read_copies(random_copy(), TOKENS, 32)
    alpha, beta = found.attention.numpy(), found.beta.numpy()
    for i, t, s in places():
        assert found.push[i, t, s] == pytest.approx(alpha[i, t, s] * (beta[i, t, s] - alpha[i, t] @ beta[i, t]))
    np.testing.assert_allclose(found.push.sum(dim=-1), 0, atol=1e-12)


# -- what must not matter ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_all_is_float64_and_the_weights_stay_as_they_are(dtype: torch.dtype) -> None:
    subject = random_copy(dtype=dtype)
    before = {name: weight.clone() for name, weight in subject.module.weights.items()}
    subject.module.requires_grad_()
    found = read_copies(subject, TOKENS, 2)
    assert found.heads is not None
    for part in (found, found.heads):
        for value in vars(part).values():
            assert not isinstance(value, torch.Tensor) or (value.dtype, value.requires_grad) == (torch.float64, False)
    for name, weight in subject.module.weights.items():
        assert (weight.dtype, weight.requires_grad, weight.grad) == (dtype, True, None)
        torch.testing.assert_close(weight.detach(), before[name], rtol=0, atol=0)
    wide = CopyModel(type(subject.module)(subject.config, {n: w.double() for n, w in before.items()}), subject.source)
    torch.testing.assert_close(read_copies(wide, TOKENS, 2).beta, found.beta, rtol=0, atol=0)


def test_beta_of_a_model_that_is_sure_differs_in_its_last_digits() -> None:
    """In float32 the log-odds of a certain word would be infinite, or all alike."""
    subject = from_copy_transformer(plant_copying(5, 4, confidence=200.0).float())
    beta = read_copies(subject, TOKENS[:1], 32).beta[0]
    assert beta.isfinite().all()
    assert beta.diagonal().tolist() == pytest.approx([200 - np.log(4)] * 4)
    assert (beta < 0).sum() == 12


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_batch_size_does_not_matter(batch_size: int) -> None:
    subject, told = random_copy(), []
    whole = read_copies(subject, TOKENS, 32)
    found = read_copies(subject, TOKENS, batch_size, lambda stage, fraction: told.append(fraction))
    assert whole.heads is not None
    assert found.heads is not None
    for one, other in ((whole, found), (whole.heads, found.heads)):
        for name, value in vars(one).items():
            if isinstance(value, torch.Tensor):
                torch.testing.assert_close(getattr(other, name), value)
    torch.testing.assert_close(copy_betas(subject, TOKENS, batch_size), whole.beta)
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == -(-3 // batch_size)


# -- equals ------------------------------------------------------------------------------------------------------------


def test_of_equal_answers_each_is_right_in_its_share() -> None:
    numbers = torch.tensor([[1.0, 2.0, 2.0, 0.0], [3.0, 2.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert share_right(numbers, torch.tensor([1, 1, 3])).tolist() == [0.5, 0.0, 0.25]
    assert share_right(numbers, torch.tensor([0, 0, 0])).tolist() == [0.0, 1.0, 0.25]


def test_a_model_that_reads_nothing_is_right_by_chance() -> None:
    subject = from_copy_transformer(plant_copying(5, 4, knows_words=False, attention="uniform"))
    found = read_copies(subject, TOKENS, 32)
    assert found.task.unique().tolist() == [1 / 5]
    assert found.ktiw.unique().tolist() == [1 / 5]
    assert found.attended.unique().tolist() == [1 / 4]
    assert found.beta.unique().tolist() == pytest.approx([-np.log(4)])
    assert not found.saliency.any()
    assert not found.push.any()


def test_planted_halves() -> None:
    tokens = torch.stack([torch.randperm(12, generator=torch.Generator().manual_seed(i)) for i in range(4)])

    def accuracies(module: torch.nn.Module) -> list[float]:
        found = read_copies(from_copy_transformer(module), tokens, 32)  # pyright: ignore[reportArgumentType]
        return [float(of.mean()) for of in (found.task, found.attended, found.ktiw)]

    assert accuracies(plant_copying()) == [1, 1, 1]
    assert accuracies(plant_copying(n_heads=3)) == [1, 1, 1]
    assert accuracies(plant_copying(attention="uniform")) == pytest.approx([1 / 12, 1 / 12, 1])
    assert accuracies(plant_copying(attention="wrong")) == [0, 0, 1]
    assert accuracies(plant_copying(knows_words=False)) == pytest.approx([1 / 12, 1, 1 / 12])
    assert accuracies(plant_anti_attention()) == [1, 0, 0]
