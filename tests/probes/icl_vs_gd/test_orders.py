"""Orders of demonstrations: loops over pairs agree, full-batch descent sees none, what has one order says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.few_shot.examples import Example
from mesascope.data.few_shot.tasks import FewShotTask
from mesascope.models.differentiable import Differentiable
from mesascope.probes.few_shot.prompts import Prompts, prompts_of
from mesascope.probes.icl_vs_gd.answered import Answered, answered
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import STEPPING, Setting, Stepped
from mesascope.probes.icl_vs_gd.orders import in_orders, of_orders
from mesascope.probes.icl_vs_gd.rules import sgd
from mesascope.probes.icl_vs_gd.runs import Runs, runs_of

Model = Callable[..., Differentiable]
SETTINGS = [Setting(rule, Stepped(0.7, 2), None) for rule in ("gd", "sgd")]  # type: ignore[arg-type]
TOP = 2


def few_shot(name: str, seed: int, k: int = 2, free_text: bool = False) -> FewShotTask:
    rng = np.random.default_rng(seed)
    inputs, labels = rng.permutation(10)[: 2 * k + 2].tolist(), rng.permutation([10, 11, 12, 13])[:2].tolist()
    examples = [Example((x,), (labels[n % 2],)) for n, x in enumerate(inputs)]
    outputs = tuple((label,) for label in labels)
    return FewShotTask(name, tuple(examples[: 2 * k]), tuple(examples[2 * k :]), outputs, name, free_text)


class Given:
    """Two tasks, as one model reads them."""

    def __init__(self, model: Differentiable, n: int = 2, n_orders: int = 3, **how: Any) -> None:
        self.model = model
        self.tasks = [few_shot(f"task {number}", number, **how) for number in range(n)]
        read = [self.read(some) for some in (self.tasks, [t.swapped() for t in self.tasks], self.tasks)]
        labels: Any = ("true", "swapped", "shuffled")
        self.asked = [Asked.of(dict(zip(labels, own, strict=True)), {}) for own in zip(*read, strict=True)]
        self.orders = in_orders(self.tasks, n_orders, 0, self.read)

    def read(self, tasks: Sequence[FewShotTask]) -> list[Prompts]:
        return prompts_of(self.model.subject, tasks)

    @cached_property
    def runs(self) -> Runs:
        return runs_of(self.model, self.asked, SETTINGS, 0)


@pytest.fixture(scope="module")
def given(random_model: Model) -> Given:
    return Given(random_model())


# --- orders as tokens


def test_orders_differ_and_the_first_is_the_tasks_own(given: Given) -> None:
    for task, asked, orders in zip(given.tasks, given.asked, given.orders, strict=True):
        assert orders["clean"][0] == asked.given["true"]
        for kind in ("clean", "conflicting"):
            demos = [one.demos for one in orders[kind]]
            assert len(set(demos)) == 3
            assert len({frozenset(own) for own in demos}) == 1
        wrong = set(orders["clean"][0].demos) - set(orders["conflicting"][0].demos)
        assert len(wrong) == len(task.labels)
        for clean, conflicting in zip(orders["clean"], orders["conflicting"], strict=True):
            assert [demo.prompt for demo in clean.demos] == [demo.prompt for demo in conflicting.demos]
            assert clean.in_context[0][-1:] == asked.queries[0].prompt[-1:]


def test_more_orders_than_there_are_is_all_of_them(random_model: Model) -> None:
    two = Given(random_model(), n_orders=9, k=1)
    for orders in two.orders:
        assert orders.keys() == {"clean"}  # no label has two demonstrations
        first, second = (one.demos for one in orders["clean"])
        assert first == second[::-1]


def test_the_seed_draws_the_orders(given: Given) -> None:
    again, other = (in_orders(given.tasks, 3, seed, given.read) for seed in (0, 1))
    assert again == given.orders
    for kind in ("clean", "conflicting"):
        assert [own[kind] for own in other] != [own[kind] for own in given.orders]
    more = in_orders(given.tasks, 5, 0, given.read)
    assert [own["clean"][:3] for own in more] == [own["clean"] for own in given.orders]


# --- numbers


def distribution(model: Differentiable, prompt: Sequence[int], parameters: Any = None) -> np.ndarray:
    logits = model.run(parameters or {}, torch.tensor([prompt])).logits[0, 0].detach().numpy()
    return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()


def by_pair(by_order: Sequence[Sequence[np.ndarray]]) -> float:
    """The mean over pairs of orders and queries of the total variation."""
    found = [np.abs(p - q).sum() / 2 for one, other in combinations(by_order, 2)
             for p, q in zip(one, other, strict=True)]  # fmt: skip
    return float(np.mean(found))


def test_sensitivities_by_loops_over_pairs(given: Given) -> None:
    model = given.model
    found, common = of_orders(model, given.asked, given.orders, given.runs, SETTINGS, TOP)
    assert found.keys() == {"in context", "sgd"}
    for n, (asked, orders) in enumerate(zip(given.asked, given.orders, strict=True)):
        for kind in ("clean", "conflicting"):
            icl = [[distribution(model, prompt) for prompt in one.in_context] for one in orders[kind]]
            assert found["in context"][kind][n] == pytest.approx(by_pair(icl), abs=1e-10)
            learned = [sgd(model, [one.demos], 0.7, 2)[0].parameters for one in orders[kind]]
            after = [[distribution(model, prompt, own) for prompt in asked.zero_shot] for own in learned]
            assert found["sgd"][kind][n] == pytest.approx(by_pair(after), abs=1e-10)
            assert found["sgd"][kind][n] > 1e-4
    np.testing.assert_allclose(common["answer_distance"], found["in context"]["clean"], atol=0)


def test_two_orders_share_what_they_share(given: Given) -> None:
    _, common = of_orders(given.model, given.asked, given.orders, given.runs, [], TOP)
    for n, orders in enumerate(given.orders):
        found = []
        for one, other in combinations(orders["clean"], 2):
            for p, q in zip(one.in_context, other.in_context, strict=True):
                tops = [set(np.argsort(distribution(given.model, prompt))[-TOP:].tolist()) for prompt in (p, q)]
                found.append(len(tops[0] & tops[1]) / TOP)
        assert common["top_overlap"][n] == pytest.approx(np.mean(found), abs=1e-12)
    assert set(common) == {"answer_distance", "top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside"}
    assert (common["top_overlap_cosine_inside"] >= common["top_overlap_cosine"]).all()


@pytest.mark.parametrize("rule", ["gd", "lcgd"])
def test_full_batch_descent_answers_the_same_in_every_order(given: Given, rule: Any) -> None:
    """So no passes are spent on it: the number is 0 exactly, with demonstrations that disagree as well."""
    for asked, orders in zip(given.asked, given.orders, strict=True):
        for kind in ("clean", "conflicting"):
            after = []
            for one in orders[kind]:
                parameters = STEPPING[rule](given.model, [one.demos], 0.7, 2)[0].parameters
                after.append([distribution(given.model, prompt, parameters) for prompt in asked.zero_shot])
            assert by_pair(after) == 0
            assert np.abs(after[0][0] - distribution(given.model, asked.zero_shot[0])).max() > 1e-3


def test_what_was_passed_before_is_not_passed_again(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of clean demonstrations the first order is known; only `sgd` among rules is spent on."""
    some: Runs = given.runs
    passed: list[tuple[bool, tuple[int, ...]]] = []
    before = Differentiable.inside

    def counted(self: Any, replaced: Any, tokens: Any, *rest: Any, **named: Any) -> Any:
        passed.append((bool(replaced), tuple(tokens.shape)))
        return before(self, replaced, tokens, *rest, **named)

    monkeypatch.setattr(Differentiable, "inside", counted)
    of_orders(given.model, given.asked, given.orders, some, SETTINGS[:1], TOP)
    assert not any(learned for learned, _ in passed)
    assert sum(shape[0] for _, shape in passed) == 2 * 2 * (2 + 3)  # tasks, queries, orders


def test_one_order_has_no_pairs(random_model: Model) -> None:
    alone = Given(random_model(), n_orders=1)
    found, common = of_orders(alone.model, alone.asked, alone.orders, alone.runs, SETTINGS, TOP)
    assert (found, common) == ({}, {})


# --- all numbers of answers


def test_numbers_of_chunks_are_those_of_all_tasks(given: Given) -> None:
    model = given.model
    expected = answered(model, given.runs, given.asked, given.orders, SETTINGS, TOP).arrays()
    parts = []
    for n in range(2):
        runs = runs_of(model, given.asked[n : n + 1], SETTINGS, 0, first=n)
        parts.append(answered(model, runs, given.asked, given.orders, SETTINGS, TOP))
    arrays = Answered.joined(parts).arrays()
    assert arrays.keys() == expected.keys()
    for name, own in expected.items():
        assert len(own) == 2
        np.testing.assert_allclose(arrays[name], own, atol=1e-9, err_msg=name)
    assert {"accuracy_in context", "answer_distance_gd_another order", "order_sensitivity_sgd_conflicting",
            "rival_distance_copy", "recovered_sgd", "recovered_null"} <= set(arrays)  # fmt: skip


def test_another_order_is_the_ceiling_of_every_rule(given: Given) -> None:
    numbers = answered(given.model, given.runs, given.asked, given.orders, SETTINGS, TOP).numbers
    for rule in ("gd", "sgd"):
        assert "another order" not in numbers["answer_divergence"][rule]
        for name in ("answer_distance", "top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside"):
            ceiling = numbers[name][rule]["another order"]
            np.testing.assert_array_equal(ceiling, numbers[name]["gd"]["another order"])
    clean = numbers["order_sensitivity"]["in context"]["clean"]
    np.testing.assert_array_equal(numbers["answer_distance"]["gd"]["another order"], clean)
