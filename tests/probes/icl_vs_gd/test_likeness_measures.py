"""Measures of answers that papers report: means over tasks, ratios of counts, and what does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.probes.icl_vs_gd.answered import Answered
from mesascope.probes.icl_vs_gd.behaviour_measures import measures_of
from mesascope.probes.icl_vs_gd.likeness_measures import likeness_measures
from mesascope.probes.measure import Measure
from mesascope.probes.statistics.bootstrap import bootstrap_means, percentile_interval, resample_counts

N = 20
RNG = np.random.default_rng(1)
WAYS = ("zero-shot", "in context", "in context, shuffled labels", "gd", "lcgd")
OVERLAPS = ("top_overlap", "top_overlap_cosine", "top_overlap_cosine_inside")
ENDS = ("in context", "zero-shot", "another order")


def drawn(*names: str) -> dict[str, np.ndarray]:
    return {name: RNG.uniform(0, 1, N) for name in names}


def counts(most: int) -> np.ndarray:
    of = RNG.integers(1, most + 1, N)
    return np.stack([RNG.binomial(of, 0.6), of], axis=1)


NUMBERS: Mapping[str, Any] = {
    "top_accuracy": drawn(*WAYS),
    "confidence": drawn(*WAYS),
    "label_confidence": drawn(*WAYS),
    "answer_divergence": {rule: drawn("in context") for rule in ("gd", "lcgd")},
    **{name: {rule: drawn(*ENDS) for rule in ("gd", "lcgd")} for name in OVERLAPS},
    "recovered": {"gd": counts(5), "lcgd": counts(3)},
    "recovered_null": counts(8),
}


def measures(**changed: Any) -> dict[str, Measure]:
    return likeness_measures({name: own for name, own in {**NUMBERS, **changed}.items() if own is not None}, 0)


def is_mean(measure: Measure, samples: np.ndarray) -> None:
    low, high = percentile_interval(bootstrap_means(samples, 0))
    assert measure.estimate == pytest.approx(samples.mean(), rel=1e-12)
    assert list(map(float, measure.interval)) == pytest.approx([float(low), float(high)])
    assert (measure.replicate, measure.n) == ("task", N)
    assert measure.no_nulls


def test_means_over_tasks() -> None:
    found = measures()
    for name in ("top_accuracy", "confidence", "label_confidence"):
        for way in WAYS:
            is_mean(found[name].sel(way=way), NUMBERS[name][way])
    for rule in ("gd", "lcgd"):
        is_mean(found["answer_divergence"].sel(rule=rule), NUMBERS["answer_divergence"][rule]["in context"])
        for name in OVERLAPS:
            for what in ENDS:
                is_mean(found[name].sel(rule=rule, between=what), NUMBERS[name][rule][what])
    units = {name: measure.unit for name, measure in found.items()}
    assert units == {
        "top_accuracy": "share", "confidence": "probability", "label_confidence": "probability",
        "answer_divergence": "nat", "top_overlap": "share",
        "top_overlap_cosine": "cosine", "top_overlap_cosine_inside": "cosine", "recovered": "share",
        "recovered_null": "share",
    }  # fmt: skip


def test_a_ratio_is_of_all_queries_and_tasks_are_resampled() -> None:
    found = measures()
    parts = {"gd": found["recovered"].sel(rule="gd"), "null": found["recovered_null"]}
    for name, own in (("gd", NUMBERS["recovered"]["gd"]), ("null", NUMBERS["recovered_null"])):
        n, of = own.sum(axis=0)
        assert parts[name].estimate == n / of
        assert parts[name].message == f"{n}/{of}"
        drawn_tasks = resample_counts(N, 0)
        ratios = [sum(k * own[t, 0] for t, k in enumerate(row)) / sum(k * own[t, 1] for t, k in enumerate(row))
                  for row in drawn_tasks]  # fmt: skip
        assert list(map(float, parts[name].interval)) == pytest.approx(list(np.quantile(ratios, [0.025, 0.975])))
    assert parts["gd"].no_nulls == "recovered_null stands beside it"


def test_of_no_queries_there_is_no_share() -> None:
    nothing = np.zeros((N, 2), dtype=np.int64)
    found = measures(recovered={"gd": nothing, "lcgd": NUMBERS["recovered"]["lcgd"]}, recovered_null=nothing)
    part = found["recovered"].sel(rule="gd")
    assert part.status == "undefined"
    assert part.message == "0/0: fine-tuning gets none of the queries right that zero-shot gets wrong"
    assert found["recovered"].sel(rule="lcgd").has_number
    assert found["recovered_null"].message == "0/0: zero-shot gets every query right"


def test_where_a_resample_has_no_query_or_there_is_one_task_there_is_no_interval() -> None:
    rare = np.zeros((N, 2), dtype=np.int64)
    rare[3] = 1, 2
    for own, message in ((rare, "1/2; some resamples have no such query, so there is no interval"),
                         (rare[3:4], "1/2; one task has no interval")):  # fmt: skip
        found = measures(recovered_null=own)["recovered_null"]
        assert found.estimate == 0.5
        assert np.isnan(found.interval).all()
        assert found.message == message


def test_without_rules_measures_say_so() -> None:
    found = measures(answer_divergence=None, recovered={}, **dict.fromkeys(OVERLAPS))
    for name in (*OVERLAPS, "answer_divergence", "recovered"):
        assert (found[name].status, found[name].message) == ("undefined", "no rule of fine-tuning was compared"), name
    assert found["recovered_null"].has_number
    assert found["confidence"].has_number


def test_without_compared_tokens_overlaps_say_so() -> None:
    found = measures(**dict.fromkeys(OVERLAPS))
    for name in OVERLAPS:
        assert found[name].status == "not applicable"
        assert found[name].message.startswith("the vocabulary has fewer than eight tokens")
    is_mean(found["answer_divergence"].sel(rule="gd"), NUMBERS["answer_divergence"]["gd"]["in context"])


def test_all_measures_of_answers() -> None:
    """What verdicts read stands beside these."""
    apart = {rule: drawn("in context", "half run", "third rate", "adam", "other") for rule in ("gd", "lcgd")}
    numbers = {**NUMBERS, "accuracy": drawn(*WAYS), "answer_distance": apart, "rival_distance": drawn("copy"),
               "rival_accuracy": drawn("copy"), "order_sensitivity": {"in context": drawn("clean")}}  # fmt: skip
    found = measures_of(Answered(numbers), 0)
    assert set(numbers) <= set(found)
    assert {"accuracy_gain", "accuracy_learned", "distance_beyond_planted", "rival_ahead"} <= set(found)
    is_mean(found["rival_accuracy"].sel(rival="copy"), numbers["rival_accuracy"]["copy"])
