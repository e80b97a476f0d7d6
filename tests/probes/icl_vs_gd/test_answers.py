"""Numbers of answers: loops over queries and tokens agree, extremes have their values, refusals are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models.differentiable import Differentiable
from mesascope.probes.icl_vs_gd.answers import compared_tokens, of_rule, of_ways, recoveries
from mesascope.probes.icl_vs_gd.asked import Asked
from mesascope.probes.icl_vs_gd.fine_tuned import Setting, Stepped
from mesascope.probes.icl_vs_gd.runs import Runs, runs_of
from mesascope.probes.icl_vs_gd.seen import Seen

Model = Callable[..., Differentiable]
Tasks = Callable[..., list[Asked]]
SETTINGS = [Setting(rule, Stepped(0.5, 3), Stepped(0.05, 2)) for rule in ("gd", "lcgd")]  # type: ignore[arg-type]
TOP = 2


def probabilities(seen: Seen) -> list[list[float]]:
    """Of each query."""
    found = []
    for row in seen.logits.tolist():
        least = max(row)
        parts = [math.exp(x - least) for x in row]
        found.append([part / sum(parts) for part in parts])
    return found


def mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def kl(p: list[float], q: list[float]) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def tops(p: list[float]) -> set[int]:
    return set(sorted(range(len(p)), key=lambda token: -p[token])[:TOP])


def shared(p: list[float], q: list[float]) -> dict[str, float]:
    both = tops(p) & tops(q)
    squares = [sum(x[token] ** 2 for token in both) for x in (p, q)]
    product, missing = sum(p[token] * q[token] for token in both), TOP - len(both)
    return {
        "top_overlap": len(both) / TOP,
        "top_overlap_cosine": product / (math.sqrt(squares[0] * squares[1]) + missing) if both else 0.0,
        "top_overlap_cosine_inside": product / math.sqrt(squares[0] * squares[1] + missing) if both else 0.0,
    }


def test_accuracies_and_confidence_by_loops(random_model: Model, made_up: Tasks) -> None:
    tasks = made_up(3)
    some = runs_of(random_model(), tasks, SETTINGS, 0, Stepped(0.05, 2))
    found = of_ways(some, tasks)
    ways: dict[str, Any] = {"zero-shot": some.zero_shot, "in context": some.in_context["true"]}
    ways |= {"in context, shuffled labels": some.in_context["shuffled"], "activation matching": some.matched["true"]}
    ways |= {rule: own["tuned", "true"] for rule, own in some.fine_tuned.items()}
    for name in ("accuracy", "top_accuracy", "confidence", "label_confidence"):
        assert list(found[name]) == list(found["accuracy"])
    assert found["accuracy"].keys() == ways.keys()
    for way, answers in ways.items():
        for n, (seen, task) in enumerate(zip(answers, tasks, strict=True)):
            p = probabilities(seen)
            right = [max(range(16), key=own.__getitem__) == q.label for own, q in zip(p, task.queries, strict=True)]
            assert found["top_accuracy"][way][n] == pytest.approx(mean(right))
            assert found["confidence"][way][n] == pytest.approx(mean([max(own) for own in p]), abs=1e-12)
            of_labels = [max(own[label] for label in task.labels) for own in p]
            assert found["label_confidence"][way][n] == pytest.approx(mean(of_labels), abs=1e-12)
    differs = [found["accuracy"][way] - found["top_accuracy"][way] for way in ways]
    assert np.min(differs) >= 0
    assert np.max(differs) > 0


@pytest.mark.parametrize("rule", ["gd", "lcgd"])
def test_what_a_rules_answers_share_with_those_in_context_by_loops(
    random_model: Model, made_up: Tasks, rule: Any
) -> None:
    tasks = made_up(3)
    some = runs_of(random_model(), tasks, SETTINGS, 0)
    found = of_rule(some, rule, TOP)
    assert found.keys() == {
        "answer_distance", "answer_divergence", "top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside"
    }  # fmt: skip
    for n in range(3):
        icl, tuned, zs = (
            probabilities(answers[n])
            for answers in (some.in_context["true"], some.fine_tuned[rule]["tuned", "true"], some.zero_shot)
        )
        divergences = [kl(p, q) for p, q in zip(icl, tuned, strict=True)]
        assert found["answer_divergence"]["in context"][n] == pytest.approx(mean(divergences), abs=1e-10)
        assert mean(divergences) != pytest.approx(mean([kl(q, p) for p, q in zip(icl, tuned, strict=True)]), rel=1e-3)
        for what, other in (("in context", tuned), ("zero-shot", zs)):
            by_query = [shared(p, q) for p, q in zip(icl, other, strict=True)]
            for name in by_query[0]:
                assert found[name][what][n] == pytest.approx(mean([own[name] for own in by_query]), abs=1e-10), name


def test_a_way_that_is_the_rule_has_everything_in_common(random_model: Model, made_up: Tasks) -> None:
    """1e-12 in float64, 1e-5 in float32."""
    for dtype, exact in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        some = runs_of(random_model(dtype=dtype), made_up(3), SETTINGS[:1], 0)
        same = replace(some, in_context={**some.in_context, "true": some.fine_tuned["gd"]["tuned", "true"]})
        found = of_rule(same, "gd", TOP)
        assert np.abs(found["answer_distance"]["in context"]).max() < exact
        assert np.abs(found["answer_divergence"]["in context"]).max() < exact
        for name in ("top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside"):
            np.testing.assert_allclose(found[name]["in context"], 1, atol=exact)
            assert found[name]["zero-shot"].min() < 1 - 1e-3


# --- Rec2FTP, from answers that are made up


LABELS = (10, 11)


def answers(*said: int | None) -> list[Seen]:
    """Of one task, a query each: it gets this label, or of None the same for all."""
    logits = torch.zeros(len(said), 16, dtype=torch.float64)
    for query, label in enumerate(said):
        if label is not None:
            logits[query, label] = 3.0
    return [Seen(logits, torch.zeros(1, len(said), 2, dtype=torch.float64), ())]


def made_runs(zero_shot: list[Seen], icl: list[Seen], tuned: list[Seen]) -> Runs:
    in_context: Any = {"true": icl, "shuffled": icl}
    return Runs(0, zero_shot, in_context, {"gd": {("tuned", "true"): tuned}}, {})


def test_recoveries_count_queries_that_zero_shot_gets_wrong(made_up: Tasks) -> None:
    [task] = made_up(1, n_queries=6)
    r, w = [query.label for query in task.queries], [sum(task.labels) - query.label for query in task.queries]
    zs = answers(r[0], w[1], w[2], w[3], None, w[5])
    icl = answers(r[0], r[1], w[2], w[3], r[4], w[5])
    tuned = answers(r[0], r[1], r[2], w[3], r[4], w[5])
    by_rule, null = recoveries(made_runs(zs, icl, tuned), [task])
    assert by_rule["gd"].tolist() == [[2, 3]]  # 1 and 4 of 1, 2 and 4; in a tie no label alone is the most probable
    assert null.tolist() == [[2, 5]]


def test_without_rules_the_null_stays(made_up: Tasks) -> None:
    [task] = made_up(1, n_queries=2)
    r = [query.label for query in task.queries]
    some = replace(made_runs(answers(None, None), answers(*r), []), fine_tuned={})
    by_rule, null = recoveries(some, [task])
    assert by_rule == {}
    assert null.tolist() == [[2, 2]]


# --- how many tokens are compared


@pytest.mark.parametrize(("d_vocab", "expected"), [(81, 10), (80, 10), (79, 9), (8, 1), (7, None), (50257, 10)])
def test_by_default_ten_tokens_or_an_eighth_of_the_vocabulary(d_vocab: int, expected: int | None) -> None:
    assert compared_tokens(None, d_vocab) == expected


def test_more_than_an_eighth_is_refused() -> None:
    assert compared_tokens(10, 80) == 10
    assert compared_tokens(1, 8) == 1
    for top, d_vocab, words in ((11, 80, "expected from 1 to 10"), (1, 7, "a larger vocabulary"), (0, 80, "from 1 to")):
        with pytest.raises(TaskError, match=words):
            compared_tokens(top, d_vocab)


def test_a_small_vocabulary_has_no_overlaps(random_model: Model, made_up: Tasks) -> None:
    some = runs_of(random_model(), made_up(2), SETTINGS[:1], 0)
    assert of_rule(some, "gd", None).keys() == {"answer_distance", "answer_divergence"}
