"""Measures of answers: pairs, and the evidence that verdicts read off all measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.probes.icl_vs_gd.behaviour_measures import behaviour_measures
from mesascope.probes.icl_vs_gd.verdicts import Evidence
from mesascope.probes.measure import Measure, along
from mesascope.probes.statistics.bootstrap import bootstrap_means, percentile_interval
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

N = 20
RNG = np.random.default_rng(0)
ACCURACY = {"zero-shot": 0.5, "in context": 0.9, "in context, shuffled labels": 0.6, "gd": 0.8, "lcgd": 0.7}
APART = {"in context": 0.2, "half run": 0.1, "third rate": 0.3, "adam": 0.25, "other": 0.9}
DRAWN = {name: level + RNG.normal(0, 0.05, N) for name, level in ACCURACY.items()}
BY_RULE = {
    rule: {name: level + more + RNG.normal(0, 0.02, N) for name, level in APART.items()}
    for rule, more in (("gd", 0.0), ("lcgd", 0.05))
}
RIVALS = {"label frequencies": 0.5 + RNG.normal(0, 0.05, N), "copy": 0.8 + RNG.normal(0, 0.05, N)}
ORDERS = {
    who: {"clean": level + RNG.normal(0, 0.01, N), "conflicting": 0.3 + level + RNG.normal(0, 0.05, N)}
    for who, level in (("in context", 0.1), ("sgd", 0.2))
}


def measures(**changed: Any) -> dict[str, Measure]:
    given: dict[str, Any] = {"accuracy": DRAWN, "apart": BY_RULE, "rivals": RIVALS, "order": ORDERS}
    return behaviour_measures(**(given | changed), seed=0)


def ends(resampled: np.ndarray) -> list[float]:
    return [float(bound) for bound in percentile_interval(resampled)]


def is_mean(measure: Measure, samples: np.ndarray) -> None:
    assert measure.estimate == pytest.approx(samples.mean(), rel=1e-12)
    assert list(map(float, measure.interval)) == pytest.approx(ends(bootstrap_means(samples, 0)))


def test_differences_are_formed_in_each_task() -> None:
    found = measures()
    icl = DRAWN["in context"]
    is_mean(found["accuracy_gain"], icl - DRAWN["zero-shot"])
    is_mean(found["accuracy_gain_by_labels"], icl - DRAWN["in context, shuffled labels"])
    for rule, own in BY_RULE.items():
        is_mean(found["accuracy_learned"].sel(rule=rule), DRAWN[rule] - DRAWN["zero-shot"])
        is_mean(found["distance_beyond_planted"].sel(rule=rule), own["in context"] - own["third rate"])
        is_mean(found["answer_distance"].sel(rule=rule, between="other"), own["other"])
        assert found["distance_beyond_planted"].sel(rule=rule).message == "beyond third rate"
    is_mean(found["rival_ahead"], BY_RULE["gd"]["in context"] - RIVALS["label frequencies"])
    assert found["rival_ahead"].message == "label frequencies, ahead of gd"
    is_mean(found["rival_distance"].sel(rival="copy"), RIVALS["copy"])
    is_mean(found["accuracy"].sel(way="lcgd"), DRAWN["lcgd"])


def test_orders_are_along_what_answers_and_full_batch_rules_have_nothing() -> None:
    order = measures()["order_sensitivity"]
    assert order.axes == ("way", "demonstrations")
    for who, own in ORDERS.items():
        for kind, samples in own.items():
            is_mean(order.sel(way=who, demonstrations=kind), samples)
    for rule in BY_RULE:
        for kind in ("clean", "conflicting"):
            part = order.sel(way=rule, demonstrations=kind)
            assert (part.estimate, part.replicate, part.status) == (0.0, "none", "ok")
            assert np.isnan(part.interval).all()
            assert "full-batch descent sorts demonstrations" in part.message
    learned = {"accuracy": DRAWN | {"sgd": DRAWN["gd"]}, "apart": {"gd": BY_RULE["gd"], "sgd": BY_RULE["lcgd"]}}
    with_sgd = measures(**learned)["order_sensitivity"]
    is_mean(with_sgd.sel(way="sgd", demonstrations="clean"), ORDERS["sgd"]["clean"])
    assert with_sgd.labels("way") == ("in context", "sgd", "gd")


def test_without_conflict_clean_orders_stay() -> None:
    order = measures(order={"in context": {"clean": ORDERS["sgd"]["clean"]}})["order_sensitivity"]
    assert order.sel(way="gd", demonstrations="clean").estimate == 0
    is_mean(order.sel(way="in context", demonstrations="clean"), ORDERS["sgd"]["clean"])
    for way in ("in context", "gd", "lcgd"):
        part = order.sel(way=way, demonstrations="conflicting")
        assert part.status == "not applicable"
        assert part.message == "each label has one demonstration, so none can disagree"


def test_what_was_not_measured_says_so() -> None:
    found = measures(rivals={}, order={})
    assert found["rival_ahead"].status == found["order_sensitivity"].status == "not applicable"
    assert found["order_sensitivity"].message == "demonstrations have no other order"


def test_without_rules_there_is_behaviour_in_context() -> None:
    found = measures(apart={})
    assert found["accuracy_gain"].estimate == measures()["accuracy_gain"].estimate
    is_mean(found["rival_distance"].sel(rival="copy"), RIVALS["copy"])
    for name in ("accuracy_learned", "answer_distance", "distance_beyond_planted", "rival_ahead"):
        assert (found[name].status, found[name].message) == ("undefined", "no rule of fine-tuning was compared"), name
    assert found["order_sensitivity"].labels("way") == ("in context", "sgd")


def test_without_adam_other_runs_of_the_descent_are_planted() -> None:
    apart = {rule: {name: x for name, x in own.items() if name != "third rate"} for rule, own in BY_RULE.items()}
    found = measures(apart=apart)["distance_beyond_planted"].sel(rule="gd")
    is_mean(found, apart["gd"]["in context"] - apart["gd"]["adam"])
    assert found.message == "beyond adam"


def inner() -> dict[str, Measure]:
    names = ("contrast_above_floor", "planted_above_floor", "first_layer_against_planted", "first_layer_share")
    return {
        name: along(
            "rule",
            task_measures(
                {rule: PerTask(n + m + np.linspace(-0.1, 0.1, N), "", no_nulls="-") for m, rule in enumerate(BY_RULE)},
                0,
            ),
        )
        for n, name in enumerate(names, start=1)
    }


def test_verdicts_read_measures_by_name() -> None:
    found = measures() | inner()
    evidence = Evidence.of(found)
    assert [one.rule for one in evidence.rules] == ["gd", "lcgd"]
    for m, one in enumerate(evidence.rules):
        values = one.above_floor, one.planted_above, one.against_planted, one.share
        assert [own.value for own in values] == pytest.approx([1 + m, 2 + m, 3 + m, 4 + m])
        assert one.learned.value == found["accuracy_learned"].sel(rule=one.rule).estimate
        assert one.distance.low == found["answer_distance"].sel(rule=one.rule, between="in context").interval[0]
        assert one.beyond_planted.high == found["distance_beyond_planted"].sel(rule=one.rule).interval[1]
    assert evidence.gain.value == found["accuracy_gain"].estimate
    assert evidence.gain_by_labels.value == found["accuracy_gain_by_labels"].estimate
    assert evidence.order.value == pytest.approx(ORDERS["in context"]["conflicting"].mean())
    assert evidence.rivals.keys() == RIVALS.keys()
    assert evidence.rival_ahead.value == found["rival_ahead"].estimate
    without = Evidence.of(measures(rivals={}, order={}) | inner())
    assert without.rivals == {}
    assert np.isnan([without.order.value, without.rival_ahead.low]).all()
